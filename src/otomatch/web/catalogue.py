"""What the library holds as a whole: totals and folders, read again when it has changed."""

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import PurePath
from threading import Lock

from otomatch.library import SoundLibrary
from otomatch.library.records import Sound


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder with sounds in it or below it.

    Attributes:
        path: absolute.
        name: from the name of the indexed folder on.
        sounds: their number.
    """

    path: str
    name: str
    sounds: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A library at one moment.

    Attributes:
        version: of its table.
        sounds: number of files.
        windows: number of stretches.
        seconds: length of all files.
        folders: sorted by name.
        known: all sounds by their ids.
    """

    version: int
    sounds: int
    windows: int
    seconds: float
    folders: tuple[FolderEntry, ...]
    known: dict[str, Sound]


class CatalogueKeeper:
    """Keeps the `Catalogue` of a library; may be used from several threads."""

    def __init__(self, library: SoundLibrary) -> None:
        self._library, self._lock = library, Lock()
        self._last: Catalogue | None = None
        self._next = 0.0

    def current(self) -> Catalogue:
        """The catalogue of the library as it is now, or was a moment ago.

        While a large library is being indexed it changes all the time; at most a fifth of one
        processor then goes into reading it again.
        """
        with self._lock:
            version, began = self._library.version, time.monotonic()
            stale = self._last is None or self._last.version != version
            if self._last is None or (stale and began >= self._next):
                self._last = catalogue(version, self._library.sounds())
                self._next = began + 5 * (time.monotonic() - began)
            return self._last


def catalogue(version: int, sounds: list[Sound]) -> Catalogue:
    """Count sounds and folders."""
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for sound in sounds:
        parent = PurePath(sound.path).parent
        above = takewhile(partial(_below, sound.root), parent.parents)
        for folder in (parent, *above):
            counts[str(folder)] += 1
            shown.setdefault(str(folder), _shown(folder, sound.root))
    entries = [FolderEntry(path, shown[path], count) for path, count in counts.items()]
    return Catalogue(
        version,
        len(sounds),
        sum(sound.windows for sound in sounds),
        sum(sound.duration for sound in sounds),
        tuple(sorted(entries, key=lambda entry: (entry.name, entry.path))),
        {sound.id: sound for sound in sounds},
    )


def shown_folder(sound: Sound) -> str:
    """A sound's folder, from the name of the indexed folder on."""
    return _shown(PurePath(sound.path).parent, sound.root)


def _below(root: str, folder: PurePath) -> bool:
    return folder.is_relative_to(root)


def _shown(folder: PurePath, root: str) -> str:
    place = PurePath(root)
    if not folder.is_relative_to(place):
        return folder.name
    return "/".join([place.name or str(place), *folder.relative_to(place).parts])
