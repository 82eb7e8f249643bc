"""Values shared by all layers: a clip with its captions, a row that was skipped, a search hit."""

from dataclasses import asdict, dataclass
from typing import Any


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
            every query (see `library.search.relevance`), and is of the sound alone, not of names.
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
