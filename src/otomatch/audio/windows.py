"""Cut long clips into windows: waveforms before the front end, or features after it."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from otomatch.audio.waveform import Waveform

REMAINDER = 50
"""A remainder shorter than ``1 / REMAINDER`` of a window does not get a window of its own."""


class Window(NamedTuple):
    """Part of a clip.

    The last window of a clip is labelled with the end of the clip, even if it leaves out a short
    remainder.

    Attributes:
        start: Start in seconds from the beginning of the clip.
        end: End in seconds from the beginning of the clip.
        features: Features of the window, shape (frames, bands).
    """

    start: float
    end: float
    features: Tensor


def cut(features: Tensor, size: int, rate: float) -> list[Window]:
    """Cut the features of a clip into the fewest evenly spaced windows that cover it.

    A remainder shorter than a fiftieth of a window is left out instead of adding a window that
    overlaps almost entirely with the one before it.

    Args:
        features: Features of the clip, shape (frames, bands).
        size: Frames per window; a shorter clip becomes one window of its own length.
        rate: Frames per second.
    """
    # Frames are centred, so neighbouring windows share the frame at their common boundary.
    beyond, step = len(features) - size, max(1, size - 1)
    count = 1 + max(0, math.ceil((beyond - size // REMAINDER) / step))
    last = max(0, min(beyond, (count - 1) * step))
    starts = torch.linspace(0, last, count).round().int().tolist()
    ends = [min(start + size, len(features)) - 1 for start in starts[:-1]] + [len(features) - 1]
    return [
        Window(start / rate, end / rate, features[start:][:size])
        for start, end in zip(starts, ends, strict=True)
    ]


def stretches(blocks: Iterable[Waveform], size: int, hop: int) -> Iterator[tuple[int, Waveform]]:
    """Cut a waveform into the fewest stretches that cover it and start at most ``hop`` apart.

    Each stretch starts ``hop`` after the one before it, except the last, which ends with the
    waveform. The last may be longer than ``size`` by less than a fiftieth, so that a short
    remainder does not need a stretch of its own. Only one block and one stretch are in memory.

    Args:
        blocks: Consecutive parts of the waveform, each of shape (samples,).
        size: Samples per stretch; a shorter waveform becomes one stretch of its own length.
        hop: Samples between the starts of stretches, 1 to ``size``.

    Yields:
        Start of each stretch in samples, and its samples.
    """
    held, first, start = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        end = first + len(held)
        while end > start + size + size // REMAINDER:
            yield start, held[start - first :][:size]
            start += hop
        dropped = max(0, min(start, end - size) - first)  # the last stretch may start earlier
        held, first = held[dropped:], first + dropped
    last = max(0, min(start, first + len(held) - size))
    yield last, held[last - first :]
