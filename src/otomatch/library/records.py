"""Records of a library: sounds, search hits, groups of duplicates, and reports.

Records are frozen and hold plain values. Times and durations are in seconds, paths are absolute.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otomatch.datasets.base import Skipped


@dataclass(frozen=True, slots=True)
class SoundFile:
    """Sound file to add to a library, with what is known about it.

    Attributes:
        path: Path of the file.
        label: Class of the sound, or None.
        caption: Description of the sound, or None.
        root: Folder being indexed; None for the folder of the file.
    """

    path: Path
    label: str | None = None
    caption: str | None = None
    root: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder being indexed, or the folder of the file."""
        return self.path.parent if self.root is None else self.root


@dataclass(frozen=True, slots=True)
class Sound:
    """File in a library.

    Attributes:
        id: Identifier derived from the path, 16 hex digits.
        path: Absolute path of the file.
        root: Absolute path of the folder that was indexed.
        duration: Duration of the file in seconds.
        windows: Number of windows stored for the file.
        label: Class of the sound, or None.
        caption: Description of the sound, or None.
        tags: Text of the tags inside the file, or None.
    """

    id: str
    path: str
    root: str
    duration: float
    windows: int
    label: str | None = None
    caption: str | None = None
    tags: str | None = None


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """Contents and settings of a library.

    Attributes:
        sounds: Number of files.
        windows: Number of windows; each has one vector.
        seconds: Total duration of the files in seconds.
        roots: Absolute paths of the indexed folders, sorted.
        model: Name or folder of the model, as given when the library was created.
        fingerprint: Fingerprint of the model, 64 hex digits.
        window: Length of a window in seconds.
        hop: Time between the starts of neighbouring windows in seconds.
        bytes: Size on disk, including the model; None if the library is not a local folder.
        created: Time of creation, ISO 8601 with UTC offset.
        updated: Time of the last write, ISO 8601 with UTC offset.
    """

    sounds: int
    windows: int
    seconds: float
    roots: tuple[str, ...]
    model: str
    fingerprint: str
    window: float
    hop: float
    bytes: int | None
    created: str
    updated: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hit:
    """File that matches a query, at its best window.

    Attributes:
        id: Identifier of the file, as in `Sound`.
        path: Absolute path of the file.
        start: Start of the window in seconds.
        end: End of the window in seconds.
        duration: Duration of the whole file in seconds.
        distance: Learned distance between the query and the window, 0 or more.
        relevance: Probability, 0 to 1, that the sound is what the query asks for. It depends on the
            sound alone, not on names, and means the same for every query (see
            `otomatch.library.search.relevance`).
        label: Class of the sound, or None.
        caption: Description of the sound, or None.
        tags: Text of the tags inside the file, or None.
        named: True if the file's name, folders, tags, label or caption contain words of the query.
            Such files rank higher; their relevance is unchanged.
    """

    id: str
    path: str
    start: float
    end: float
    duration: float
    distance: float
    relevance: float
    label: str | None = None
    caption: str | None = None
    tags: str | None = None
    named: bool = False

    @property
    def span(self) -> str:
        """Window as clock times, ``1:05-1:15``; hours are included if there are any."""
        return f"{_clock(self.start)}-{_clock(self.end)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that contain the same sound.

    Attributes:
        sounds: Two or more files, the longest first.
        similarity: Lowest similarity of the pairs that link the group, 0 to 1.
        copies: Sets of ids of files with identical bytes, two or more ids in each.
    """

    sounds: tuple[Sound, ...]
    similarity: float
    copies: tuple[frozenset[str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON.

        ``copy_of`` is the id of the first sound with the same bytes, None for that sound itself.
        """
        listed, first = [], dict[frozenset[str], str]()
        for sound in self.sounds:
            same = next((ids for ids in self.copies if sound.id in ids), None)
            original = None if same is None else first.setdefault(same, sound.id)
            copy_of = None if original == sound.id else original
            listed.append({**asdict(sound), "copy_of": copy_of})
        return {"similarity": self.similarity, "sounds": listed}


@dataclass(frozen=True, slots=True)
class AddReport:
    """Result of `SoundLibrary.add`.

    Attributes:
        added: Number of files that were new or had changed.
        unchanged: Number of files that were already up to date.
        skipped: Files that could not be read, with the reason.
    """

    added: int
    unchanged: int
    skipped: "tuple[Skipped, ...]"


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Result of `SoundLibrary.index`.

    Attributes:
        added: Number of new files, including copies of other files.
        changed: Number of files whose content, label or caption changed.
        moved: Number of files found under a new path; their vectors were reused.
        removed: Number of files that no longer exist or are no longer sounds.
        unchanged: Number of files that were already up to date.
        skipped: Files and folders that could not be read or were left out, with the reason.
        interrupted: True if the run was stopped before the end.
    """

    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int
    skipped: "tuple[Skipped, ...]"
    interrupted: bool = False
