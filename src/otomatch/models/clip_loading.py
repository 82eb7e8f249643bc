"""Clips decoded in parallel and turned into features, in chunks that fit in memory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from otomatch import audio
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import AudioError
from otomatch.models.encoders import AudioEncoder

T = TypeVar("T")

CHUNK = 64
"""Number of clips whose features are in memory at once."""


def load_features(clips: Sequence[Clip], encoder: AudioEncoder) -> Iterator[Tensor | Skipped]:
    """Yield the features (frames, bands) of each clip, or why it cannot be read, in order."""

    def load(clip: Clip) -> Tensor | Skipped:
        try:
            waveform = audio.load(clip.path, encoder.sample_rate, clip.start, clip.end)
        except AudioError as error:
            return Skipped(clip.id, str(error))
        return encoder.features(torch.from_numpy(waveform))

    # Decoding, resampling and the transform release the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(load, clips)


def in_chunks(items: Sequence[T], size: int, label: str, progress: bool) -> Iterator[Sequence[T]]:
    """Yield consecutive chunks of ``size`` items; show a progress bar with ``label`` if wanted."""
    console = Console(stderr=True)
    for start in track(
        range(0, len(items), size),
        label,
        console=console,
        disable=not (progress and console.is_terminal),
        transient=True,
    ):
        yield items[start : start + size]
