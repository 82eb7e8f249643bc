"""What came of adding and indexing, as values and as a list of what was left out."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otomatch.datasets.base import Skipped
from otomatch.errors import LibraryError

SKIPPED = "skipped.csv"


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `SoundLibrary.add` did.

    Attributes:
        added: files that are new or have changed.
        unchanged: files that were there already.
        skipped: files that could not be read, and why.
    """

    added: int
    unchanged: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `SoundLibrary.index` did.

    Attributes:
        added: files that are new; copies of others among them.
        changed: files with other content, or of which the folder's table says something else.
        moved: files known under another name before; nothing of them was computed again.
        removed: files that are gone or no longer sounds.
        unchanged: files that were there already.
        skipped: files and folders that could not be read or were left out, and why.
        interrupted: whether it was stopped before the end.
    """

    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    interrupted: bool = False


@dataclass(slots=True)
class Tally:
    """Counts of a run so far; see `IndexReport`."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write what was left out as CSV, ``file,reason``.

    Raises:
        LibraryError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "reason"))
            writer.writerows((entry.name, entry.reason) for entry in skipped)
    except OSError as error:
        raise LibraryError(f"{path}: cannot be written ({error.strerror})") from error
