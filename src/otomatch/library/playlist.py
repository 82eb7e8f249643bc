"""Hits as M3U8 playlists with start times, which VLC understands."""

import re
from collections.abc import Sequence
from pathlib import Path

from otomatch.errors import InvalidInputError
from otomatch.library.exporting import output_file
from otomatch.library.records import Hit

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")  # for any player


def as_m3u8(hits: Sequence[Hit]) -> str:
    """Return the text of an .m3u8 file: title, duration, start time and absolute path of each hit.

    A path that does not fit in a line as it is becomes a ``file:`` URI.
    """
    lines = ["#EXTM3U"]
    for hit in hits:
        title = f"{Path(hit.path).name} ({hit.span})"
        lines += [
            f"#EXTINF:{round(hit.duration)},{_LINE_BREAKS.sub(' ', title)}",
            f"#EXTVLCOPT:start-time={hit.start:.3f}",
            _location(hit.path),
        ]
    return "\n".join(lines) + "\n"


def write_playlist(hits: Sequence[Hit], path: str | Path) -> None:
    """Write hits as a playlist; an existing file is replaced.

    Raises:
        InvalidInputError: The file name does not end in .m3u8 or .m3u, or the file cannot be
            written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".m3u8", ".m3u"):
        raise InvalidInputError(f"{path}: expected a file name that ends in .m3u8")
    with output_file(path, InvalidInputError) as partial:
        partial.write_text(as_m3u8(hits), encoding="utf-8")


def _location(path: str) -> str:
    """Return the path, or its URI if a line cannot contain it."""
    place = Path(path).absolute()
    plain = str(place)
    return place.as_uri() if _LINE_BREAKS.search(plain) or plain != plain.strip() else plain
