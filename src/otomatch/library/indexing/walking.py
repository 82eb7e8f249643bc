"""Sound files of folders: which there are, and what tables say about them."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from otomatch.audio import AUDIO_SUFFIXES
from otomatch.datasets import open_dataset
from otomatch.datasets.base import Skipped
from otomatch.datasets.folder import CAPTIONS_TABLE
from otomatch.datasets.label_table import LABEL_TABLES, labels_by_name
from otomatch.errors import DatasetError, InvalidInputError, LibraryError


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


@dataclass(slots=True)
class Listing:
    """What is below a folder.

    Attributes:
        root: the folder, absolute and without links.
        sounds: the sound files that match, sorted by path.
        skipped: what looks like sounds but is left out, and why.
        unlisted: folders that cannot be looked into.
        empty: folders that hold nothing at all, as where a drive is not mounted.
        tables: folders below that may have a table of their own.
        others: whether there are sound files that do not match.
    """

    root: Path
    sounds: list[SoundFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unlisted: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    others: bool = False


def find_sounds(folder: str | Path, pattern: str = "*") -> list[SoundFile]:
    """All sound files below a folder whose names match a glob pattern, sorted by path.

    Hidden files and folders are left out, and links that lead out of the folder. Captions and
    labels are taken from captions.csv or the table of labels of the folder and of those below it,
    where they have one; of a file the nearest counts.

    Raises:
        LibraryError: there is no such folder, or no sound file in it.
        InvalidInputError: the pattern is empty.
        DatasetError: the folder's table is malformed.
    """
    found = list_sounds(folder, pattern)
    if not found.sounds:
        raise no_sounds(folder, pattern)
    return found.sounds


def no_sounds(folder: str | Path, pattern: str) -> LibraryError:
    """The error that a folder holds none."""
    return LibraryError(
        f"{folder}: holds no sound file that matches {pattern!r} "
        f"(known endings: {' '.join(sorted(AUDIO_SUFFIXES))})"
    )


def list_sounds(folder: str | Path, pattern: str = "*", leave_out: Path | None = None) -> Listing:
    """What is below a folder, empty or not.

    Args:
        folder: the folder.
        pattern: a glob pattern that names must match, or the last parts of paths if it has slashes.
        leave_out: a folder that is not looked into.

    Raises:
        LibraryError: there is no such folder.
        InvalidInputError: the pattern is empty, or the folder's name holds a NUL.
        DatasetError: the folder's table is malformed.
    """
    check_name(folder)
    if not pattern.strip("./"):
        raise InvalidInputError(f"the pattern {pattern!r} matches nothing; give one like '*.wav'")
    root = Path(folder)
    if not root.is_dir():
        kind = "a file, not a folder" if root.exists() else "no such folder"
        raise LibraryError(f"{readable(folder)}: {kind}; check the name, or mount its drive")
    root = root.resolve()
    if not _is_text(str(root)):
        raise LibraryError(f"{readable(root)}: its name is not valid Unicode; rename the folder")
    found = Listing(root)
    for path in _walk(found, root, leave_out and leave_out.resolve()):
        if not path.match(pattern):
            found.others = True
        elif reason := _unfit(path, root):
            found.skipped.append(Skipped(readable(path), reason))
        else:
            found.sounds.append(SoundFile(path, root=root))
    captions, labels = _described(root)
    if found.sounds:
        _describe_below(found, captions, labels)
    found.sounds = [
        SoundFile(path, labels.get(path), captions.get(path), root)
        for path in sorted(sound.path for sound in found.sounds)
    ]
    return found


def _describe_below(found: Listing, captions: dict[Path, str], labels: dict[Path, str]) -> None:
    """Add what the tables of folders below say: of a file the nearest one's word counts."""
    for folder in sorted(found.tables, key=lambda folder: len(folder.parts)):
        try:
            nearer = _described(folder)
        except (DatasetError, OSError) as error:  # one folder's table does not stop the others
            reason = f"its table cannot be used: {str(error).replace(f'{folder}{os.sep}', '')}"
            found.skipped.append(Skipped(readable(folder), reason))
            continue
        captions |= nearer[0]
        labels |= nearer[1]


def _walk(found: Listing, folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """All that is named like a sound and not hidden; notes folders that are left out."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                everything = list(entries)
        except OSError as error:
            found.unlisted.append(folder)
            reason = f"cannot be looked into ({error.strerror}); allow reading the folder"
            found.skipped.append(Skipped(readable(folder), reason))
            continue
        if not everything:
            found.empty.append(folder)
        if folder != found.root and any(entry.name in _TABLE_NAMES for entry in everything):
            found.tables.append(folder)
        for entry in everything:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if _is_folder(entry):
                if entry.is_symlink():
                    if (target := _outside(path, found.root)) is not None:
                        reason = f"a link to a folder elsewhere; index {readable(target)} itself"
                        found.skipped.append(Skipped(readable(path), reason))
                elif not _is_text(entry.name):
                    found.skipped.append(Skipped(readable(path), _NO_TEXT))
                elif path != leave_out:
                    waiting.append(path)
            elif path.suffix.lower() in AUDIO_SUFFIXES:
                yield path


_TABLE_NAMES = frozenset({CAPTIONS_TABLE, *(Path(table).parts[0] for table in LABEL_TABLES)})
_NO_TEXT = "its name is not valid Unicode; rename it"


def _unfit(path: Path, root: Path) -> str | None:
    """Why something that is named like a sound is left out."""
    if not _is_text(path.name):
        return _NO_TEXT
    if path.is_symlink():
        if (target := _outside(path, root)) is not None:
            return f"a link that leads out of the folder; index {readable(target.parent)} itself"
        if not path.exists():
            return "a link that leads nowhere; remove it"
    return None if path.is_file() else "neither a file nor a folder"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _outside(link: Path, root: Path) -> Path | None:
    """Where a link leads, if that is not below the folder."""
    target = Path(os.path.realpath(link))
    return None if target.is_relative_to(root) else target


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_name(path: str | Path) -> None:
    """Refuse what cannot name a file.

    Raises:
        InvalidInputError: there is a NUL in it.
    """
    if "\0" in str(path):
        raise InvalidInputError(f"{str(path)!r}: a name holds no NUL; check it")


def readable(path: str | Path) -> str:
    """A path as text, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _described(folder: Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """What the folder's own tables know: captions and labels by path."""
    if (folder / CAPTIONS_TABLE).is_file():
        clips = open_dataset(folder).clips
        captions = {clip.path.resolve(): clip.captions[0] for clip in clips if clip.captions}
        return captions, {clip.path.resolve(): clip.label for clip in clips if clip.label}
    if any((folder / table).is_file() for table in LABEL_TABLES):
        names = labels_by_name(folder)
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
