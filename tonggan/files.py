"""Files that are either whole or not there: written beside their final name, then renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tonggan.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it takes the place of `path` in one rename, on failure nothing is left behind.

    Works for a file and for a new folder (a folder that exists already is not replaced). Raises `UserError` where the disk is full or may not be written to.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if beside.is_file():
            with open(beside, "rb") as written:
                os.fsync(written.fileno())
        os.replace(beside, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk while writing {path}. Free some space or choose another folder; nothing was changed."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"{path} may not be written to ({error.strerror}). Choose another folder.") from error
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
