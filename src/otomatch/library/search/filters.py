"""What a sound must fulfil to be found at all: a folder, a duration."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from otomatch.errors import InvalidInputError
from otomatch.library.store import Store, checked_text, quoted


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on the files of a library.

    Attributes:
        folder: the file lies in this folder or below it: a path, or the name of an indexed folder
            or of one below it, as ``field/rain``.
        min_duration: seconds, at least.
        max_duration: seconds, at most.
        exclude: id of a file that is left out.

    Raises:
        InvalidInputError: a duration is negative or not a number, or no file could be as long; the
            folder is blank, or no text.
    """

    folder: str | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        low, high = self.min_duration, self.max_duration
        if low is not None and not (math.isfinite(low) and low >= 0):
            raise InvalidInputError(f"the shortest duration must be 0 s or more, got {low}")
        if high is not None and not high >= 0:  # infinite is no limit
            raise InvalidInputError(f"the longest duration must be 0 s or more, got {high}")
        if low is not None and high is not None and low > high:
            raise InvalidInputError(
                f"no sound is at least {low:g} s and at most {high:g} s long; exchange the two"
            )
        if self.folder is not None and not checked_text(self.folder).strip():
            raise InvalidInputError("the folder is blank; give its path or its name, or none")

    def sql(self, store: Store) -> str | None:
        """The condition in SQL, None if there is none.

        Raises:
            InvalidInputError: the library has no file in such a folder.
        """
        parts = []
        if self.folder is not None:
            parts.append(_in_folder(store, self.folder))
        if self.min_duration is not None:
            parts.append(f"duration >= {float(self.min_duration)!r}")
        if self.max_duration is not None and math.isfinite(self.max_duration):
            parts.append(f"duration <= {float(self.max_duration)!r}")
        if self.exclude is not None:
            parts.append(f"file_id != {quoted(self.exclude)}")
        return " AND ".join(parts) or None


def _in_folder(store: Store, folder: str) -> str:
    """Condition that a file lies below a folder; whole parts of paths are compared."""
    try:
        place = Path(folder).expanduser()
    except RuntimeError:  # ~name of a user that there is not
        place = Path(folder)
    paths = dict.fromkeys((os.path.abspath(place), str(place.resolve())))  # links may be indexed
    for condition in (f"starts_with(path, {quoted(path.rstrip('/') + '/')})" for path in paths):
        if store.count(condition):
            return condition
    roots = sorted(set(store.rows(["root"])["root"].to_pylist()))
    name = "/" + "/".join(part for part in place.parts if part not in (".", "..", "/")) + "/"
    if not place.is_absolute() and name != "//":
        condition = " OR ".join(_named(root, name) for root in roots)
        if condition and store.count(condition):
            return f"({condition})"
    known = ", ".join(roots[:5]) + (", ..." if len(roots) > 5 else "")
    raise InvalidInputError(
        f"{folder}: the library has no sound in such a folder; give a path, or the name of one of "
        f"the indexed folders ({known or 'none yet'}) or of one below them"
    )


def _named(root: str, name: str) -> str:
    """Condition that a file of a root lies in or below a folder called ``/name/``."""
    # What lies above the root is no part of the library.
    above = len(root.rstrip("/").rpartition("/")[0])
    below = f"substr(path, {above + 1})"
    return f"(root = {quoted(root)} AND contains({below}, {quoted(name)}))"
