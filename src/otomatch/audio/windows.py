"""Long clips as windows: stretches of features with their times."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from otomatch.audio.waveform import Waveform

REMAINDER = 50
"""The last window leaves out what is less than this part (a fiftieth) of a window."""


class Window(NamedTuple):
    """A stretch of a clip; the last of a clip ends with it, whatever few instants it leaves out.

    Attributes:
        start: seconds.
        end: seconds.
        features: (frames, bands).
    """

    start: float
    end: float
    features: Tensor


def cut(features: Tensor, size: int, rate: float) -> list[Window]:
    """The fewest windows that cover a clip, evenly spaced.

    A remainder of less than a fiftieth of a window is left out, rather than heard once more with
    all before it.

    Args:
        features: (frames, bands) of the clip.
        size: frames of a window; a shorter clip is one window of its own length.
        rate: frames per second.
    """
    # Frames are centred: n seconds have a frame at each end, which neighbours share.
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
    """The fewest stretches of a waveform that cover it and begin at most ``hop`` apart.

    Each begins ``hop`` after the one before, except the last, which ends with the waveform; it may
    be longer by less than a fiftieth, so that this remainder needs no stretch of its own. No more
    of it is held than a block and a stretch.

    Args:
        blocks: the waveform in pieces, (samples,) each.
        size: samples of a stretch; a shorter waveform is one stretch of its own length.
        hop: samples, 1 to ``size``.

    Yields:
        Where each begins, in samples, and its samples.
    """
    held, first, start = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        end = first + len(held)
        while end > start + size + size // REMAINDER:
            yield start, held[start - first :][:size]
            start += hop
        dropped = max(0, min(start, end - size) - first)  # the last one may reach back
        held, first = held[dropped:], first + dropped
    last = max(0, min(start, first + len(held) - size))
    yield last, held[last - first :]
