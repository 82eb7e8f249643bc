"""Totals, folders and sounds of the library, kept in memory until the library changes."""

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
    """Folder that contains sounds, directly or in subfolders.

    Attributes:
        path: Absolute path.
        name: Path starting with the indexed folder's name.
        sounds: Number of sounds in the folder and its subfolders.
    """

    path: str
    name: str
    sounds: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Contents of a library at one version of its table.

    Attributes:
        version: Version of the table.
        sounds: Number of files.
        windows: Number of windows.
        seconds: Total length of all files, in seconds.
        folders: Folders, sorted by name.
        known: Sounds by id.
    """

    version: int
    sounds: int
    windows: int
    seconds: float
    folders: tuple[FolderEntry, ...]
    known: dict[str, Sound]


class CatalogueKeeper:
    """Cache of a library's `Catalogue`; safe to use from several threads."""

    def __init__(self, library: SoundLibrary) -> None:
        self._library, self._lock = library, Lock()
        self._last: Catalogue | None = None
        self._next = 0.0

    def current(self) -> Catalogue:
        """Return the catalogue of the library, at most a moment old.

        A library that is being indexed changes continuously. Reading it again takes at most a
        fifth of one processor.
        """
        with self._lock:
            version, began = self._library.store.version, time.monotonic()
            stale = self._last is None or self._last.version != version
            if self._last is None or (stale and began >= self._next):
                self._last = build_catalogue(version, self._library.sounds())
                self._next = began + 5 * (time.monotonic() - began)
            return self._last


def build_catalogue(version: int, sounds: list[Sound]) -> Catalogue:
    """Count the sounds, in total and per folder."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for sound in sounds:
        parent = PurePath(sound.path).parent
        above = takewhile(partial(_below, sound.root), parent.parents)
        for folder in (parent, *above):
            counts[str(folder)] += 1
            names.setdefault(str(folder), _display_name(folder, sound.root))
    entries = [FolderEntry(path, names[path], count) for path, count in counts.items()]
    return Catalogue(
        version,
        len(sounds),
        sum(sound.windows for sound in sounds),
        sum(sound.duration for sound in sounds),
        tuple(sorted(entries, key=lambda entry: (entry.name, entry.path))),
        {sound.id: sound for sound in sounds},
    )


def folder_name(sound: Sound) -> str:
    """Return the folder of a sound, as a path starting with the indexed folder's name."""
    return _display_name(PurePath(sound.path).parent, sound.root)


def _below(root: str, folder: PurePath) -> bool:
    return folder.is_relative_to(root)


def _display_name(folder: PurePath, root: str) -> str:
    place = PurePath(root)
    if not folder.is_relative_to(place):
        return folder.name
    return "/".join([place.name or str(place), *folder.relative_to(place).parts])
