"""Files that are either whole or not there: written beside their final name, then renamed."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tonggan.errors import UserError


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text (a byte order mark is dropped); raises `UserError` where it is in another encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error


def inside(folder: Path, name: str, *, where: str) -> Path:
    """Return the path of a file that a table names within `folder`; raises `UserError`, beginning with `where`, for a name that leads out of it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{where}: file_name '{name}' leads out of {folder}.")
    return path


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
        _open_to_all(beside)
        for written in [*beside.rglob("*"), beside]:  # what a folder holds first, then the folder
            _sync(written)
        os.replace(beside, path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _number_in(str(error))
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"no space left on the disk while writing {path}. Free some space or choose another folder; nothing was changed."
            ) from error
        if number in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"{path} may not be written to ({os.strerror(number)}). Choose another folder.") from error
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Let the disk have it before the next step: a power cut must not leave a new name for old or empty contents."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_to_all(path: Path) -> None:
    """Give files the permissions that the user's umask leaves: safetensors makes its own readable by their owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for file in [path] if path.is_file() else path.iterdir() if path.is_dir() else ():
        if file.is_file():
            file.chmod(0o666 & ~umask)


def _number_in(message: str) -> int:
    """Return the system's error number that safetensors tells in words only ("... (os error 28)"), or 0."""
    found = re.search(r"os error (\d+)", message)
    return int(found[1]) if found else 0
