"""Files that are either whole or not there: written beside their final name, then renamed."""

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tonggan.errors import DiskFullError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors by which the system says that there is no room."""
ROOM = 1 << 20
"""Bytes that a disk must take to count as not full."""


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text (a byte order mark is dropped); raises `UserError` where it is in another encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error


def inside(folder: Path, name: str, *, where: str) -> Path:
    """Return the path of a file that a table names within `folder`; raises `UserError`, beginning with `where`, for a name that leads out of it."""
    path = folder / name
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except ValueError as error:  # a zero byte, half a character
        raise UserError(f"{where}: {name!r} is no name of a file ({error}).") from error
    if not within:
        raise UserError(f"{where}: file_name '{name}' leads out of {folder}.")
    return path


def is_named_in_utf8(path: Path) -> bool:
    """Return whether a file's name is UTF-8, as it has to be to stand in a text: that of a disk may be any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it takes the place of `path` in one rename, on failure nothing is left behind.

    Works for a file and for a new folder (a folder that exists already is not replaced). Raises `DiskFullError` where the disk is full,
    whatever the library that writes makes of it, and `UserError` where it may not be written to.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise UserError(f"{path} is a folder. Name a file.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _open_to_all(beside)
        for written in [*beside.rglob("*"), beside]:  # what a folder holds first, then the folder
            _sync(written)
        os.replace(beside, path)
        _sync(path.parent)
    except UserError:
        raise
    except Exception as error:  # libraries raise what they like: safetensors its own error, faiss RuntimeError, tokenizers bare Exception
        number = _number_of(error, beside)
        if number in FULL:
            raise DiskFullError(
                f"no space left on the disk while writing {path}. Free some space or choose another folder; no part of it is left there."
            ) from error
        if isinstance(error, IsADirectoryError):
            raise UserError(f"{path} is a folder. Name a file.") from error
        if isinstance(error, (NotADirectoryError, FileExistsError)) and (file := _file_among(path.parents)):
            raise UserError(f"{path}: {file} is a file, not a folder. Choose another folder.") from error
        if number == errno.ENAMETOOLONG:
            raise UserError(f"{path}: the name is too long for this disk. Choose a shorter one.") from error
        # Folders of the kernel's take no new file, and say that there is none.
        unmade = isinstance(error, FileNotFoundError) and str(error.filename) == str(beside)
        if unmade or number in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"{path} may not be written to ({os.strerror(number)}). Choose another folder.") from error
        raise
    finally:
        _remove(beside)


def clear_left(path: Path) -> None:
    """Remove what processes of this machine that are gone, killed, left beside `path` when they were `replacing` it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        process = left.name.removeprefix(f".{path.name}.").removesuffix(".partial")
        if process.isdecimal() and _gone(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _remove(beside: Path) -> None:
    """Remove what was written, if anything was; where nothing could be, a disk refuses this as well, and that is not what is to be told."""
    with suppress(OSError):
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def _file_among(folders: Iterable[Path]) -> Path | None:
    """Return the first of `folders` that is a file; None where none is."""
    return next((folder for folder in folders if folder.is_file()), None)


def _gone(process: int) -> bool:
    """Whether no process has this number; never where asking would end it (Windows)."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


@contextmanager
def one_at_a_time(lock: Path, *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process (and thread) at a time in, by a file that stays; the system frees the lock of one that was killed.

    Others wait, after a call of `wait`. Raises `UserError` where the file cannot be written.
    """
    held = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire(blocking=False)
    except Timeout:
        if wait is not None:
            wait()
        held.acquire()
    except OSError as error:
        raise UserError(f"{lock.parent} may not be written to ({error.strerror}). Choose another folder.") from error
    try:
        yield
    finally:
        held.release()


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


def _number_of(error: Exception, beside: Path) -> int:
    """Return the system's number of an error while `beside` was written: the one it has, or tells in words, or that of writing more; 0 where there is none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if found := re.search(r"os error (\d+)", str(error)):
        return int(found[1])
    if said := [number for number in FULL if os.strerror(number) in str(error)]:
        return said[0]
    # NumPy ("1000 requested and 8 written") and libsndfile ("System error") do not say why they stopped.
    return _refusal(beside) if isinstance(error, (OSError, RuntimeError)) else 0


def _refusal(beside: Path) -> int:
    """Return the number of the error by which the disk refuses more behind what was written last, 0 where it takes more; `beside` is of no use after that."""
    files = [path for path in (beside, *beside.rglob("*")) if path.is_file()]
    try:
        with open(max(files, key=lambda path: path.stat().st_mtime_ns, default=beside), "ab") as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or 0
    return 0


def numbered(path: Path, n: int) -> list[Path]:
    """Return `n` paths: the one given, or, of several, each with its number from 0 at the end of its stem."""
    return [path] if n == 1 else [path.with_stem(f"{path.stem}-{number}") for number in range(n)]
