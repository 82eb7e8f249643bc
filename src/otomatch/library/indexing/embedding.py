"""Windows of several files, embedded in batches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from otomatch.audio.windows import Window
from otomatch.library.indexing.rows import Span
from otomatch.library.library_model import LibraryModel
from otomatch.library.records import SoundFile

_BATCH = 64  # windows


@dataclass(slots=True)
class EmbeddedWindows:
    """Windows of a file that have been embedded.

    Attributes:
        spans: Start and end of each window in seconds.
        vectors: Whitened vector of each window, (D,).
    """

    spans: list[Span] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)

    def stacked(self) -> Tensor:
        """Return the vectors as one tensor, (windows, D)."""
        return torch.stack(self.vectors)


class WindowEmbedder:
    """Embeds windows in batches, and keeps the vectors of each file until it is stored.

    Args:
        model: Model of the library.
        embedded: Function that is told how many more seconds of sound have been embedded.
    """

    def __init__(self, model: LibraryModel, embedded: Callable[[float], None]) -> None:
        self._model, self._embedded = model, embedded
        self._batch: list[tuple[SoundFile, Window]] = []
        self._files: dict[Path, EmbeddedWindows] = {}

    @property
    def is_full(self) -> bool:
        """True if a whole batch is waiting."""
        return len(self._batch) >= _BATCH

    def add(self, sound: SoundFile, window: Window) -> None:
        """Add a window of a file to the batch."""
        self._batch.append((sound, window))

    def discard(self, sound: SoundFile) -> None:
        """Drop all windows of a file."""
        self._files.pop(sound.path, None)
        self._batch = [entry for entry in self._batch if entry[0] is not sound]

    def embed(self) -> None:
        """Embed the windows of the batch."""
        batch = self._batch
        if not batch:
            return
        model = self._model.model
        vectors = model.whiten(model.embed_features([window.features for _, window in batch]))
        seconds = 0.0
        for (sound, window), vector in zip(batch, vectors, strict=True):
            file = self._files.setdefault(sound.path, EmbeddedWindows())
            seconds += window.end - (file.spans[-1][1] if file.spans else 0.0)  # windows overlap
            file.spans.append((window.start, window.end))
            file.vectors.append(vector)
        self._batch = []  # only now, so that an interrupted file does not seem complete
        self._embedded(seconds)

    def waiting(self) -> set[Path]:
        """Return the paths of files with windows that have not been embedded."""
        return {sound.path for sound, _ in self._batch}

    def count(self, path: Path) -> int:
        """Return the number of embedded windows of a file."""
        return len(self._files[path].spans) if path in self._files else 0

    def windows(self, path: Path) -> EmbeddedWindows:
        """Return the embedded windows of a file."""
        return self._files[path]

    def forget(self, path: Path) -> None:
        """Free the windows of a file that has been stored."""
        del self._files[path]
