"""Contents of a library: its files, their vectors, and a summary."""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from otomatch.library.columns import SOUND_COLUMNS, sounds_from_rows, vectors_from_rows
from otomatch.library.connection import disk_size
from otomatch.library.records import LibraryInfo, Sound
from otomatch.library.store import Store


def all_sounds(store: Store) -> list[Sound]:
    """Return all files, sorted by path."""
    return sounds_from_rows(store.rows(SOUND_COLUMNS))


def sound_by_id(store: Store, id: str) -> Sound:  # noqa: A002
    """Return a file by its id.

    Raises:
        LibraryError: The library has no file with this id.
    """
    return sounds_from_rows(store.file_rows(id, SOUND_COLUMNS))[0]


def mean_vectors(store: Store) -> tuple[list[Sound], npt.NDArray[np.float32]]:
    """Return all files, sorted by path, and the mean whitened vector of each, shape (n, D)."""
    table = store.rows([*SOUND_COLUMNS, "vector"])
    sounds = sounds_from_rows(table)
    position = {sound.id: row for row, sound in enumerate(sounds)}
    rows = np.array([position[id_] for id_ in table["file_id"].to_pylist()], dtype=int)
    vectors = vectors_from_rows(table)
    total = np.zeros((len(sounds), vectors.shape[1]), np.float32)
    np.add.at(total, rows, vectors)
    counts = np.array([sound.windows for sound in sounds], np.float32)[:, None]
    return sounds, (total / counts).astype(np.float32)


def library_info(store: Store) -> LibraryInfo:
    """Return a summary of what a library contains and how it was created."""
    metadata = store.metadata
    table = store.rows(["root", "duration"], "start = 0")
    return LibraryInfo(
        sounds=len(table),
        windows=len(store),
        seconds=float(pc.sum(table["duration"]).as_py() or 0.0),
        roots=tuple(sorted(table["root"].unique().to_pylist())),
        model=metadata["name"],
        fingerprint=metadata["fingerprint"],
        window=metadata["window"],
        hop=metadata["hop"],
        bytes=disk_size(store.uri),
        created=metadata["created"],
        updated=store.updated().isoformat(timespec="seconds"),
    )
