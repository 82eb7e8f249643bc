"""Files read in threads, as a stream of windows of which only so many wait at a time."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otomatch.audio.windows import Window
from otomatch.errors import AudioError, MissingDecoderError
from otomatch.library.indexing import walking as files
from otomatch.library.indexing.tags import read_tags
from otomatch.library.indexing.walking import SoundFile

_WAITING = 128  # windows
_POLL = 0.1  # seconds
_LONGEST_REASON = 300


class Whole(NamedTuple):
    """All windows of a file have been handed over; what else there is to know of it."""

    stamp: str
    digest: str
    tags: str | None


class Same(NamedTuple):
    """The file's bytes are those of one that was read already."""

    stamp: str
    digest: str


class Failed(NamedTuple):
    """The file cannot be read.

    Attributes:
        reason: why.
        broken: whether its content is wrong, not the way to it.
    """

    reason: str
    broken: bool


Item = Window | Whole | Same | Failed


class Claims:
    """Which bytes have been read, or are being read, so that copies are not decoded again.

    Attributes:
        digests: of the files in the library.
    """

    def __init__(self, digests: set[str]) -> None:
        self.digests = digests
        self._taken: dict[str, Path] = {}
        self._lock = threading.Lock()

    def refused(self, digest: str, path: Path) -> bool:
        """Whether someone else has these bytes; else they are the caller's."""
        with self._lock:
            return digest in self.digests or self._taken.setdefault(digest, path) != path


class Reader:
    """Iterates over pairs of a file and a part of it; each file ends with one that is no window.

    Args:
        sounds: files to read.
        windows: opens a file.
        claims: which bytes need no reading; None to read them all.
        threads: how many files are read at a time.
    """

    def __init__(
        self,
        sounds: Iterable[SoundFile],
        windows: Callable[[Path], Iterator[Window]],
        claims: Claims | None,
        threads: int,
    ) -> None:
        self._windows, self._claims = windows, claims
        self._todo: queue.SimpleQueue[SoundFile] = queue.SimpleQueue()
        self._left = 0
        for sound in sounds:
            self._todo.put(sound)
            self._left += 1
        self._out: queue.Queue[tuple[SoundFile, Item]] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name="otomatch-reader")
            for _ in range(min(threads, self._left))
        ]

    def __enter__(self) -> "Reader":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[tuple[SoundFile, Item] | None]:
        """None comes now and then while nothing else does, so that one can stop waiting."""
        while self._left:
            try:
                sound, item = self._out.get(timeout=_POLL)
            except queue.Empty:
                yield None
                continue
            self._left -= not isinstance(item, Window)
            yield sound, item

    def _work(self) -> None:
        with suppress(queue.Empty, _ClosedError):
            while True:
                sound = self._todo.get_nowait()
                self._put(sound, self._read(sound))

    def _read(self, sound: SoundFile) -> Whole | Same | Failed:
        path = sound.path
        stamp = files.stamp(path)  # before the content: a change meanwhile is seen the next time
        try:
            if not path.is_file():
                return Failed("no such file; check its name", broken=False)
            digest = files.digest(path)
            if self._claims is not None and self._claims.refused(digest, path):
                return Same(stamp, digest)
            for window in self._windows(path):
                self._put(sound, window)
            return Whole(stamp, digest, read_tags(path))
        except _ClosedError:
            raise
        except Exception as error:
            broken = _of_content(error) and files.stamp(path) == stamp
            return Failed(_reason(error, path), broken)

    def _put(self, sound: SoundFile, item: Item) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._out.put((sound, item), timeout=_POLL)
                return
        raise _ClosedError


class _ClosedError(Exception):
    """Nobody wants what is read any more."""


def _of_content(error: Exception) -> bool:
    """Whether an error says that a file holds no sound: not that it, a decoder or memory lacks."""
    elsewhere = isinstance(error, MissingDecoderError) or isinstance(
        error.__cause__, OSError | MemoryError | LookupError
    )
    return isinstance(error, AudioError) and not elsewhere


def _reason(error: Exception, path: Path) -> str:
    """What is wrong, without the file's name, so that like reasons read alike."""
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    for named in (f"{path}: ", f"Error opening {str(path)!r}: ", f": {str(path)!r}"):
        text = text.replace(named, "")
    text = text.replace(str(path), "the file")
    if not isinstance(error, AudioError | OSError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return files.readable(text)[:_LONGEST_REASON]
