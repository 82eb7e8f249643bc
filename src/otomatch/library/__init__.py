"""Searchable library of sounds, stored in LanceDB as one vector for each window of each file.

Vectors are whitened, so that the model's learned distance is the Euclidean distance between them
and any vector index can serve it. A library is a folder. It contains a copy of its model
(``model/``) and the model's fingerprint, and it refuses vectors of another model.

Names are imported on first use, so that records can be used without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otomatch.library.indexing.walking import find_sounds as find_sounds
    from otomatch.library.opening import open_or_create as open_or_create
    from otomatch.library.playing import find_player as find_player
    from otomatch.library.playlist import as_m3u8 as as_m3u8
    from otomatch.library.playlist import write_playlist as write_playlist
    from otomatch.library.records import AddReport as AddReport
    from otomatch.library.records import DuplicateGroup as DuplicateGroup
    from otomatch.library.records import Hit as Hit
    from otomatch.library.records import IndexReport as IndexReport
    from otomatch.library.records import LibraryInfo as LibraryInfo
    from otomatch.library.records import Sound as Sound
    from otomatch.library.records import SoundFile as SoundFile
    from otomatch.library.sound_library import SoundLibrary as SoundLibrary

_MODULES = {
    "AddReport": "records",
    "DuplicateGroup": "records",
    "Hit": "records",
    "IndexReport": "records",
    "LibraryInfo": "records",
    "Sound": "records",
    "SoundFile": "records",
    "SoundLibrary": "sound_library",
    "as_m3u8": "playlist",
    "find_player": "playing",
    "find_sounds": "indexing.walking",
    "open_or_create": "opening",
    "write_playlist": "playlist",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
