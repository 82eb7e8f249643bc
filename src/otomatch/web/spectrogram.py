"""Small log-mel spectrograms as PNG pictures with a palette."""

import io
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from otomatch.audio.decoders import excerpts, open_stream
from otomatch.audio.log_mel import LogMel, LogMelConfig
from otomatch.web.open_files import OpenedSound
from otomatch.web.problems import Problem

MEDIA_TYPE = "image/png"
WIDTHS, HEIGHTS = (16, 2048), (16, 512)
"""Smallest and largest size of a picture, pixels."""

_DENSE_SECONDS = 120.0
_TRANSFORM_SECONDS = 2048 / 44_100
_BANDS = 96  # more would be narrower than the transform resolves; taller pictures are stretched
_LOW, _HIGH = 30.0, 16_000.0
_RANGE, _SILENT = 80.0, -95.0  # dB between the loudest and the darkest; of digital silence
# Nine colours of matplotlib's "magma", evenly spaced; between them it is as good as linear.
_MAGMA = np.array(
    [
        [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100],
        [251, 135, 97], [254, 194, 135], [252, 253, 191],
    ]
)  # fmt: skip


def palette() -> npt.NDArray[np.uint8]:
    """256 colours whose lightness rises evenly, shape (256, 3)."""
    place = np.linspace(0, len(_MAGMA) - 1, 256)
    channels = [np.interp(place, np.arange(len(_MAGMA)), _MAGMA[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def picture(
    source: OpenedSound, start: float | None, end: float | None, width: int, height: int
) -> bytes:
    """Draw a stretch of a sound: time from left to right, high pitch above.

    Long stretches are sampled: each column then shows an excerpt in its middle.

    Args:
        source: the sound.
        start: seconds; None for the beginning.
        end: seconds; None for the end.
        width: pixels, within `WIDTHS`.
        height: pixels, within `HEIGHTS`.

    Returns:
        A PNG file.

    Raises:
        AudioError: the file cannot be decoded.
        Problem: 400, the sound ends before ``start``.
    """
    duration = source.sound.duration
    first, last = start or 0.0, duration if end is None else min(end, duration)
    if last <= first:
        raise Problem(
            400, f"the span from {first:g} to {last:g} s holds nothing; the sound has {duration:g}"
        )
    draw = _dense if last - first <= _DENSE_SECONDS else _sampled
    return _png(draw(source, first, last, width).numpy(), height)


def _dense(source: OpenedSound, first: float, last: float, width: int) -> Tensor:
    with open_stream(source.path, first, last, source.suffix) as sound:
        blocks = [block.mean(axis=1, dtype=np.float32) for block in sound.blocks]
    waveform = torch.from_numpy(np.concatenate([np.zeros(1, np.float32), *blocks]))
    hop = min(max(len(waveform) // (2 * width), 32), _transform(sound.rate))
    return _columns(_log_mel(sound.rate, hop)(waveform), width)


def _sampled(source: OpenedSound, first: float, last: float, width: int) -> Tensor:
    starts = [first + (column + 0.25) * (last - first) / width for column in range(width)]
    seconds = 2 * _TRANSFORM_SECONDS
    columns = [torch.full((_BANDS,), -100.0)] * width
    found = excerpts(source.path, starts, seconds, source.suffix)
    for column, (excerpt, rate) in enumerate(found):
        mel = _log_mel(rate, _transform(rate))
        columns[column] = mel(torch.from_numpy(excerpt)).amax(dim=0)
    return torch.stack(columns)


def _transform(rate: int) -> int:
    """Samples of one transform, a power of 2."""
    return int(2 ** min(max(round(math.log2(_TRANSFORM_SECONDS * rate)), 8), 14))


@lru_cache(maxsize=64)
def _log_mel(rate: int, hop: int) -> LogMel:
    high = min(_HIGH, rate / 2)
    low = min(_LOW, high / 10)
    return LogMel(LogMelConfig(rate, _transform(rate), hop, _BANDS, low, high))


def _columns(frames: Tensor, width: int) -> Tensor:
    """Frames (n, bands) to columns (width, bands): the loudest of those that share one."""
    if len(frames) >= width:
        return nn.functional.adaptive_max_pool1d(frames.T, width).T
    return nn.functional.interpolate(frames.T[None], width, mode="linear")[0].T


def _png(decibels: npt.NDArray[np.float32], height: int) -> bytes:
    """Columns (width, bands) as a picture, the lowest band at the bottom."""
    loudest = float(decibels.max())
    shade = np.clip((decibels - loudest) / _RANGE + 1, 0, 1) * (loudest > _SILENT)
    grey = Image.fromarray((255 * shade.T[::-1]).round().astype(np.uint8))
    image = grey.resize((len(decibels), height), Image.Resampling.BILINEAR)
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
