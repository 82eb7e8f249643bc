"""Checks of the names of files and folders."""

import os
from pathlib import Path

from otomatch.errors import InvalidInputError

NOT_UNICODE = "its name is not valid Unicode; rename it"


def check_name(path: str | Path) -> None:
    """Check that a path can be the name of a file.

    Raises:
        InvalidInputError: It contains a NUL character.
    """
    if "\0" in str(path):
        raise InvalidInputError(f"{str(path)!r} contains a NUL character, which no file name can")


def is_unicode(name: str) -> bool:
    """Return True if a file name is valid Unicode."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(path: str | Path) -> str:
    """Return a path as text; bytes that are not valid Unicode are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_problem(path: Path) -> str | None:
    """Return why a path cannot be stored in the library, or None."""
    if "\0" in str(path):
        return "its name contains a NUL character; check it"
    return None if is_unicode(str(path)) else NOT_UNICODE


def is_below(path: str, folder: str) -> bool:
    """Return True if a path is that of a folder or of something below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
