"""Values shared by all layers: a clip with its captions, a row that was skipped, a search hit."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from otomatch.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of audio and the captions that describe it.

    Attributes:
        path: the audio file.
        captions: its descriptions, at least one unless only a label is known.
        id: unique within the data set (the file's relative path, and the span if there is one).
        split: ``train``, ``val``, ``test`` or None where the data set does not say.
        label: class name, for zero-shot classification.
        fold: cross-validation fold.
        start: seconds from the file's beginning, None for the beginning itself.
        end: seconds from the file's beginning, None for the file's end.
    """

    path: Path
    captions: tuple[str, ...]
    id: str
    split: str | None = None
    label: str | None = None
    fold: int | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if not self.captions and self.label is None:
            raise InvalidInputError(f"clip {self.id!r} has neither a caption nor a label")
        start = 0.0 if self.start is None else self.start
        if start < 0 or (self.end is not None and self.end <= start):
            raise InvalidInputError(
                f"clip {self.id!r} spans {self.start} to {self.end} s; expected 0 <= start < end"
            )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row or file that could not be used, and why.

    Attributes:
        name: the row's or the file's.
        reason: what is wrong with it.
        missing: whether there is no such file.
    """

    name: str
    reason: str
    missing: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Sound:
    """A file in a library.

    Attributes:
        id: 16 hex digits that stand for its path.
        path: the file, absolute.
        root: the folder under which it was indexed, absolute.
        duration: seconds.
        windows: how many stretches of it are stored.
        label: its class, if known.
        caption: a description, if known.
        tags: what the tags inside the file say, if anything.
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
    """What a library holds.

    Attributes:
        sounds: files.
        windows: stretches of them, of which each has a vector.
        seconds: of sound in all.
        roots: the folders that were indexed, absolute.
        model: name or folder of the model as it was given.
        fingerprint: of the model, 64 hex digits.
        window: seconds of the windows into which long files are cut.
        hop: seconds between the beginnings of neighbouring windows.
        bytes: on disk, with the model; None where the library lies elsewhere.
        created: when it was made, ISO 8601 with offset.
        updated: when it was last written.
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
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that answers a query, at its best window.

    Attributes:
        id: 16 hex digits that stand for the file, as in `Sound`.
        path: the file.
        start: seconds from its beginning.
        end: seconds from its beginning.
        duration: of the whole file, seconds.
        distance: learned distance between query and window; 0 is the best.
        relevance: probability, 0 to 1, that the sound is what was asked for; it means the same for
            every query (see `otomatch.library.relevance`), and is of the sound alone, not of names.
        label: its class, if known.
        caption: a description, if known.
        tags: what the tags inside the file say, if anything.
        named: whether words of the query are in its name, folders, tags or caption, which moves it
            up beside what its relevance, a matter of sound alone, does.
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
        """The window as people say it, ``1:05-1:15``; hours are shown from the first on."""
        return f"{_clock(self.start)}-{_clock(self.end)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
