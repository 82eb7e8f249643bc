"""Sounds as windows of features, which is what the audio encoder of a model takes."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy.typing as npt
import torch
from torch import Tensor

from otomatch import audio
from otomatch.audio.waveform import Waveform
from otomatch.audio.windows import Window, cut, stretches
from otomatch.models.dual_encoder import DualEncoder

AudioInput = str | os.PathLike[str] | tuple[npt.ArrayLike | Tensor, int]
"""Path of a sound file, or a waveform (samples,) or (channels, samples) with its rate in Hz."""


def sound_features(model: DualEncoder, clip: AudioInput) -> Tensor:
    """Compute the features of one sound, (frames, bands).

    Raises:
        AudioError: The sound cannot be read, or contains no audio.
        InvalidInputError: The sample rate is not a positive number.
    """
    return _features(model, _waveform(model, clip))


def feature_windows(model: DualEncoder, features: Tensor) -> list[Window]:
    """Cut a clip's features (frames, bands) into the fewest windows that cover it, evenly spaced.

    Features of at most ``window_seconds``, or slightly more, are one window. No window is padded.
    """
    return cut(features, model.window_frames, model.audio_encoder.frame_rate)


def sound_windows(
    model: DualEncoder, clip: AudioInput, seconds: float | None = None, hop: float | None = None
) -> Iterator[Window]:
    """Yield the windows of one sound one by one, so that memory does not grow with its length.

    The windows cover the sound, and the last one ends with it; up to a fiftieth of a window may be
    left out before the end. A file is read as windows are requested.

    Args:
        model: Model whose features are computed.
        clip: Path of a sound file, or a waveform with its sample rate in Hz.
        seconds: Length of a window; None for the model's ``window_seconds``, which is the maximum.
        hop: Maximum time between the starts of two consecutive windows, in seconds; None for
            windows that do not overlap.

    Raises:
        AudioError: The sound cannot be read, or contains no audio.
        InvalidInputError: The sample rate is not a positive number.
    """
    rate = model.audio_encoder.sample_rate
    longest = float(model.settings["window_seconds"])
    size = round(rate * (longest if seconds is None else min(seconds, longest)))
    step = size if hop is None else max(1, min(size, round(rate * hop)))
    for start, samples in stretches(_blocks(model, clip), size, step):
        features = _features(model, torch.from_numpy(samples[:size]))
        yield Window(start / rate, (start + len(samples)) / rate, features)


def _blocks(model: DualEncoder, clip: AudioInput) -> Iterable[Waveform]:
    if isinstance(clip, tuple):
        return [_waveform(model, clip).numpy()]
    return audio.stream(Path(clip), model.audio_encoder.sample_rate)


def _waveform(model: DualEncoder, clip: AudioInput) -> Tensor:
    rate = model.audio_encoder.sample_rate
    if isinstance(clip, tuple):
        return torch.from_numpy(audio.resample(audio.as_mono(clip[0]), clip[1], rate))
    return torch.from_numpy(audio.load(Path(clip), rate))


def _features(model: DualEncoder, waveform: Tensor) -> Tensor:
    return model.audio_encoder.features(waveform.to(model.device)).cpu()
