"""Plan of an indexing run: files and table compared by path, size and modification time.

No file is opened for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otomatch.datasets.base import Skipped
from otomatch.errors import LibraryError, LostFolderError
from otomatch.library.columns import StoredFile
from otomatch.library.indexing.file_names import is_below, readable
from otomatch.library.indexing.identity import file_stamp
from otomatch.library.indexing.walking import Listing, no_sounds_error
from otomatch.library.records import SoundFile


@dataclass(slots=True)
class IndexPlan:
    """Work of an indexing run.

    Attributes:
        read: Files that are new or have another size or modification time.
        described: Files whose label, caption or root changed, but not their content.
        unchanged: Number of files that are up to date.
        gone: Stored files that no longer exist, by path.
    """

    read: list[SoundFile] = field(default_factory=list)
    described: list[SoundFile] = field(default_factory=list)
    unchanged: int = 0
    gone: dict[str, StoredFile] = field(default_factory=dict)


def make_plan(
    sounds: Iterable[SoundFile], known: Mapping[str, StoredFile], complete: bool
) -> IndexPlan:
    """Compare files with what is stored about them.

    Args:
        sounds: Existing files; the last one with a given path wins.
        known: Stored files by path.
        complete: True if the labels and captions of ``sounds`` are complete, so that a missing one
            replaces the stored one.
    """
    plan = IndexPlan()
    for sound in {sound.path: sound for sound in sounds}.values():
        stored = known.get(str(sound.path))
        if stored is None:
            plan.read.append(sound)
            continue
        sound = _merged(sound, stored, complete)
        if file_stamp(sound.path) != stored.stamp:
            plan.read.append(sound)
        elif description_differs(sound, stored):
            plan.described.append(sound)
        else:
            plan.unchanged += 1
    return plan


def description_differs(sound: SoundFile, stored: StoredFile) -> bool:
    """Return True if root, label or caption of a file differ from the stored ones."""
    given = (str(sound.folder), sound.label, sound.caption)
    return given != (stored.root, stored.label, stored.caption)


def _merged(sound: SoundFile, stored: StoredFile, complete: bool) -> SoundFile:
    """Return a file with the outermost root it was indexed by, and with what remains known."""
    outer = Path(stored.root) != sound.folder and sound.folder.is_relative_to(stored.root)
    keep = outer or not complete
    return SoundFile(
        sound.path,
        stored.label if sound.label is None and keep else sound.label,
        stored.caption if sound.caption is None and keep else sound.caption,
        Path(stored.root) if outer else sound.folder,
    )


def find_gone(
    listings: Sequence[Listing], known: Mapping[str, StoredFile], pattern: str
) -> dict[str, StoredFile]:
    """Return the stored files below the listed folders that match the pattern but do not exist."""
    present = {str(sound.path) for listing in listings for sound in listing.sounds}
    roots = [str(listing.root) for listing in listings]
    unlisted = [str(folder) for listing in listings for folder in listing.unlisted]
    return {
        path: stored
        for path, stored in known.items()
        if path not in present
        and any(is_below(path, root) for root in roots)
        and not any(is_below(path, folder) for folder in unlisted)
        and Path(path).match(pattern)
    }


def gone_from_empty_folders(
    listings: Sequence[Listing], gone: Iterable[str]
) -> dict[Path, set[str]]:
    """Return the missing files of folders that are now empty, by folder.

    Such a folder is more likely a mount point without its drive than a folder whose sounds were
    all deleted, so its files stay in the library.

    Args:
        listings: Contents of the indexed folders.
        gone: Paths of stored files that do not exist.
    """
    empty = {folder for listing in listings for folder in listing.empty}
    found: dict[Path, set[str]] = {}
    for path in gone:
        for folder in empty.intersection(Path(path).parents):
            found.setdefault(folder, set()).add(path)
    return found


def kept_folders(kept: Mapping[Path, Collection[str]], moved: Collection[str]) -> list[Skipped]:
    """Return the empty folders whose files stay in the library, with the reason.

    Args:
        kept: Result of `gone_from_empty_folders`.
        moved: Paths of files that were found elsewhere.
    """
    left = {folder: len([p for p in paths if p not in moved]) for folder, paths in kept.items()}
    return [
        Skipped(readable(folder), _lost_folder_reason(count))
        for folder, count in left.items()
        if count
    ]


def check_exists(folder: Path, known: Mapping[str, StoredFile]) -> None:
    """Refuse to index a missing folder from which the library has sounds.

    Raises:
        LostFolderError: It is missing, perhaps because its drive is not mounted.
    """
    if not folder.is_dir() and (count := _count_below(folder, known)):
        raise _lost_folder_error(folder, count)


def check_not_lost(listing: Listing, known: Mapping[str, StoredFile], pattern: str) -> None:
    """Refuse to index a folder without sounds, whose stored files would otherwise be removed.

    Raises:
        LostFolderError: The library has sounds from the folder, which has none now.
        LibraryError: The folder has no matching sounds, and neither has the library from there.
    """
    if listing.sounds or listing.skipped:
        return
    count = _count_below(listing.root, known)
    if count and not listing.others:
        raise _lost_folder_error(listing.root, count)
    if not any(is_below(path, str(listing.root)) and Path(path).match(pattern) for path in known):
        raise no_sounds_error(listing.root, pattern)


def _count_below(folder: Path, known: Mapping[str, StoredFile]) -> int:
    return sum(is_below(path, str(folder)) for path in known)


def _lost_folder_error(folder: Path, count: int) -> LibraryError:
    return LostFolderError(f"{folder}: {_lost_folder_reason(count)}", str(folder))


def _lost_folder_reason(count: int) -> str:
    return (
        f"has no sounds now, but the library has {count} from there, which it keeps; if the folder "
        "is on another drive, mount it first; if the sounds are gone for good, remove the folder "
        "from the library"
    )
