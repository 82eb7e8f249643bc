"""A file of the library, opened only where it lies inside the folder that was indexed."""

import os
import stat
from pathlib import Path
from typing import Self

from otomatch.library.records import Sound
from otomatch.web.problems import Problem

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_BINARY", 0)


class OpenFile:
    """An open file, closed at the latest when nobody holds it any more.

    Args:
        handle: its descriptor.
        place: where it lies.
    """

    def __init__(self, handle: int, place: Path) -> None:
        self._handle, self._place = handle, place
        self.stat = os.fstat(handle)

    @property
    def path(self) -> Path:
        """A path under which others open the very same file, even if it was deleted or exchanged.

        Where the system has no such path, it is the place of the file.
        """
        own = Path(f"/proc/self/fd/{self._handle}")
        return own if own.exists() else self._place

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The client may have left while a thread was opening the file for it.
        if hasattr(self, "_handle"):
            self.close()


class OpenedSound(OpenFile):
    """The open file of a sound in the library."""

    def __init__(self, handle: int, place: Path, sound: Sound) -> None:
        super().__init__(handle, place)
        self.sound = sound

    @property
    def suffix(self) -> str:
        """The ending of its name."""
        return Path(self.sound.path).suffix.lower()

    @property
    def stamp(self) -> str:
        """Changes when the file does."""
        return f"{self.sound.id}-{self.stat.st_size}-{self.stat.st_mtime_ns}"


def open_sound(sound: Sound) -> OpenedSound:
    """Open a sound's file.

    Raises:
        Problem: 404, it is gone; 403, its path leads out of the folder that was indexed.
    """
    place = _inside(sound)
    try:
        handle = os.open(place, _FLAGS)
    except FileNotFoundError:
        raise _gone(sound) from None
    except OSError as error:
        raise Problem(403, f"{sound.path}: cannot be read ({error.strerror})") from None
    opened = OpenedSound(handle, place, sound)
    try:
        if not stat.S_ISREG(opened.stat.st_mode):
            raise _gone(sound)
        # Between the look and the opening, a folder may have become a link that leads elsewhere.
        if not os.path.samestat(opened.stat, _inside(sound).stat()):
            raise _gone(sound)
    except (Problem, OSError) as error:
        opened.close()
        raise error if isinstance(error, Problem) else _gone(sound) from None
    return opened


def _inside(sound: Sound) -> Path:
    try:
        place = Path(sound.path).resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        raise _gone(sound) from None
    # The folder as it was when it was indexed: were it a link by now, it is not followed.
    if not place.is_relative_to(sound.root):
        raise Problem(
            403,
            f"{sound.path} leads out of the folder that was indexed ({sound.root}); index the "
            "folder where the file itself lies",
        )
    return place


def _gone(sound: Sound) -> Problem:
    return Problem(404, f"{sound.path}: the file is gone; run otomatch index again")
