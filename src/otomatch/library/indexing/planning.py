"""What a library must do to agree with the files: compared by path and stamp, nothing is read."""

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otomatch.datasets.base import Skipped
from otomatch.errors import LibraryError
from otomatch.library.indexing import walking as files
from otomatch.library.indexing.walking import Listing, SoundFile
from otomatch.library.store import Stored


@dataclass(slots=True)
class Plan:
    """What is to do.

    Attributes:
        read: files that are new or have another stamp.
        described: files of which something else is said than before; their sound is the same.
        unchanged: how many files need nothing.
        gone: what was stored and is there no longer, by path.
    """

    read: list[SoundFile] = field(default_factory=list)
    described: list[SoundFile] = field(default_factory=list)
    unchanged: int = 0
    gone: dict[str, Stored] = field(default_factory=dict)


def plan(sounds: Iterable[SoundFile], known: Mapping[str, Stored], walked: bool) -> Plan:
    """Compare files with what is stored.

    Args:
        sounds: what there is; the last of those with one path counts.
        known: what is stored, by path.
        walked: whether what is said of the files is all there is to say: that there is no label
            then means that there is none any more.
    """
    made = Plan()
    for sound in {sound.path: sound for sound in sounds}.values():
        stored = known.get(str(sound.path))
        if stored is None:
            made.read.append(sound)
            continue
        sound = _merged(sound, stored, walked)
        if files.stamp(sound.path) != stored.stamp:
            made.read.append(sound)
        elif differs(sound, stored):
            made.described.append(sound)
        else:
            made.unchanged += 1
    return made


def differs(sound: SoundFile, stored: Stored) -> bool:
    """Whether something else is said of a file than what is stored."""
    said = (str(sound.folder), sound.label, sound.caption)
    return said != (stored.root, stored.label, stored.caption)


def _merged(sound: SoundFile, stored: Stored, walked: bool) -> SoundFile:
    """A file under the outermost of the folders that it was indexed by."""
    outer = Path(stored.root) != sound.folder and sound.folder.is_relative_to(stored.root)
    keep = outer or not walked
    return SoundFile(
        sound.path,
        stored.label if sound.label is None and keep else sound.label,
        stored.caption if sound.caption is None and keep else sound.caption,
        Path(stored.root) if outer else sound.folder,
    )


def gone(
    listings: Sequence[Listing], known: Mapping[str, Stored], pattern: str
) -> dict[str, Stored]:
    """What is stored of folders, matches the pattern, and is there no longer."""
    present = {str(sound.path) for listing in listings for sound in listing.sounds}
    places = [str(listing.root) for listing in listings]
    unlisted = [str(folder) for listing in listings for folder in listing.unlisted]
    return {
        path: stored
        for path, stored in known.items()
        if path not in present
        and any(below(path, place) for place in places)
        and not any(below(path, folder) for folder in unlisted)
        and Path(path).match(pattern)
    }


def emptied(listings: Sequence[Listing], gone: Iterable[str]) -> dict[Path, set[str]]:
    """What is gone from folders that hold nothing at all now: rather unmounted than deleted.

    Args:
        listings: what there is.
        gone: what was stored and is there no longer.

    Returns:
        The paths, by the folder that is empty.
    """
    empty = {folder for listing in listings for folder in listing.empty}
    found: dict[Path, set[str]] = {}
    for path in gone:
        for folder in empty.intersection(Path(path).parents):
            found.setdefault(folder, set()).add(path)
    return found


def kept(found: Mapping[Path, Collection[str]], moved: Collection[str], uri: str) -> list[Skipped]:
    """What to say of folders that hold nothing now, but for the files that were found elsewhere."""
    left = {folder: len([p for p in paths if p not in moved]) for folder, paths in found.items()}
    return [
        Skipped(files.readable(folder), _lost(folder, count, uri))
        for folder, count in left.items()
        if count
    ]


def check_not_lost(listing: Listing, known: Mapping[str, Stored], pattern: str, uri: str) -> None:
    """Refuse to go on where a folder holds nothing: rather a drive is missing than all is deleted.

    Raises:
        LibraryError: the folder holds no sounds, or none that matches and none is stored.
    """
    if listing.sounds or listing.skipped:
        return
    count = stored_below(listing.root, known)
    if count and not listing.others:
        raise lost(listing.root, count, uri)
    if not any(below(path, str(listing.root)) and Path(path).match(pattern) for path in known):
        raise files.no_sounds(listing.root, pattern)


def lost(folder: Path, count: int, uri: str) -> LibraryError:
    """The error that a folder is missing or empty of which the library has sounds."""
    return LibraryError(f"{folder}: {_lost(folder, count, uri)}")


def _lost(folder: Path, count: int, uri: str) -> str:
    return (
        f"holds no sounds now, but the library has {count} from there, which it keeps; "
        f"if it lies on another drive, mount that first; if they are gone for good, run: "
        f"otomatch remove {shlex.quote(uri)} {shlex.quote(str(folder))}"
    )


def stored_below(folder: Path, known: Mapping[str, Stored]) -> int:
    """How many stored files are below a folder."""
    return sum(below(path, str(folder)) for path in known)


def below(path: str, folder: str) -> bool:
    """Whether a path is that of a folder, or of something below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
