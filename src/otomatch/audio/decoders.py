"""Decode sound files block by block, with all their channels, in bounded memory.

Times are in seconds and sample rates in Hz. A block is float32 with shape (samples, channels).
"""

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
"""Suffixes of files that PyAV (the extra ``codecs``) reads and libsndfile does not."""

AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | CONTAINER_SUFFIXES
"""Suffixes of all files that can be decoded."""

_BLOCK_SAMPLES = 1 << 22
_JOINED_SAMPLES = 1 << 16


class AudioStream(NamedTuple):
    """An open sound file.

    Attributes:
        rate: Sample rate in Hz.
        channels: Number of channels at the beginning of the file.
        blocks: Samples in order, as blocks of shape (samples, channels).
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
    """Open a sound file for reading block by block, so that long files need little memory.

    Args:
        path: Any file that libsndfile reads; aac, m4a, mp4 and webm with the extra ``codecs``.
        start: Start of the span in seconds; None for the beginning of the file.
        end: End of the span in seconds; None for the end of the file.
        suffix: Suffix that selects the decoder; None for the suffix of ``path``.

    Yields:
        The open stream.

    Raises:
        MissingDecoderError: The decoder for this kind of file is not installed.
        AudioError: The file is missing, empty or cannot be decoded. Damage further into the file
            is raised while iterating over the blocks.
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
    """Read short mono excerpts of a long file, seeking where the format allows it.

    Args:
        path: Sound file.
        starts: Start of each excerpt in seconds, ascending. Starts beyond the end of the file are
            ignored.
        seconds: Length of each excerpt in seconds; the end of the file may cut the last ones short.
        suffix: Suffix that selects the decoder; None for the suffix of ``path``.

    Yields:
        Each excerpt, shape (samples,), and its sample rate in Hz.

    Raises:
        AudioError: As for `open_stream`.
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
    for start in wanted:  # excerpts that the end of the file cuts short
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
    # Reading in blocks bounds memory even if the header claims a huge length.
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
    """Yield samples ``first`` to ``last`` of a stream that cannot seek."""
    done = 0
    for piece in pieces:
        part = piece[max(0, first - done) : None if last is None else max(0, last - done)]
        done += len(piece)
        if len(part):
            yield part
        if last is not None and done >= last:
            return


def _joined(pieces: Iterable[Block]) -> Iterator[Block]:
    """Join small pieces to blocks of a moderate size."""
    held: list[Block] = []
    for piece in pieces:
        if held and held[0].shape[1] != piece.shape[1]:  # the number of channels changes here
            yield np.concatenate(held)
            held = []
        held.append(piece)
        if sum(map(len, held)) >= _JOINED_SAMPLES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def missing_decoder_error(path: Path) -> MissingDecoderError:
    """Return the error to raise if ``path`` needs PyAV and PyAV is not installed."""
    return MissingDecoderError(
        f"{path}: {path.suffix} files need an extra decoder; install it with: "
        "pip install 'otomatch[codecs]'"
    )


@contextmanager
def _decoding(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn a decoder's error into an AudioError that names the file and the remedy."""
    try:
        yield
    except errors as error:
        advice = "convert it to WAV or FLAC, or remove it"
        raise AudioError(f"{path}: {failure_reason(error)}; {advice}") from error


def failure_reason(error: Exception) -> str:
    """Return a decoder's error as the end of a sentence about an existing file."""
    said = str(getattr(error, "strerror", None) or error)  # without FFmpeg's error numbers
    if "File does not exist" in said:  # libsndfile says so of an MP3 file without MP3 frames
        return "is not a sound file that can be decoded"
    return f"cannot be decoded ({said})"
