"""Find the audio files that a table names, without opening the other files of a large folder."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import soundfile

from otomatch.audio import CONTAINER_SUFFIXES

DOWNLOADS = ".downloads"
"""Folder for unfinished downloads below the root of a data set; its files are ignored."""

_SMALL = 1024  # bytes; a smaller file may be a header without samples
_CONTAINERS = (b"\x1a\x45\xdf\xa3", b"0&\xb2u", b"\xff\xf1", b"\xff\xf9")  # webm, wma, aac


class FileIndex:
    """Index of the files below a folder by relative path and by base name.

    The folder is walked once. Names are compared in Unicode form NFC and without surrounding
    spaces, because tables and file systems disagree about both.

    Args:
        root: Folder to index.
        wanted: All names that will be looked up, the alternatives for one file together. If two
            files share a base name, that base name alone never finds a file in another folder.
    """

    def __init__(self, root: Path, wanted: Iterable[tuple[str, ...]] = ()) -> None:
        self.root = root
        self._paths: dict[str, str] = {}
        self._by_base: defaultdict[str, list[str]] = defaultdict(list)
        for path in _walk(root):
            self._paths[_key(path)] = path
            self._by_base[_key(path.rpartition("/")[2])].append(path)
        self._claims: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        for names in wanted:
            keys = tuple(map(_key, names))
            for name in names:
                self._claims[_base(name)].add(keys)

    def find(self, *names: str) -> tuple[str | None, str]:
        """Return the relative path of the file with one of the names, or None and the reason.

        An exact relative path is preferred, then a path that ends with the name including its
        folder, then a base name. The last two must be unique.
        """
        for look in (self._exactly, self._below):
            for name in names:
                path = look(_key(name))
                if path is not None:
                    return path, ""
        bases = dict.fromkeys(map(_base, names))
        found = [path for base in bases for path in self._by_base.get(base, ())]
        if not found:
            others = ", ".join(list(bases)[1:])
            return None, f"no such file under {self.root}{others and f', nor {others}'}"
        if len(found) > 1:
            return None, f"{len(found)} files have this name: {', '.join(sorted(found)[:3])}"
        if len(self._claims[_base(found[0])]) > 1:
            return None, f"no such file; other rows name {found[0]} too"
        return found[0], ""

    def _exactly(self, key: str) -> str | None:
        return self._paths.get(key)

    def _below(self, key: str) -> str | None:
        """Return the only file whose path ends with the name, if the name includes a folder."""
        if "/" not in key:
            return None
        found = [p for p in self._by_base.get(_base(key), ()) if _key(p).endswith(f"/{key}")]
        return found[0] if len(found) == 1 else None


def unreadable_reason(path: Path) -> str:
    """Return the reason why a file cannot be audio, or an empty string.

    Only the first bytes are read, so that a folder of 50 000 clips opens in seconds. A file that is
    very small or starts with unknown bytes is opened as audio. Damage further into a file shows
    when it is decoded.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not head:
        return "empty (0 bytes)"
    if path.suffix.lower() in CONTAINER_SUFFIXES:
        known = head[4:8] == b"ftyp" or head.startswith((b"ID3", *_CONTAINERS))
        return "" if known else "not an audio or video file"
    if size >= _SMALL and _starts_like_audio(head):
        return ""
    try:
        return "" if soundfile.info(path).frames > 0 else "has no audio samples"
    except (soundfile.LibsndfileError, RuntimeError):
        return "cannot be decoded"


def _starts_like_audio(head: bytes) -> bool:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] == b"WAVE"
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    mp3 = head[:3] == b"ID3" or (head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    return mp3 or head[:4] in (b"fLaC", b"OggS", b".snd", b"caff", b"riff")


def _walk(root: Path) -> Iterable[str]:
    """Yield the relative POSIX paths of all files, following links but visiting no folder twice."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if name != DOWNLOADS)
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in files:
            yield prefix + name


def _key(name: str) -> str:
    parts = unicodedata.normalize("NFC", name).removeprefix("./").split("/")
    return "/".join(part.strip() for part in parts)


def _base(name: str) -> str:
    return _key(name).replace("\\", "/").rpartition("/")[2].strip()
