"""Decode sound files to mono waveforms, log-mel spectrograms and windows."""

from otomatch.audio.decoders import AUDIO_SUFFIXES, CONTAINER_SUFFIXES, SOUNDFILE_SUFFIXES
from otomatch.audio.log_mel import LogMel, LogMelConfig, mel_filterbank
from otomatch.audio.waveform import (
    Waveform,
    as_mono,
    decode,
    duration,
    load,
    resample,
    stream,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "CONTAINER_SUFFIXES",
    "SOUNDFILE_SUFFIXES",
    "LogMel",
    "LogMelConfig",
    "Waveform",
    "as_mono",
    "decode",
    "duration",
    "load",
    "mel_filterbank",
    "resample",
    "stream",
]
