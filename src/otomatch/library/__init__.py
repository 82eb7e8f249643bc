"""A searchable library of sounds: windows of files as vectors in LanceDB.

The vectors are whitened, so that the model's learned distance is plain Euclidean distance and any
vector index can serve it. A library is a LanceDB folder; it keeps a copy of its model (``model/``)
and the model's fingerprint, and refuses the vectors of another.
"""

from otomatch.library.duplicates import DuplicateGroup
from otomatch.library.indexing.reports import AddReport, IndexReport
from otomatch.library.indexing.walking import SoundFile, find_sounds
from otomatch.library.playing import find_player
from otomatch.library.playlist import as_m3u8, write_playlist
from otomatch.library.sound_library import SoundLibrary, open_or_create

__all__ = [
    "AddReport",
    "DuplicateGroup",
    "IndexReport",
    "SoundFile",
    "SoundLibrary",
    "as_m3u8",
    "find_player",
    "find_sounds",
    "open_or_create",
    "write_playlist",
]
