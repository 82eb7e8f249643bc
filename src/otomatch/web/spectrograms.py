"""Draw small log-mel spectrograms as PNG images with a colour palette."""

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
from otomatch.web.api_errors import ApiError
from otomatch.web.open_files import OpenedSound

MEDIA_TYPE = "image/png"
WIDTHS, HEIGHTS = (16, 2048), (16, 512)
"""Minimum and maximum size of a spectrogram, in pixels."""

_DENSE_SECONDS = 120.0
_TRANSFORM_SECONDS = 2048 / 44_100
_BANDS = 96  # narrower bands would exceed the resolution of the transform; images are stretched
_LOW, _HIGH = 30.0, 16_000.0
_RANGE, _SILENT = 80.0, -95.0  # dynamic range of an image, and level of digital silence, in dB
# Nine evenly spaced colours of matplotlib's "magma", which is nearly linear between them.
_MAGMA = np.array(
    [
        [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100],
        [251, 135, 97], [254, 194, 135], [252, 253, 191],
    ]
)  # fmt: skip


def palette() -> npt.NDArray[np.uint8]:
    """Return 256 colours of evenly increasing lightness, shape (256, 3)."""
    place = np.linspace(0, len(_MAGMA) - 1, 256)
    channels = [np.interp(place, np.arange(len(_MAGMA)), _MAGMA[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def draw_spectrogram(
    source: OpenedSound, start: float | None, end: float | None, width: int, height: int
) -> bytes:
    """Draw a span of a sound, with time from left to right and high frequencies at the top.

    Spans longer than 120 s are sampled: each column then shows a short excerpt from its middle.

    Args:
        source: Sound to draw.
        start: Start of the span, in seconds; None for the start of the sound.
        end: End of the span, in seconds; None for the end of the sound.
        width: Width in pixels, within `WIDTHS`.
        height: Height in pixels, within `HEIGHTS`.

    Returns:
        The content of a PNG file.

    Raises:
        AudioError: The file cannot be decoded.
        ApiError: 400 if the span is empty.
    """
    duration = source.sound.duration
    first, last = start or 0.0, duration if end is None else min(end, duration)
    if last <= first:
        raise ApiError(
            400,
            f"the span from {first:g} to {last:g} s is empty; choose one within the sound's "
            f"{duration:g} s",
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
    """Return the number of samples per transform, a power of 2."""
    return int(2 ** min(max(round(math.log2(_TRANSFORM_SECONDS * rate)), 8), 14))


@lru_cache(maxsize=64)
def _log_mel(rate: int, hop: int) -> LogMel:
    high = min(_HIGH, rate / 2)
    low = min(_LOW, high / 10)
    return LogMel(LogMelConfig(rate, _transform(rate), hop, _BANDS, low, high))


def _columns(frames: Tensor, width: int) -> Tensor:
    """Convert (n, bands) frames to (width, bands) columns, each the maximum of its frames."""
    if len(frames) >= width:
        return nn.functional.adaptive_max_pool1d(frames.T, width).T
    return nn.functional.interpolate(frames.T[None], width, mode="linear")[0].T


def _png(decibels: npt.NDArray[np.float32], height: int) -> bytes:
    """Convert (width, bands) columns to a PNG image with the lowest band at the bottom."""
    loudest = float(decibels.max())
    shade = np.clip((decibels - loudest) / _RANGE + 1, 0, 1) * (loudest > _SILENT)
    grey = Image.fromarray((255 * shade.T[::-1]).round().astype(np.uint8))
    image = grey.resize((len(decibels), height), Image.Resampling.BILINEAR)
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
