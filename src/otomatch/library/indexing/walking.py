"""Sound files below a folder, and files and folders that are left out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from otomatch.audio import AUDIO_SUFFIXES
from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library.indexing.file_names import NOT_UNICODE, check_name, is_unicode, readable
from otomatch.library.indexing.folder_tables import TABLE_NAMES, add_nested_tables, read_tables
from otomatch.library.records import SoundFile


@dataclass(slots=True)
class Listing:
    """Contents of a folder.

    Attributes:
        root: Path of the folder, absolute and with links resolved.
        sounds: Sound files that match the pattern, sorted by path.
        skipped: Sounds and folders that are left out, with the reason.
        unlisted: Folders that cannot be listed.
        empty: Folders without any entry, like the mount point of a drive that is not mounted.
        tables: Folders below the root that may have a table of captions or labels.
        others: True if there are sound files that do not match the pattern.
    """

    root: Path
    sounds: list[SoundFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unlisted: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    others: bool = False

    def skip(self, path: Path, reason: str) -> None:
        """Leave out a file or folder."""
        self.skipped.append(Skipped(readable(path), reason))


def find_sounds(folder: str | Path, pattern: str = "*") -> list[SoundFile]:
    """Return the sound files below a folder whose names match a glob pattern, sorted by path.

    Hidden files and folders are left out, as are links that point out of the folder. Captions and
    labels come from ``captions.csv`` or the table of labels in the folder and in folders below it;
    the table nearest to a file wins.

    Args:
        folder: Folder to search, at any depth.
        pattern: Glob pattern for file names, or for the last parts of paths if it has slashes.

    Raises:
        LibraryError: There is no such folder, or it has no matching sound file.
        InvalidInputError: The pattern is empty.
        DatasetError: The folder's table is malformed.
    """
    listing = list_sounds(folder, pattern)
    if not listing.sounds:
        raise no_sounds_error(folder, pattern)
    return listing.sounds


def no_sounds_error(folder: str | Path, pattern: str) -> LibraryError:
    """Return the error for a folder without matching sound files."""
    return LibraryError(
        f"{folder}: has no sound file that matches {pattern!r}; known file name extensions are "
        f"{' '.join(sorted(AUDIO_SUFFIXES))}"
    )


def list_sounds(folder: str | Path, pattern: str = "*", exclude: Path | None = None) -> Listing:
    """Return the contents of a folder, which may have no sounds.

    Args:
        folder: Folder to search, at any depth.
        pattern: Glob pattern for file names, or for the last parts of paths if it has slashes.
        exclude: Folder to leave out, or None.

    Raises:
        LibraryError: There is no such folder.
        InvalidInputError: The pattern is empty, or the folder's name contains a NUL character.
        DatasetError: The folder's table is malformed.
    """
    if not pattern.strip("./"):
        raise InvalidInputError(f"the pattern {pattern!r} matches nothing; give one like '*.wav'")
    listing = Listing(_resolved(folder))
    for path in _walk(listing, exclude and exclude.resolve()):
        if not path.match(pattern):
            listing.others = True
        elif reason := _file_problem(path, listing.root):
            listing.skip(path, reason)
        else:
            listing.sounds.append(SoundFile(path, root=listing.root))
    _describe(listing)
    return listing


def _resolved(folder: str | Path) -> Path:
    check_name(folder)
    root = Path(folder)
    if not root.is_dir():
        kind = "a file, not a folder" if root.exists() else "no such folder"
        raise LibraryError(f"{readable(folder)}: {kind}; check the name, or mount its drive")
    root = root.resolve()
    if not is_unicode(str(root)):
        raise LibraryError(f"{readable(root)}: its name is not valid Unicode; rename the folder")
    return root


def _describe(listing: Listing) -> None:
    """Add captions and labels to the sounds of a listing, and sort them."""
    descriptions = read_tables(listing.root)
    if listing.sounds:
        for folder, error in add_nested_tables(descriptions, listing.tables):
            cause = str(error).replace(f"{folder}{os.sep}", "")
            listing.skip(folder, f"its table cannot be used: {cause}")
    captions, labels = descriptions.captions, descriptions.labels
    listing.sounds = [
        SoundFile(path, labels.get(path), captions.get(path), listing.root)
        for path in sorted(sound.path for sound in listing.sounds)
    ]


def _walk(listing: Listing, exclude: Path | None) -> Iterator[Path]:
    """Yield everything below the root that is named like a sound file and is not hidden."""
    waiting = [listing.root]
    while waiting:
        for entry in _visible_entries(waiting.pop(), listing):
            path = Path(entry.path)
            if _is_folder(entry):
                if reason := _folder_problem(entry, listing.root):
                    listing.skip(path, reason)
                elif not entry.is_symlink() and path != exclude:
                    waiting.append(path)
            elif path.suffix.lower() in AUDIO_SUFFIXES:
                yield path


def _visible_entries(folder: Path, listing: Listing) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, and note what the folder is like."""
    try:
        with os.scandir(folder) as entries:
            everything = list(entries)
    except OSError as error:
        listing.unlisted.append(folder)
        listing.skip(folder, f"cannot be listed ({error.strerror}); allow reading the folder")
        return []
    if not everything:
        listing.empty.append(folder)
    if folder != listing.root and any(entry.name in TABLE_NAMES for entry in everything):
        listing.tables.append(folder)
    return [entry for entry in everything if not entry.name.startswith(".")]


def _folder_problem(entry: os.DirEntry[str], root: Path) -> str | None:
    """Return why a folder is left out; links within the root are left out silently."""
    if entry.is_symlink():
        target = _outside(Path(entry.path), root)
        if target is None:
            return None
        return f"a link to a folder elsewhere; index {readable(target)} itself"
    return None if is_unicode(entry.name) else NOT_UNICODE


def _file_problem(path: Path, root: Path) -> str | None:
    """Return why something that is named like a sound file is left out."""
    if not is_unicode(path.name):
        return NOT_UNICODE
    if path.is_symlink():
        if (target := _outside(path, root)) is not None:
            return f"a link that points out of the folder; index {readable(target.parent)} itself"
        if not path.exists():
            return "a broken link; remove it"
    return None if path.is_file() else "neither a file nor a folder"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _outside(link: Path, root: Path) -> Path | None:
    """Return the target of a link if it is not below ``root``."""
    target = Path(os.path.realpath(link))
    return None if target.is_relative_to(root) else target
