"""Sound files of folders: which there are, and what names and tables say about them."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from otomatch.audio import AUDIO_SUFFIXES
from otomatch.datasets import open_dataset
from otomatch.datasets.folder import TABLE as CAPTIONS_TABLE
from otomatch.datasets.recordings import TABLES as LABEL_TABLES
from otomatch.datasets.recordings import recordings
from otomatch.errors import LibraryError

_WORD = re.compile(r"[^\W\d_]+|\d+")
_CASES = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file to add, with what is known of it.

    Attributes:
        path: the file.
        label: its class, if known.
        caption: a description, if known.
        root: the folder that is indexed; None for the file's own.
    """

    path: Path
    label: str | None = None
    caption: str | None = None
    root: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder that is indexed."""
        return self.path.parent if self.root is None else self.root


def find_sounds(folder: str | Path, pattern: str = "*") -> list[SoundFile]:
    """All sound files below a folder whose names match a glob pattern, sorted by path.

    Captions and labels are taken from the folder's captions.csv or table of labels, if it has one.

    Raises:
        LibraryError: there is no such folder, or no sound file in it.
        DatasetError: the folder's table is malformed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise LibraryError(f"{root}: no such folder")
    root = root.resolve()
    paths = sorted(
        path
        for path in root.rglob(pattern)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not paths:
        raise LibraryError(
            f"{folder}: holds no sound file that matches {pattern!r} "
            f"(known endings: {' '.join(sorted(AUDIO_SUFFIXES))})"
        )
    captions, labels = _described(root)
    return [SoundFile(p, labels.get(p), captions.get(p), root) for p in dict.fromkeys(paths)]


def _described(folder: Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """What the folder's own tables know: captions and labels by path."""
    if (folder / CAPTIONS_TABLE).is_file():
        clips = open_dataset(folder).clips
        captions = {clip.path.resolve(): clip.captions[0] for clip in clips if clip.captions}
        return captions, {clip.path.resolve(): clip.label for clip in clips if clip.label}
    if any((folder / table).is_file() for table in LABEL_TABLES):
        names = {sound.name: sound.label for sound in recordings(folder)}
        places = [place for base in (folder, folder / "audio") for place in base.glob("*")]
        return {}, {p.resolve(): names[p.name] for p in places if p.name in names}
    return {}, {}


def file_id(path: str | Path) -> str:
    """16 hex digits that stand for a path."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


def stamp(path: Path) -> str:
    """Size and time of change, by which a file is seen to be the same as before."""
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def digest(path: Path) -> str:
    """Hash of a file's bytes, by which it is known under another name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def words(sound: SoundFile, tags: str | None) -> str:
    """Searchable text: words of the names of the file and its folders, and what is known of it."""
    path = sound.path
    below = path.relative_to(sound.folder) if path.is_relative_to(sound.folder) else Path(path.name)
    names = [sound.folder.name, *below.parent.parts, path.stem]
    parts: Iterable[str | None] = (*map(split_name, names), tags, sound.label, sound.caption)
    return " ".join(part for part in parts if part)


def split_name(name: str) -> str:
    """The words of a name like ``DogBark_03-loud``."""
    return " ".join(_WORD.findall(_CASES.sub(" ", name)))
