"""Decode uploaded sounds; runs in a `WorkerProcess`, which can be killed."""

from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from otomatch import audio
from otomatch.audio.decoders import open_stream
from otomatch.audio.waveform import Waveform
from otomatch.errors import AudioError, MissingDecoderError, OtomatchError

TARGET = f"{__name__}:decode_upload"
"""Function for `WorkerProcess` to call."""

_RATES = (1000, 768_000)
# libsndfile recognizes a file by its content; FFmpeg is tried if libsndfile does not.
_DECODERS = (".wav", ".webm")


class SoundTooLongError(OtomatchError):
    """A sound is longer than the limit."""


class UploadJob(TypedDict):
    """File to decode.

    Attributes:
        path: Path of the file; its name says nothing about its format.
        seconds: Maximum length, in seconds.
        rate: Sample rate to decode to, in Hz.
    """

    path: str
    seconds: float
    rate: int


def decode_upload(job: UploadJob) -> tuple[dict[str, Any], bytes]:
    """Decode a sound of any format.

    Returns:
        The length of the sound in seconds, as ``{"seconds": length}``, and its samples: mono
        float32 at ``job["rate"]`` Hz.

    Raises:
        AudioError: No decoder can read the file, or it contains no sound.
        MissingDecoderError: A decoder that is not installed may be able to read the file.
        SoundTooLongError: The sound is longer than ``job["seconds"]``.
    """
    reasons: list[AudioError] = []
    for suffix in _DECODERS:
        try:
            waveform, rate = _decode(Path(job["path"]), suffix, job["seconds"])
        except AudioError as error:
            reasons.append(error)
            continue
        wanted = audio.resample(waveform, rate, job["rate"])
        return {"seconds": len(waveform) / rate}, wanted.tobytes()
    missing = [error for error in reasons if isinstance(error, MissingDecoderError)]
    raise missing[0] if missing else AudioError(" / ".join(map(str, reasons)))


def _decode(path: Path, suffix: str, seconds: float) -> tuple[Waveform, int]:
    with open_stream(path, suffix=suffix) as sound:
        low, high = _RATES
        if not low <= sound.rate <= high:
            raise AudioError(
                f"{path} has a sample rate of {sound.rate} Hz; expected {low} to {high} Hz"
            )
        blocks: list[Waveform] = []
        samples = 0
        for block in sound.blocks:
            samples += len(block)
            if samples > seconds * sound.rate:
                raise SoundTooLongError(f"{path} is longer than {seconds:g} s")
            blocks.append(block.mean(axis=1, dtype=np.float32))
    return audio.as_mono(np.concatenate([np.zeros(0, np.float32), *blocks])), sound.rate
