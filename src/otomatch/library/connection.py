"""Connections to LanceDB, the folder and lock of a library, and LanceDB's errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
from filelock import FileLock

from otomatch.errors import LibraryError, OtomatchError

TABLE = "sounds"
LOCK = "write.lock"

_LANCE_ERROR = re.compile(
    r"\blance|^(arrow|external|io|object.store|runtime) error|os error \d|^Table .* was not found",
    re.IGNORECASE,
)
_MAX_CAUSE_LENGTH = 300


def connect(uri: str | Path) -> Any:
    """Open a LanceDB connection that always sees what other processes have written."""
    return lancedb.connect(str(uri), read_consistency_interval=timedelta(0))


def library_exists(uri: str | Path) -> bool:
    """Return True if there is a library at ``uri``."""
    folder = local_folder(uri)
    if folder is not None:
        return (folder / f"{TABLE}.lance").is_dir()
    try:
        connect(uri).open_table(TABLE)
    except ValueError:  # LanceDB's error for a missing table
        return False
    return True


def local_folder(uri: str | Path) -> Path | None:
    """Return the folder of a library, or None if ``uri`` is not a local path."""
    return None if "://" in str(uri) else Path(uri)


def disk_size(uri: str | Path) -> int | None:
    """Return the size of a library's folder in bytes, or None if it is not a local folder."""
    folder = local_folder(uri)
    if folder is None:
        return None
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def write_lock(folder: Path) -> FileLock:
    """Return the lock of the one process that may write; it ends with the process."""
    return FileLock(folder / LOCK)


@contextmanager
def read_errors(uri: str | Path) -> Iterator[None]:
    """Raise LanceDB's errors while reading a library as `LibraryError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OtomatchError) or not _is_lance_error(error):
            raise
        raise LibraryError(
            f"{uri}: cannot be read ({_cause(error)}); if it is damaged, index the sounds into a "
            "new library"
        ) from error


@contextmanager
def write_errors(uri: str | Path) -> Iterator[None]:
    """Raise LanceDB's errors while writing a library as `LibraryError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_lance_error(error):
            raise  # an error of the model, for example
        raise LibraryError(f"{uri}: cannot be written ({_cause(error)})") from error


def _is_lance_error(error: Exception) -> bool:
    """Recognise errors of LanceDB by their messages, since it has no exception class."""
    return isinstance(error, OSError) or _LANCE_ERROR.search(str(error)) is not None


def _cause(error: BaseException) -> str:
    text = str(error).strip()
    if "os error 28" in text or "No space left" in text:
        return "the disk is full; free some space and run it again"
    if any(f"{kind} {number}" in text for kind in ("os error", "Errno") for number in (13, 30)):
        return "it is read-only; make its folder writable, or copy the library elsewhere"
    # LanceDB appends the position in its own source code.
    message = re.sub(r",? /\S+\.rs:\d+:\d+.*", "", text.partition("\n")[0])
    return message[:_MAX_CAUSE_LENGTH] or type(error).__name__
