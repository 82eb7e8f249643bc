"""Long clips as windows: stretches of features with their times."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A stretch of a clip.

    Attributes:
        start: seconds.
        end: seconds.
        features: (frames, bands).
    """

    start: float
    end: float
    features: Tensor


def cut(features: Tensor, size: int, rate: float, hop: int | None = None) -> list[Window]:
    """The fewest windows that cover a clip and start at most ``hop`` apart, evenly spaced.

    Args:
        features: (frames, bands) of the clip.
        size: frames of a window; a shorter clip is one window of its own length.
        rate: frames per second.
        hop: frames between the beginnings of neighbours, at most; None for windows that only
            just touch.
    """
    # Frames are centred: n seconds have a frame at each end, which neighbours share.
    step = max(1, min(size - 1, size - 1 if hop is None else hop))
    count = 1 + max(0, math.ceil((len(features) - size) / step))
    starts = torch.linspace(0, max(0, len(features) - size), count).round().int().tolist()
    return [
        Window(start / rate, (min(start + size, len(features)) - 1) / rate, features[start:][:size])
        for start in starts
    ]
