"""Convert sounds that browsers cannot play to FLAC, block by block, and cache the results.

Every browser plays FLAC, including Safari. A FLAC file starts at the same sample as the original,
whereas MP3 adds silence, and libsndfile encodes it hundreds of times faster than real time.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from otomatch.audio.decoders import AudioStream, open_stream
from otomatch.web.api_errors import ApiError
from otomatch.web.limits import MEGABYTE
from otomatch.web.open_files import OpenedSound, OpenFile

MEDIA_TYPE = "audio/flac"

_RATES = (8000, 48_000)
_PART = 1 << 18  # number of samples per channel to resample and write at a time


class Conversions:
    """Cache of converted sounds in a private folder; evicts the least recently used.

    The file names have no extension, so that indexing the folder would find no sounds in it.

    Args:
        folder: Folder for the converted sounds, deleted by its owner.
        most: Maximum size of all converted sounds together, in bytes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    @property
    def total(self) -> int:
        """Size of all converted sounds together, in bytes."""
        return sum(self._sizes.values())

    def make(self, source: OpenedSound) -> None:
        """Convert a sound unless it is in the cache.

        Raises:
            AudioError: The source cannot be decoded.
            ApiError: 413 if the result would be larger than the whole cache.
        """
        if source.stamp in self._sizes:
            return
        part = self._folder / f"{source.stamp}.part"
        try:
            convert(source, part, self._most)
            self._keep(source.stamp, part)
        finally:
            part.unlink(missing_ok=True)

    def open(self, stamp: str) -> OpenFile | None:
        """Open a converted sound by the stamp of its source; return None if it is not cached."""
        with self._lock:
            if stamp not in self._sizes:
                return None
            self._sizes.move_to_end(stamp)
            place = self._folder / stamp
            return OpenFile(os.open(place, os.O_RDONLY | os.O_CLOEXEC), place)

    def _keep(self, stamp: str, part: Path) -> None:
        with self._lock:
            size = part.stat().st_size
            while self._sizes and self.total + size > self._most:
                oldest, _ = self._sizes.popitem(last=False)
                (self._folder / oldest).unlink()  # responses in progress have it open
            part.rename(self._folder / stamp)
            self._sizes[stamp] = size


def convert(source: OpenedSound, target: Path, most: int) -> None:
    """Write a sound as 16-bit FLAC at 8 to 48 kHz; more than two channels are mixed to mono.

    Args:
        source: Sound to convert.
        target: File to write.
        most: Maximum size of the file, in bytes.

    Raises:
        AudioError: The source cannot be decoded.
        ApiError: 413 if the file would be larger than ``most``.
    """
    with open_stream(source.path, suffix=source.suffix) as sound:
        rate = min(max(sound.rate, _RATES[0]), _RATES[1])
        channels = sound.channels if sound.channels <= 2 else 1
        settings = {"format": "FLAC", "subtype": "PCM_16"}
        with soundfile.SoundFile(target, "w", rate, channels, **settings) as file:
            for part in _resampled(sound, rate, channels):
                file.write(part)
                if file.frames and target.stat().st_size > most:
                    raise ApiError(
                        413,
                        f"{source.sound.path} would be larger than {most // MEGABYTE} MB when "
                        "converted for the browser; open the file itself instead",
                    )


def _resampled(sound: AudioStream, rate: int, channels: int) -> Iterator[npt.NDArray[np.float32]]:
    resampler = soxr.ResampleStream(sound.rate, rate, channels) if rate != sound.rate else None
    for block in sound.blocks:
        fitting = _fit(block, channels)
        for first in range(0, len(fitting), _PART):
            part = fitting[first : first + _PART]
            yield part if resampler is None else resampler.resample_chunk(part)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _fit(block: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    sane = np.nan_to_num(block, posinf=1.0, neginf=-1.0)
    if sane.shape[1] == channels:
        return sane
    # The number of channels may change within a file; the output keeps the first number.
    return np.repeat(sane.mean(axis=1, keepdims=True, dtype=np.float32), channels, axis=1)
