"""Outputs of a frozen text encoder, each distinct caption encoded once and kept on disk.

The cache is one SQLite file, which survives kills and concurrent writers.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.files import cache_folder
from otomatch.models import clip_loading
from otomatch.models.clip_loading import in_chunks
from otomatch.models.encoders import TextEncoder

_CHUNKS = 16  # captions are shorter than clips, so a chunk holds this many times as many


def text_states(
    encoder: TextEncoder,
    captions: Sequence[str],
    cache: Path | None = None,
    progress: bool = False,
) -> Tensor:
    """Encode captions with a frozen text encoder, or read the outputs from the cache.

    Args:
        encoder: Frozen text encoder.
        captions: n captions.
        cache: Folder of the cache; None for `cache_folder`.
        progress: Show a progress bar.

    Returns:
        Outputs of the encoder, float32 (n, width), on the CPU.
    """
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    keys = [hashlib.sha256(caption.encode()).digest() for caption in captions]
    by_key = dict(zip(keys, captions, strict=True))
    with closing(sqlite3.connect(folder / "text.sqlite", timeout=60)) as database:
        store = _VectorStore(database, encoder.fingerprint())
        missing = sorted(by_key.keys() - store.read(by_key).keys())
        size = _CHUNKS * clip_loading.CHUNK
        for chunk in in_chunks(missing, size, "Encoding captions", progress):
            with torch.no_grad():
                vectors = encoder([by_key[key] for key in chunk]).float().cpu().numpy()
            store.write(zip(chunk, vectors, strict=True))
        found = store.read(by_key)
    vectors = np.array([found[key] for key in keys], np.float32)
    return torch.from_numpy(vectors.reshape(len(keys), encoder.width))


class _VectorStore:
    """Vectors of one encoder by the hash of their caption, in a table shared by all encoders."""

    def __init__(self, database: sqlite3.Connection, space: str) -> None:
        self.database, self.space = database, space
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(space TEXT, key BLOB, vector BLOB, PRIMARY KEY (space, key)) WITHOUT ROWID"
            )

    def read(self, keys: Iterable[bytes]) -> dict[bytes, npt.NDArray[np.float32]]:
        query = "SELECT vector FROM vectors WHERE space = ? AND key = ?"
        found = {
            key: self.database.execute(query, (self.space, key)).fetchone() for key in set(keys)
        }
        return {key: np.frombuffer(row[0], np.float32) for key, row in found.items() if row}

    def write(self, rows: Iterable[tuple[bytes, npt.NDArray[np.float32]]]) -> None:
        with self.database:
            self.database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(self.space, key, vector.tobytes()) for key, vector in rows],
            )
