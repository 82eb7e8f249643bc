"""Features and encoder outputs of clips, computed once and memory-mapped from disk.

Training reads them in every epoch. They are kept in `otomatch.files.cache_folder` by default, and
computed again if a file, the encoder or the list of clips changes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from otomatch.datasets.base import Clip, Skipped
from otomatch.files import cache_folder, replacing
from otomatch.models import clip_loading
from otomatch.models.clip_loading import in_chunks, load_features
from otomatch.models.dual_encoder import DualEncoder
from otomatch.models.encoders import AudioEncoder
from otomatch.models.fingerprints import audio_fingerprint
from otomatch.models.states import audio_states

_Compute = Callable[[Sequence[Clip]], Iterable[Tensor | Skipped]]
_INDEX = "index.json"


class _Kind(NamedTuple):
    """Names and number format of the files of one kind of rows."""

    folder: str
    file: str
    dtype: type[np.floating[Any]]
    label: str


# Half precision is exact to 0.05 dB, and takes half the disk space.
_FRAMES = _Kind("features", "frames.f16", np.float16, "Computing features")
_WINDOWS = _Kind("audio", "windows.f32", np.float32, "Encoding sounds")


@dataclass(frozen=True)
class ClipRows:
    """Rows of n clips, feature frames or encoded windows, in one memory-mapped array.

    Attributes:
        values: Rows of all clips, (total rows, width).
        offsets: Row boundaries, (n + 1,); clip i has the rows offsets[i] to offsets[i + 1], and
            none if it cannot be read.
        skipped: Clips that cannot be read, and why.
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
        """Number of rows of each clip, (n,); 0 for a clip that cannot be read."""
        return np.diff(self.offsets)


def clip_features(
    clips: Sequence[Clip],
    encoder: AudioEncoder,
    cache: Path | None = None,
    progress: bool = False,
) -> ClipRows:
    """Compute the features of every clip, or map them from the cache.

    Args:
        clips: Clips to decode; those that cannot be read are listed in ``skipped``.
        encoder: Audio encoder whose `features` are computed.
        cache: Folder of the cache; None for `cache_folder`.
        progress: Show a progress bar.

    Returns:
        Feature frames, float16 (total frames, bands).
    """

    def compute(chunk: Sequence[Clip]) -> Iterable[Tensor | Skipped]:
        return load_features(chunk, encoder)

    key = _clips_key(encoder.feature_key, clips)
    return _cached_rows(_FRAMES, key, clips, compute, encoder.bands, cache, progress)


def clip_states(
    clips: Sequence[Clip],
    model: DualEncoder,
    cache: Path | None = None,
    progress: bool = False,
) -> ClipRows:
    """Compute a frozen audio encoder's outputs for every window of every clip, or map them.

    Args:
        clips: Clips to decode; those that cannot be read are listed in ``skipped``.
        model: Model whose audio encoder and windows are used, see `audio_states`.
        cache: Folder of the cache; None for `cache_folder`.
        progress: Show a progress bar.

    Returns:
        Encoded windows, float32 (total windows, width).
    """

    def compute(chunk: Sequence[Clip]) -> Iterable[Tensor | Skipped]:
        found = list(load_features(chunk, model.audio_encoder))
        states = iter(audio_states(model, [entry for entry in found if isinstance(entry, Tensor)]))
        return [next(states) if isinstance(entry, Tensor) else entry for entry in found]

    key = _clips_key(audio_fingerprint(model), clips)
    width = model.audio_encoder.width
    return _cached_rows(_WINDOWS, key, clips, compute, width, cache, progress)


def _clips_key(computed_by: str, clips: Sequence[Clip]) -> str:
    digest = hashlib.sha256(computed_by.encode())
    digest.update(repr(find_spec("av") is None).encode())  # with PyAV, more files can be read
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
    """Map the rows that ``compute`` returns for chunks of clips; compute them if not cached."""
    folder = (cache or cache_folder()) / kind.folder / key
    if not (folder / _INDEX).is_file():
        _write_rows(folder, kind, clips, compute, progress)
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
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
    lengths: list[int] = []
    skipped: list[tuple[str, str]] = []
    # Another process may have been faster and already be reading the same rows.
    with replacing(folder, overwrite=False) as partial:
        partial.mkdir()
        with (partial / kind.file).open("wb") as file:
            for chunk in in_chunks(clips, clip_loading.CHUNK, kind.label, progress):
                for entry in compute(chunk):
                    if isinstance(entry, Skipped):
                        skipped.append((entry.name, entry.reason))
                        lengths.append(0)
                    else:
                        file.write(entry.numpy().astype(kind.dtype).tobytes())
                        lengths.append(len(entry))
        index = json.dumps({"lengths": lengths, "skipped": skipped})
        (partial / _INDEX).write_text(index, encoding="utf-8")
