"""Open files of the library, and refuse those outside the folder that was indexed."""

import os
import stat
from pathlib import Path
from typing import Self

from otomatch.library.records import Sound
from otomatch.web.api_errors import ApiError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_BINARY", 0)


class OpenFile:
    """Open file that is closed at the latest when it is garbage-collected.

    Args:
        handle: File descriptor.
        place: Path that the file was opened from.
    """

    def __init__(self, handle: int, place: Path) -> None:
        self._handle, self._place = handle, place
        self.stat = os.fstat(handle)

    @property
    def path(self) -> Path:
        """Path that opens this very file, even if it was deleted or replaced in the meantime.

        On systems without ``/proc`` it is the path that the file was opened from.
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
        # The client may have disconnected while a thread was opening the file.
        if hasattr(self, "_handle"):
            self.close()


class OpenedSound(OpenFile):
    """Open file of a sound in the library."""

    def __init__(self, handle: int, place: Path, sound: Sound) -> None:
        super().__init__(handle, place)
        self.sound = sound

    @property
    def suffix(self) -> str:
        """File name extension in lower case."""
        return Path(self.sound.path).suffix.lower()

    @property
    def stamp(self) -> str:
        """Identifier that changes whenever the file does."""
        return f"{self.sound.id}-{self.stat.st_size}-{self.stat.st_mtime_ns}"


def open_sound(sound: Sound) -> OpenedSound:
    """Open the file of a sound.

    Raises:
        ApiError: 404 if the file no longer exists, 403 if it cannot be read or its path leads
            outside the folder that was indexed.
    """
    place = _inside(sound)
    try:
        handle = os.open(place, _FLAGS)
    except FileNotFoundError:
        raise _gone(sound) from None
    except OSError as error:
        raise ApiError(403, f"{sound.path} cannot be read ({error.strerror})") from None
    opened = OpenedSound(handle, place, sound)
    try:
        if not stat.S_ISREG(opened.stat.st_mode):
            raise _gone(sound)
        # A folder may have been replaced by a link between the check and the opening.
        if not os.path.samestat(opened.stat, _inside(sound).stat()):
            raise _gone(sound)
    except (ApiError, OSError) as error:
        opened.close()
        raise error if isinstance(error, ApiError) else _gone(sound) from None
    return opened


def _inside(sound: Sound) -> Path:
    try:
        place = Path(sound.path).resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: circular links
        raise _gone(sound) from None
    # The indexed folder is not resolved again, so a link that replaced it is not followed.
    if not place.is_relative_to(sound.root):
        raise ApiError(
            403,
            f"{sound.path} leads outside the folder that was indexed ({sound.root}); index the "
            "folder that contains the file itself",
        )
    return place


def _gone(sound: Sound) -> ApiError:
    return ApiError(404, f"{sound.path} no longer exists; index its folder again")
