"""Conditions that a file must satisfy to be searched at all: its folder and its duration."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from otomatch.errors import InvalidInputError
from otomatch.library.sql import check_text, quote
from otomatch.library.store import Store


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """Conditions on the files of a library.

    Attributes:
        folder: Folder that contains the file, at any depth: a path, or the name of an indexed
            folder or of one below it, such as ``field/rain``. None for any.
        min_duration: Minimum duration in seconds, or None.
        max_duration: Maximum duration in seconds, or None.
        exclude: Id of a file to leave out, or None.

    Raises:
        InvalidInputError: A duration is negative or not a number, the minimum is above the maximum,
            or the folder is blank or not valid text.
    """

    folder: str | Path | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        low, high = self.min_duration, self.max_duration
        if low is not None and not (math.isfinite(low) and low >= 0):
            raise InvalidInputError(f"the minimum duration is {low} s; expected 0 or more")
        if high is not None and not high >= 0:  # infinity is no limit
            raise InvalidInputError(f"the maximum duration is {high} s; expected 0 or more")
        if low is not None and high is not None and low > high:
            raise InvalidInputError(
                f"the minimum duration, {low:g} s, is above the maximum, {high:g} s; swap them"
            )
        if self.folder is not None and not check_text(str(self.folder)).strip():
            raise InvalidInputError("the folder is blank; give its path or its name, or omit it")

    def sql(self, store: Store) -> str | None:
        """Return the condition in SQL, or None if there is none.

        Raises:
            InvalidInputError: The library has no file in the folder.
        """
        parts = []
        if self.folder is not None:
            parts.append(_folder_condition(store, str(self.folder)))
        if self.min_duration is not None:
            parts.append(f"duration >= {float(self.min_duration)!r}")
        if self.max_duration is not None and math.isfinite(self.max_duration):
            parts.append(f"duration <= {float(self.max_duration)!r}")
        if self.exclude is not None:
            parts.append(f"file_id != {quote(self.exclude)}")
        return " AND ".join(parts) or None


def _folder_condition(store: Store, folder: str) -> str:
    """Return the condition that a file is below a folder, given by its path or name."""
    try:
        place = Path(folder).expanduser()
    except RuntimeError:  # ~name of an unknown user
        place = Path(folder)
    paths = dict.fromkeys((os.path.abspath(place), str(place.resolve())))  # links may be indexed
    for condition in (f"starts_with(path, {quote(path.rstrip('/') + '/')})" for path in paths):
        if store.count(condition):
            return condition
    roots = sorted(set(store.rows(["root"])["root"].to_pylist()))
    name = "/" + "/".join(part for part in place.parts if part not in (".", "..", "/")) + "/"
    if not place.is_absolute() and name != "//":
        condition = " OR ".join(_name_condition(root, name) for root in roots)
        if condition and store.count(condition):
            return f"({condition})"
    known = ", ".join(roots[:5]) + (", ..." if len(roots) > 5 else "")
    raise InvalidInputError(
        f"{folder}: the library has no sound in such a folder; give a path, or the name of one of "
        f"the indexed folders ({known or 'none yet'}) or of a folder below them"
    )


def _name_condition(root: str, name: str) -> str:
    """Return the condition that a file of ``root`` has the whole folder names ``/name/`` above it.

    Names above the root itself do not count, since they are not part of the library.
    """
    above = len(root.rstrip("/").rpartition("/")[0])
    below = f"substr(path, {above + 1})"
    return f"(root = {quote(root)} AND contains({below}, {quote(name)}))"
