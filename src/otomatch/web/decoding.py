"""Sounds from outside to waveforms: what runs in the `WorkerProcess` that may be killed."""

from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from otomatch import audio
from otomatch.audio.decoders import open_stream
from otomatch.audio.waveform import Waveform
from otomatch.errors import AudioError, MissingDecoderError, OtomatchError

TARGET = f"{__name__}:decode_upload"

_RATES = (1000, 768_000)
# libsndfile goes by what a file holds; what it does not know is left to FFmpeg.
_DECODERS = (".wav", ".webm")


class SoundTooLongError(OtomatchError):
    """A sound lasts longer than is allowed."""


class UploadJob(TypedDict):
    """A file to decode.

    Attributes:
        path: where it lies; its name says nothing about its format.
        seconds: that it may last.
        rate: Hz that are wanted.
    """

    path: str
    seconds: float
    rate: int


def decode_upload(job: UploadJob) -> tuple[dict[str, Any], bytes]:
    """Decode a sound of any format.

    Returns:
        Its length in seconds (``seconds``); and its samples, mono float32 at the rate that is
        wanted.

    Raises:
        AudioError: no decoder can read it, or it holds no sound.
        MissingDecoderError: one that is not installed might.
        SoundTooLongError: it lasts longer than is allowed.
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
        if not _RATES[0] <= sound.rate <= _RATES[1]:
            raise AudioError(f"{path}: has {sound.rate} samples a second, which is no sound")
        blocks: list[Waveform] = []
        samples = 0
        for block in sound.blocks:
            samples += len(block)
            if samples > seconds * sound.rate:
                raise SoundTooLongError(f"lasts longer than {seconds:g} s")
            blocks.append(block.mean(axis=1, dtype=np.float32))
    return audio.as_mono(np.concatenate([np.zeros(0, np.float32), *blocks])), sound.rate
