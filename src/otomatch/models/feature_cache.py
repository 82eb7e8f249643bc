"""Features and encoder outputs of clips and captions, computed once and cached on disk."""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from otomatch import audio
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import AudioError
from otomatch.files import cache_folder
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import AudioEncoder, TextEncoder

T = TypeVar("T")
_CHUNK = 64
_Compute = Callable[[Sequence[Clip]], Iterable[Tensor | Skipped]]


class _Kind(NamedTuple):
    """How rows of clips are kept."""

    folder: str
    file: str
    dtype: type[np.floating[Any]]
    label: str


# Half precision is good to half a tenth of a decibel, at half the disk.
_FRAMES = _Kind("features", "frames.f16", np.float16, "Computing features")
_WINDOWS = _Kind("audio", "windows.f32", np.float32, "Encoding sounds")


@dataclass(frozen=True)
class ClipRows:
    """Rows of many clips, feature frames or windows, in one memory-mapped array.

    Attributes:
        values: (total rows, width).
        offsets: (n + 1,); clip i has the rows offsets[i] to offsets[i + 1], none if unreadable.
        skipped: the unreadable clips, and why.
    """

    values: npt.NDArray[np.floating[Any]]
    offsets: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, clip: int) -> npt.NDArray[np.floating[Any]]:
        return self.values[self.offsets[clip] : self.offsets[clip + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Rows of each clip, (n,); 0 marks an unreadable one."""
        return np.diff(self.offsets)


def clip_features(
    clips: Sequence[Clip],
    encoder: AudioEncoder,
    cache: Path | None = None,
    progress: bool = False,
) -> ClipRows:
    """Features of every clip, from the cache where files and front end are unchanged.

    Args:
        clips: what to decode; one that cannot be read is listed in ``skipped``.
        encoder: whose `features` are computed.
        cache: folder to keep them in; None for `cache_folder`.
        progress: show a progress bar.

    Returns:
        (total frames, bands), float16.
    """

    def compute(chunk: Sequence[Clip]) -> Iterable[Tensor | Skipped]:
        return _features_of(chunk, encoder)

    key = _clips_key(encoder.feature_key, clips)
    return _cached_rows(_FRAMES, key, clips, compute, encoder.bands, cache, progress)


def clip_states(
    clips: Sequence[Clip],
    model: AudioTextModel,
    cache: Path | None = None,
    progress: bool = False,
) -> ClipRows:
    """A frozen audio encoder's outputs for every window of every clip, computed once.

    Args:
        clips: what to decode; one that cannot be read is listed in ``skipped``.
        model: whose audio encoder and windows are meant, see `AudioTextModel.audio_states`.
        cache: folder to keep them in; None for `cache_folder`.
        progress: show a progress bar.

    Returns:
        (total windows, width), float32.
    """

    def compute(chunk: Sequence[Clip]) -> Iterable[Tensor | Skipped]:
        found = list(_features_of(chunk, model.audio_encoder))
        states = iter(model.audio_states([entry for entry in found if isinstance(entry, Tensor)]))
        return [next(states) if isinstance(entry, Tensor) else entry for entry in found]

    key = _clips_key(model.audio_fingerprint, clips)
    width = model.audio_encoder.width
    return _cached_rows(_WINDOWS, key, clips, compute, width, cache, progress)


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


def _clips_key(computed_by: str, clips: Sequence[Clip]) -> str:
    digest = hashlib.sha256(computed_by.encode())
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


def _cached_rows(
    kind: _Kind,
    key: str,
    clips: Sequence[Clip],
    compute: _Compute,
    width: int,
    cache: Path | None,
    progress: bool,
) -> ClipRows:
    """Map what ``compute`` gives for chunks of clips, computing it where no cache has it."""
    folder = (cache or cache_folder()) / kind.folder / key
    if not (folder / "index.json").is_file():
        _write_rows(folder, kind, clips, compute, progress)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    offsets = np.concatenate([[0], np.cumsum(index["lengths"], dtype=np.int64)])
    shape = (int(offsets[-1]), width)
    # An empty file cannot be mapped.
    values = (
        np.memmap(folder / kind.file, kind.dtype, mode="r", shape=shape)
        if shape[0]
        else np.zeros(shape, kind.dtype)
    )
    return ClipRows(values, offsets, tuple(Skipped(*entry) for entry in index["skipped"]))


def _write_rows(
    folder: Path, kind: _Kind, clips: Sequence[Clip], compute: _Compute, progress: bool
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    lengths: list[int] = []
    skipped: list[tuple[str, str]] = []
    try:
        with (partial / kind.file).open("wb") as file:
            for chunk in _chunks(clips, _CHUNK, kind.label, progress):
                for entry in compute(chunk):
                    if isinstance(entry, Skipped):
                        skipped.append((entry.name, entry.reason))
                        lengths.append(0)
                    else:
                        file.write(entry.numpy().astype(kind.dtype).tobytes())
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
