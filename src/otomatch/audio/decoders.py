"""Decoders: sound files block by block, in all their channels, however long they are."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from otomatch.errors import AudioError, MissingDecoderError

Block = npt.NDArray[np.float32]

SOUNDFILE_SUFFIXES = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64"}
    | {".wav"}
)
"""Suffixes of files that libsndfile reads."""

CONTAINER_SUFFIXES = frozenset({".aac", ".m4a", ".mkv", ".mov", ".mp4", ".webm", ".wma"})
"""Suffixes of files that need PyAV (the extra ``codecs``)."""

AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | CONTAINER_SUFFIXES

_BLOCK_SAMPLES = 1 << 22
_JOINED_SAMPLES = 1 << 16


class AudioStream(NamedTuple):
    """A sound file that is being read.

    Attributes:
        rate: Hz.
        channels: their number where the file begins.
        blocks: its samples in order, each block float32 (samples, channels).
    """

    rate: int
    channels: int
    blocks: Iterator[Block]


@contextmanager
def open_stream(
    path: str | Path,
    start: float | None = None,
    end: float | None = None,
    suffix: str | None = None,
) -> Iterator[AudioStream]:
    """Read a sound file block by block, so that its length does not matter to the memory.

    Args:
        path: any file that libsndfile reads; aac, m4a, mp4 and webm with the extra ``codecs``.
        start: seconds to begin at.
        end: seconds to end at.
        suffix: the ending that chooses the decoder; None for the file's own.

    Raises:
        MissingDecoderError: the decoder that it needs is not installed.
        AudioError: the file is missing, empty or not decodable; from the blocks, where it is
            broken further on.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such file; check its name")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); replace or remove it")
    container = (path.suffix if suffix is None else suffix).lower() in CONTAINER_SUFFIXES
    with (_open_container if container else _open_soundfile)(path, start, end) as sound:
        yield sound


def excerpts(
    path: str | Path, starts: Sequence[float], seconds: float, suffix: str | None = None
) -> Iterator[tuple[Block, int]]:
    """Short mono excerpts of a long file, in order; files that can be sought are not read whole.

    Args:
        path: the file.
        starts: seconds, rising, at which they begin; beyond the end there are none.
        seconds: length of each.
        suffix: as for `open_stream`.

    Yields:
        An excerpt (samples,) and its sample rate in Hz.

    Raises:
        AudioError: as for `open_stream`.
    """
    path = Path(path)
    if (path.suffix if suffix is None else suffix).lower() in CONTAINER_SUFFIXES:
        with open_stream(path, suffix=suffix) as sound:
            yield from _cut_excerpts(sound, starts, round(seconds * sound.rate))
        return
    with _decoding(path, soundfile.LibsndfileError, RuntimeError), soundfile.SoundFile(path) as f:
        for start in starts:
            if round(start * f.samplerate) < f.frames:
                f.seek(round(start * f.samplerate))
                block = f.read(round(seconds * f.samplerate), "float32", always_2d=True)
                yield block.mean(axis=1, dtype=np.float32), int(f.samplerate)


def _cut_excerpts(
    sound: AudioStream, starts: Sequence[float], size: int
) -> Iterator[tuple[Block, int]]:
    held, position = np.zeros(0, np.float32), 0
    wanted = deque(round(start * sound.rate) for start in starts)
    for block in sound.blocks:
        held = np.concatenate([held, block.mean(axis=1, dtype=np.float32)])
        while wanted and wanted[0] + size <= position + len(held):
            first = wanted.popleft() - position
            yield held[first : first + size], sound.rate
        passed = max(0, min(len(held), (wanted[0] if wanted else position + len(held)) - position))
        held, position = held[passed:], position + passed
    for start in wanted:  # those that the end cuts short
        if len(held[start - position :]):
            yield held[start - position :], sound.rate


@contextmanager
def _open_soundfile(path: Path, start: float | None, end: float | None) -> Iterator[AudioStream]:
    with ExitStack() as stack:
        with _decoding(path, soundfile.LibsndfileError, RuntimeError):
            file = stack.enter_context(soundfile.SoundFile(path))
            rate = int(file.samplerate)
            first = round((start or 0.0) * rate)
            if first:
                file.seek(min(first, file.frames))
        wanted = None if end is None else round(end * rate) - first
        yield AudioStream(rate, int(file.channels), _soundfile_blocks(path, file, wanted))


def _soundfile_blocks(path: Path, file: Any, wanted: int | None) -> Iterator[Block]:
    # Block by block, so that a header that lies about the length cannot ask for all memory.
    left = wanted
    while left is None or left > 0:
        size = _BLOCK_SAMPLES // file.channels
        with _decoding(path, soundfile.LibsndfileError, RuntimeError):
            block = file.read(size if left is None else min(size, left), "float32", always_2d=True)
        if len(block) == 0:
            return
        left = None if left is None else left - len(block)
        yield block


@contextmanager
def _open_container(path: Path, start: float | None, end: float | None) -> Iterator[AudioStream]:
    try:
        import av
    except ImportError as error:
        raise missing_decoder_error(path) from error
    with ExitStack() as stack:
        with _decoding(path, av.FFmpegError, EOFError, ValueError):
            container = stack.enter_context(av.open(str(path)))
            if not container.streams.audio:
                raise AudioError(f"{path}: has no audio stream")
            track = container.streams.audio[0]
            rate, channels = int(track.rate), int(track.channels)
        first = round((start or 0.0) * rate)
        last = None if end is None else round(end * rate)
        yield AudioStream(
            rate, channels, _joined(_between(_container_blocks(path, container), first, last))
        )


def _container_blocks(path: Path, container: Any) -> Iterator[Block]:
    import av

    mixer = av.AudioResampler(format="fltp", rate=container.streams.audio[0].rate)
    with _decoding(path, av.FFmpegError, EOFError, ValueError):
        for frame in container.decode(audio=0):
            for mixed in mixer.resample(frame):
                yield mixed.to_ndarray().T


def _between(pieces: Iterable[Block], first: int, last: int | None) -> Iterator[Block]:
    """The samples from ``first`` to ``last`` of a stream that can only be read from the start."""
    done = 0
    for piece in pieces:
        part = piece[max(0, first - done) : None if last is None else max(0, last - done)]
        done += len(piece)
        if len(part):
            yield part
        if last is not None and done >= last:
            return


def _joined(pieces: Iterable[Block]) -> Iterator[Block]:
    """Small pieces as blocks of a moderate size."""
    held: list[Block] = []
    for piece in pieces:
        if held and held[0].shape[1] != piece.shape[1]:  # the channels change on the way
            yield np.concatenate(held)
            held = []
        held.append(piece)
        if sum(map(len, held)) >= _JOINED_SAMPLES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def missing_decoder_error(path: Path) -> MissingDecoderError:
    """The error that PyAV, which reads a file, is not installed."""
    return MissingDecoderError(
        f"{path}: {path.suffix} files need an extra decoder; install it with: "
        "pip install 'otomatch[codecs]'"
    )


@contextmanager
def _decoding(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Say which file it is, and what to do, where a decoder fails."""
    try:
        yield
    except errors as error:
        advice = "convert it to WAV or FLAC, or remove it"
        raise AudioError(f"{path}: {failure_reason(error)}; {advice}") from error


def failure_reason(error: Exception) -> str:
    """What a decoder's error says, in words that are true of a file that is there."""
    said = str(getattr(error, "strerror", None) or error)  # FFmpeg's numbers mean nothing to anyone
    if "File does not exist" in said:  # libsndfile, of an MP3 that is none
        return "is no sound that can be decoded"
    return f"cannot be decoded ({said})"
