"""Hits as a playlist: M3U8, with the seconds at which VLC begins to play."""

import re
from collections.abc import Sequence
from pathlib import Path

from otomatch.errors import InvalidInputError
from otomatch.library.records import Hit

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")  # all that anyone takes for a line's end


def as_m3u8(hits: Sequence[Hit]) -> str:
    """Hits as the text of an .m3u8 file: title, length, second to begin at, absolute path."""
    lines = ["#EXTM3U"]
    for hit in hits:
        title = f"{Path(hit.path).name} ({hit.span})"
        lines += [
            f"#EXTINF:{round(hit.duration)},{_CONTROL.sub(' ', title)}",
            f"#EXTVLCOPT:start-time={hit.start:.3f}",
            _location(hit.path),
        ]
    return "\n".join(lines) + "\n"


def write_playlist(hits: Sequence[Hit], path: str | Path) -> None:
    """Write `as_m3u8` to a file.

    Raises:
        InvalidInputError: the name does not end in .m3u8 or .m3u, or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".m3u8", ".m3u"):
        raise InvalidInputError(f"{path}: a playlist's name ends in .m3u8")
    try:
        path.write_text(as_m3u8(hits), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written ({error.strerror})") from error


def _location(path: str) -> str:
    """The path, or its URI where a line cannot hold it as it is."""
    place = Path(path).absolute()
    plain = str(place)
    return place.as_uri() if _CONTROL.search(plain) or plain != plain.strip() else plain
