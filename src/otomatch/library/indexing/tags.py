"""Tags inside sound files as text: ID3, Vorbis comments, MP4, RIFF INFO and Broadcast WAV."""

import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import soundfile
from tinytag import TinyTag

from otomatch.audio import CONTAINER_SUFFIXES, SOUNDFILE_SUFFIXES

# Fields that describe the sound, unlike names of encoders, web addresses and numbers.
_FIELDS = ("title", "artist", "albumartist", "album", "composer", "genre", "comment", "year")
_OTHER_FIELDS = frozenset(
    {"category", "catid", "subcategory", "description", "fxname", "grouping", "ikey", "isbj"}
    | {"keywords", "library", "location", "lyricist", "microphone", "mood", "notes", "publisher"}
    | {"scene", "show", "source", "subject", "subtitle", "synopsis", "take"}
)
_MAX_VALUE_LENGTH = 500  # characters
_MAX_TEXT_LENGTH = 2000  # characters
_MAX_READ_BYTES = 1 << 24  # sizes in a header may be wrong
_RIFF = frozenset({b"RIFF", b"RF64", b"BW64"})
_BEXT_SIZE = 256 + 32  # description and originator (EBU Tech 3285)
_INVISIBLE = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
)
"""Marks of text direction, the byte order mark, and the replacement character."""


def read_tags(path: Path) -> str | None:
    """Return the text of a file's tags without control characters, at most 2000 characters.

    Pictures are not loaded. Unreadable tags are ignored: they never prevent a file from being
    indexed.

    Returns:
        Values separated by semicolons, or None if there are none.
    """
    values: list[str] = []
    for reader in (_broadcast_wav_tags, _format_tags):
        try:
            values += reader(path)
        except Exception:  # noqa: S112 - broken tags raise errors of all kinds
            continue
    clean = filter(None, map(_clean, values))
    return "; ".join(dict.fromkeys(clean))[:_MAX_TEXT_LENGTH].rstrip("; ") or None


def _format_tags(path: Path) -> Iterator[str]:
    suffix = path.suffix.lower()
    if TinyTag.is_supported(path):
        with _BoundedReader(io.FileIO(path)) as file:
            yield from _tinytag_tags(path, file)
    elif suffix in CONTAINER_SUFFIXES:
        yield from _container_tags(path)
    elif suffix in SOUNDFILE_SUFFIXES:
        with soundfile.SoundFile(path) as sound:
            yield from _selected(sound.copy_metadata())


class _BoundedReader(io.BufferedReader):
    """File that refuses to read very large pieces at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ_BYTES:
            raise ValueError(f"a tag of {size} bytes")
        return super().read(size)


def _tinytag_tags(path: Path, file: BinaryIO) -> Iterator[str]:
    tag = TinyTag.get(path, file, duration=False, image=False)
    for name in _FIELDS:
        value = getattr(tag, name)
        if value is not None:
            yield str(value)
    for name, values in tag.other.items():
        if name.lower() in _OTHER_FIELDS or name.lower() in _FIELDS:
            yield from values


def _container_tags(path: Path) -> Iterator[str]:
    import av

    with av.open(str(path)) as container:
        yield from _selected(dict(container.metadata))
        for stream in container.streams.audio:
            yield from _selected(dict(stream.metadata))


def _selected(fields: dict[str, str]) -> Iterator[str]:
    for name, value in fields.items():
        if name.lower() in _FIELDS or name.lower() in _OTHER_FIELDS:
            yield str(value)


def _broadcast_wav_tags(path: Path) -> Iterator[str]:
    """Yield description and originator of a Broadcast WAV, which the other readers ignore."""
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
                yield from (_decoded(chunk[:256]), _decoded(chunk[256:]))
                return
            file.seek(size + size % 2, io.SEEK_CUR)


def _decoded(field: bytes) -> str:
    """Decode a field: ASCII according to the standard, but UTF-8 or Latin-1 in practice."""
    field = field.partition(b"\0")[0]
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _clean(value: str) -> str:
    """Return one line without control characters, surrogates and marks of text direction."""
    kept = (
        " " if unicodedata.category(letter) in {"Cc", "Zl", "Zp"} else letter
        for letter in value[: 4 * _MAX_VALUE_LENGTH]
        if unicodedata.category(letter) not in {"Cs", "Co", "Cn"} and letter not in _INVISIBLE
    )
    text = unicodedata.normalize("NFC", " ".join("".join(kept).split()))
    return text[:_MAX_VALUE_LENGTH].strip()
