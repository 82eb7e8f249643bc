"""Tags inside sound files as readable text: ID3, Vorbis comments, MP4, RIFF INFO, Broadcast WAV."""

import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import soundfile
from tinytag import TinyTag

from otomatch.audio import CONTAINER_SUFFIXES, SOUNDFILE_SUFFIXES

# What says something of the sound; encoders, web addresses and numbers do not.
_FIELDS = ("title", "artist", "albumartist", "album", "composer", "genre", "comment", "year")
_OTHERS = frozenset(
    {"category", "catid", "subcategory", "description", "fxname", "grouping", "ikey", "isbj"}
    | {"keywords", "library", "location", "lyricist", "microphone", "mood", "notes", "publisher"}
    | {"scene", "show", "source", "subject", "subtitle", "synopsis", "take"}
)
_LONGEST = 500  # characters of a value
_MOST = 2000  # of all
_LARGEST_READ = 1 << 24  # bytes; a header may lie
_RIFF = frozenset({b"RIFF", b"RF64", b"BW64"})
_BEXT_SIZE = 256 + 32  # description, originator (EBU Tech 3285)


def read_tags(path: Path) -> str | None:
    """What the tags of a file say, cleaned and bounded, or None.

    Pictures are not loaded. Tags that cannot be read count as none: they never keep a file from
    being indexed.
    """
    values: list[str] = []
    for reader in (_bext, _named):
        try:
            values += reader(path)
        except Exception:  # noqa: S112 - readers raise of all kinds on broken tags
            continue
    clean = filter(None, map(_clean, values))
    return "; ".join(dict.fromkeys(clean))[:_MOST].rstrip("; ") or None


def _named(path: Path) -> Iterator[str]:
    suffix = path.suffix.lower()
    if TinyTag.is_supported(path):
        with _Bounded(io.FileIO(path)) as file:
            yield from _by_tinytag(path, file)
    elif suffix in CONTAINER_SUFFIXES:
        yield from _by_av(path)
    elif suffix in SOUNDFILE_SUFFIXES:
        with soundfile.SoundFile(path) as sound:
            yield from _chosen(sound.copy_metadata())


class _Bounded(io.BufferedReader):
    """A file of which nobody reads a very large piece at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_READ:
            raise ValueError(f"a tag of {size} bytes")
        return super().read(size)


def _by_tinytag(path: Path, file: BinaryIO) -> Iterator[str]:
    tag = TinyTag.get(path, file, duration=False, image=False)
    for name in _FIELDS:
        value = getattr(tag, name)
        if value is not None:
            yield str(value)
    for name, values in tag.other.items():
        if name.lower() in _OTHERS or name.lower() in _FIELDS:
            yield from values


def _by_av(path: Path) -> Iterator[str]:
    import av

    with av.open(str(path)) as container:
        yield from _chosen(dict(container.metadata))
        for stream in container.streams.audio:
            yield from _chosen(dict(stream.metadata))


def _chosen(fields: dict[str, str]) -> Iterator[str]:
    for name, value in fields.items():
        if name.lower() in _FIELDS or name.lower() in _OTHERS:
            yield str(value)


def _bext(path: Path) -> Iterator[str]:
    """Description and originator of a Broadcast WAV, which tag readers leave out."""
    if path.suffix.lower() not in {".wav", ".rf64"}:
        return
    with path.open("rb") as file:
        header = file.read(12)
        if header[:4] not in _RIFF or header[8:] != b"WAVE":
            return
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"bext":
                chunk = file.read(min(size, _BEXT_SIZE))
                yield from (_text(chunk[:256]), _text(chunk[256:]))
                return
            file.seek(size + size % 2, io.SEEK_CUR)


def _text(field: bytes) -> str:
    """ASCII by the standard; in practice UTF-8 or Latin-1."""
    field = field.partition(b"\0")[0]
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _clean(value: str) -> str:
    """One line without control characters, surrogates and marks that turn the direction."""
    kept = (
        " " if unicodedata.category(letter) in {"Cc", "Zl", "Zp"} else letter
        for letter in value[: 4 * _LONGEST]
        if unicodedata.category(letter) not in {"Cs", "Co", "Cn"} and letter not in _TURNING
    )
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))[:_LONGEST].strip()


_TURNING = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
)
