"""From files and captions to features, encoder outputs and embeddings: streamed and cached.

Two things never change while a model is trained, so they are computed once and kept on disk: the
audio features of every clip (`clip_features`, memory-mapped) and a frozen text encoder's outputs
(`text_states`, by content hash), in `otomatch.downloads.cache_folder` unless told otherwise.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from otomatch import audio
from otomatch.downloads import cache_folder
from otomatch.encoders import AudioEncoder, TextEncoder
from otomatch.errors import AudioError
from otomatch.model import AudioTextModel
from otomatch.types import Clip, Skipped

T = TypeVar("T")

_CHUNK = 64
_FEATURE_DTYPE = np.float16  # half a hundredth of a decibel, at half the disk


@dataclass(frozen=True)
class ClipFeatures:
    """Features of many clips in one memory-mapped array.

    Attributes:
        frames: (total frames, bands), float16.
        offsets: (n + 1,); clip i has the frames offsets[i] to offsets[i + 1], none if unreadable.
        skipped: the unreadable clips, and why.
    """

    frames: npt.NDArray[np.float16]
    offsets: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[np.float16]:
        return self.frames[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each clip, (n,); 0 marks an unreadable one."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class EmbeddedClips:
    """Embeddings of the clips that could be read.

    Attributes:
        vectors: unit vectors, float32 (n, D).
        rows: (n,) which of the given clips each vector belongs to.
        skipped: the clips that could not be read, and why.
    """

    vectors: Tensor
    rows: list[int]
    skipped: tuple[Skipped, ...]


def clip_features(
    clips: Sequence[Clip],
    encoder: AudioEncoder,
    cache: Path | None = None,
    progress: bool = False,
) -> ClipFeatures:
    """Features of every clip, from the cache where files and front end are unchanged.

    Args:
        clips: what to decode; one that cannot be read is listed in ``skipped``.
        encoder: whose `features` are computed.
        cache: folder to keep them in; None for `cache_folder`.
        progress: show a progress bar.
    """
    folder = (cache or cache_folder()) / "features" / _features_key(clips, encoder)
    if not (folder / "index.json").is_file():
        _write_features(folder, clips, encoder, progress)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    offsets = np.concatenate([[0], np.cumsum(index["lengths"], dtype=np.int64)])
    shape = (int(offsets[-1]), encoder.bands)
    # An empty file cannot be mapped.
    frames = (
        np.memmap(folder / "frames.f16", _FEATURE_DTYPE, mode="r", shape=shape)
        if shape[0]
        else np.zeros(shape, _FEATURE_DTYPE)
    )
    return ClipFeatures(frames, offsets, tuple(Skipped(*entry) for entry in index["skipped"]))


def text_states(
    encoder: TextEncoder,
    captions: Sequence[str],
    cache: Path | None = None,
    progress: bool = False,
) -> Tensor:
    """A frozen text encoder's outputs, float32 (n, width), each distinct caption encoded once.

    Args:
        encoder: a frozen text encoder.
        captions: n captions.
        cache: folder of the cache; None for `cache_folder`.
        progress: show a progress bar.
    """
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    keys = [hashlib.sha256(caption.encode()).digest() for caption in captions]
    by_key = dict(zip(keys, captions, strict=True))
    with closing(sqlite3.connect(folder / "text.sqlite", timeout=60)) as database:
        store = _VectorStore(database, encoder.fingerprint())
        missing = sorted(by_key.keys() - store.present(by_key))
        for chunk in _chunks(missing, 16 * _CHUNK, "Encoding captions", progress):
            with torch.no_grad():
                vectors = encoder([by_key[key] for key in chunk]).float().cpu().numpy()
            store.write(zip(chunk, vectors, strict=True))
        found = store.read(by_key)
    vectors = np.array([found[key] for key in keys], np.float32)
    return torch.from_numpy(vectors.reshape(len(keys), encoder.width))


def embed_clips(
    model: AudioTextModel, clips: Sequence[Clip], progress: bool = False
) -> EmbeddedClips:
    """Embed clips from their files; those that cannot be read are skipped and listed."""
    vectors, rows, skipped = [], [], []
    for chunk in _chunks(range(len(clips)), _CHUNK, "Embedding sounds", progress):
        loaded = list(_features_of([clips[row] for row in chunk], model.audio_encoder))
        good = [(row, f) for row, f in zip(chunk, loaded, strict=True) if isinstance(f, Tensor)]
        skipped += [entry for entry in loaded if isinstance(entry, Skipped)]
        if good:
            rows += [row for row, _ in good]
            vectors.append(model.embed_features([features for _, features in good]))
    dim = model.settings["dim"]
    return EmbeddedClips(
        torch.cat(vectors) if vectors else torch.zeros(0, dim), rows, tuple(skipped)
    )


def _features_of(clips: Sequence[Clip], encoder: AudioEncoder) -> Iterator[Tensor | Skipped]:
    def one(clip: Clip) -> Tensor | Skipped:
        try:
            waveform = audio.load(clip.path, encoder.sample_rate, clip.start, clip.end)
        except AudioError as error:
            return Skipped(clip.id, str(error))
        return encoder.features(torch.from_numpy(waveform))

    # Decoding, resampling and the transform release the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(one, clips)


def _features_key(clips: Sequence[Clip], encoder: AudioEncoder) -> str:
    digest = hashlib.sha256(encoder.feature_key.encode())
    digest.update(repr(find_spec("av") is None).encode())  # once installed, it reads more files
    for clip in clips:
        stat = clip.path.stat() if clip.path.exists() else None
        identity = (
            str(clip.path.resolve()),
            clip.start,
            clip.end,
            stat and (stat.st_size, stat.st_mtime_ns),
        )
        digest.update(repr(identity).encode())
    return digest.hexdigest()[:32]


def _write_features(
    folder: Path, clips: Sequence[Clip], encoder: AudioEncoder, progress: bool
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    lengths: list[int] = []
    skipped: list[tuple[str, str]] = []
    try:
        with (partial / "frames.f16").open("wb") as file:
            for chunk in _chunks(clips, _CHUNK, "Computing features", progress):
                for entry in _features_of(chunk, encoder):
                    if isinstance(entry, Skipped):
                        skipped.append((entry.name, entry.reason))
                        lengths.append(0)
                    else:
                        file.write(entry.numpy().astype(_FEATURE_DTYPE).tobytes())
                        lengths.append(len(entry))
        index = json.dumps({"lengths": lengths, "skipped": skipped})
        (partial / "index.json").write_text(index, encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster; it wrote the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _VectorStore:
    """Vectors by content hash in an SQLite table, which survives kills and concurrent writers."""

    def __init__(self, database: sqlite3.Connection, space: str) -> None:
        self.database, self.space = database, space
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(space TEXT, key BLOB, vector BLOB, PRIMARY KEY (space, key)) WITHOUT ROWID"
            )

    def present(self, keys: Iterable[bytes]) -> set[bytes]:
        return set(self.read(keys))

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


def _chunks(items: Sequence[T], size: int, what: str, progress: bool) -> Iterator[Sequence[T]]:
    starts = range(0, len(items), size)
    console = Console(stderr=True)
    for start in track(
        starts,
        what,
        console=console,
        disable=not (progress and console.is_terminal),
        transient=True,
    ):
        yield items[start : start + size]
