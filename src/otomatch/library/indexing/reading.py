"""Files read in threads, as a stream of windows of limited length."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otomatch.audio.windows import Window
from otomatch.errors import AudioError, MissingDecoderError
from otomatch.library.indexing import identity
from otomatch.library.indexing.file_names import readable
from otomatch.library.indexing.tags import read_tags
from otomatch.library.records import SoundFile

_MAX_WAITING = 128  # windows
_POLL_SECONDS = 0.1
_MAX_REASON_LENGTH = 300


class CompleteFile(NamedTuple):
    """Message that all windows of a file have been sent.

    Attributes:
        stamp: Size and modification time of the file.
        digest: Hash of its bytes.
        tags: Text of its tags, or None.
    """

    stamp: str
    digest: str
    tags: str | None


class KnownContent(NamedTuple):
    """Message that a file has the same bytes as another one, so that it need not be read.

    Attributes:
        stamp: Size and modification time of the file.
        digest: Hash of its bytes.
    """

    stamp: str
    digest: str


class FailedFile(NamedTuple):
    """Message that a file cannot be read.

    Attributes:
        reason: Reason, without the file's name.
        broken: True if the content is not a sound, False if the file could not be opened.
    """

    reason: str
    broken: bool


Message = Window | CompleteFile | KnownContent | FailedFile


class ContentClaims:
    """Contents that have been or are being read, so that copies are not decoded again.

    Attributes:
        digests: Digests of the files in the library.
    """

    def __init__(self, digests: set[str]) -> None:
        self.digests = digests
        self._claimed: dict[str, Path] = {}
        self._lock = threading.Lock()

    def claim(self, digest: str, path: Path) -> bool:
        """Return True if the caller should read a content, False if it is known or being read."""
        with self._lock:
            return digest not in self.digests and self._claimed.setdefault(digest, path) == path


class FileReader:
    """Iterator over pairs of a file and a message; the last message of a file is not a window.

    Use it as a context manager: its threads run inside the context.

    Args:
        sounds: Files to read.
        windows: Function that opens a file and yields its windows.
        claims: Contents that need not be read; None to read all files.
        threads: Number of files to read at a time.
    """

    def __init__(
        self,
        sounds: Iterable[SoundFile],
        windows: Callable[[Path], Iterator[Window]],
        claims: ContentClaims | None,
        threads: int,
    ) -> None:
        self._windows, self._claims = windows, claims
        self._todo: queue.SimpleQueue[SoundFile] = queue.SimpleQueue()
        self._left = 0
        for sound in sounds:
            self._todo.put(sound)
            self._left += 1
        self._out: queue.Queue[tuple[SoundFile, Message]] = queue.Queue(_MAX_WAITING)
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name="otomatch-reader")
            for _ in range(min(threads, self._left))
        ]

    def __enter__(self) -> "FileReader":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[tuple[SoundFile, Message] | None]:
        """Yield messages, and None now and then while there is none, so that a caller can stop."""
        while self._left:
            try:
                sound, message = self._out.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None
                continue
            self._left -= not isinstance(message, Window)
            yield sound, message

    def _work(self) -> None:
        with suppress(queue.Empty, _ClosedError):
            while True:
                sound = self._todo.get_nowait()
                self._put(sound, self._read(sound))

    def _read(self, sound: SoundFile) -> CompleteFile | KnownContent | FailedFile:
        path = sound.path
        # Before the content: a change in the meantime is noticed by the next run.
        stamp = identity.file_stamp(path)
        try:
            if not path.is_file():
                return FailedFile("no such file; check its name", broken=False)
            digest = identity.content_digest(path)
            if self._claims is not None and not self._claims.claim(digest, path):
                return KnownContent(stamp, digest)
            for window in self._windows(path):
                self._put(sound, window)
            return CompleteFile(stamp, digest, read_tags(path))
        except _ClosedError:
            raise
        except Exception as error:
            broken = _is_about_content(error) and identity.file_stamp(path) == stamp
            return FailedFile(_reason(error, path), broken)

    def _put(self, sound: SoundFile, message: Message) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._out.put((sound, message), timeout=_POLL_SECONDS)
                return
        raise _ClosedError


class _ClosedError(Exception):
    """The reader was closed."""


def _is_about_content(error: Exception) -> bool:
    """Return True if the content is not a sound, False if access or a decoder is missing."""
    elsewhere = isinstance(error, MissingDecoderError) or isinstance(
        error.__cause__, OSError | MemoryError | LookupError
    )
    return isinstance(error, AudioError) and not elsewhere


def _reason(error: Exception, path: Path) -> str:
    """Return the error's message without the file's name, so that equal reasons can be grouped."""
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    for named in (f"{path}: ", f"Error opening {str(path)!r}: ", f": {str(path)!r}"):
        text = text.replace(named, "")
    text = text.replace(str(path), "the file")
    if not isinstance(error, AudioError | OSError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return readable(text)[:_MAX_REASON_LENGTH]
