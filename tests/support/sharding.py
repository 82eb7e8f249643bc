"""A global batch split into blocks of rows, for tests with several processes."""

from itertools import accumulate

import torch
from torch import nn

from otomatch.transport.ground_metrics import GROUND_METRICS

EXACT = {"tolerance": 1e-12, "max_iterations": 5000}
SIZES = {2: (6, 7), 4: (5, 3, 4, 1)}
EMPTY = {2: (13, 0), 4: (0, 6, 0, 7)}
CLIPS = [
    "rain",
    "dog",
    "rain",
    "car",
    "dog",
    "rain",
    "bell",
    "car",
    "bird",
    "cat",
    "rain",
    3,
    "dog",
]
BATCH, FEATURES, DIM = 13, 6, 5


def blocks(sizes, rows):
    """Split a tensor or list into the rows of each process; None stays None."""
    ends = list(accumulate(sizes))
    spans = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [None if rows is None else rows[span] for span in spans]


class Pair(nn.Module):
    """Two small encoders and a ground metric that is not the identity."""

    def __init__(self, ground="full", norm=False):
        super().__init__()
        torch.manual_seed(1)
        self.audio = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, DIM))
        if norm:
            self.audio.insert(1, nn.BatchNorm1d(8))
        self.text = nn.Linear(FEATURES, DIM)
        self.ground = GROUND_METRICS[ground](DIM)
        with torch.no_grad():
            for parameter in self.ground.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
        self.ground.project_()
        self.double()

    def forward(self, sounds, words):
        unit = nn.functional.normalize
        return unit(self.audio(sounds), dim=1), unit(self.text(words), dim=1)


def features():
    random = torch.Generator().manual_seed(0)
    sounds = torch.randn(BATCH, FEATURES, generator=random, dtype=torch.float64)
    noise = torch.randn(BATCH, FEATURES, generator=random, dtype=torch.float64)
    return sounds, sounds + noise


def mean(lists):
    return [torch.stack(same).mean(0) for same in zip(*lists, strict=True)]
