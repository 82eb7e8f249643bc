"""Adding sound files to a library: windows, embedded and stored batch by batch."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from otomatch.errors import AudioError
from otomatch.library import files
from otomatch.library.files import SoundFile
from otomatch.library.relevance import reference_statistics
from otomatch.library.store import Store
from otomatch.model import AudioTextModel
from otomatch.types import Skipped
from otomatch.windows import Window

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `SoundLibrary.add` did.

    Attributes:
        added: files embedded, new or changed.
        unchanged: files that were there already.
        skipped: files that could not be read, and why.
    """

    added: int
    unchanged: int
    skipped: tuple[Skipped, ...]


class Indexer:
    """Embeds files with a model and stores their windows.

    Args:
        store: the library's table.
        model: its model.
        references: whitened reference descriptions, (m, D).
    """

    def __init__(self, store: Store, model: AudioTextModel, references: Tensor) -> None:
        self._store, self._model, self._references = store, model, references
        self._window, self._hop = store.about["window"], store.about["hop"]

    def add(self, sounds: Iterable[SoundFile | str | Path], progress: bool = False) -> AddReport:
        """See `SoundLibrary.add`."""
        listed = (s if isinstance(s, SoundFile) else SoundFile(Path(s).resolve()) for s in sounds)
        wanted = list({file.path: file for file in listed}.values())  # folders may overlap
        known = self._store.stamps()
        fresh = [s for s in wanted if known.get(str(s.path)) != files.stamp(s.path)]
        skipped: list[Skipped] = []
        starts = range(0, len(fresh), _CHUNK)
        console = Console(stderr=True)
        for start in track(
            starts, "Indexing", console=console, disable=not (progress and console.is_terminal)
        ):
            skipped += self._write(fresh[start : start + _CHUNK])
        return AddReport(len(fresh) - len(skipped), len(wanted) - len(fresh), tuple(skipped))

    def _write(self, sounds: Sequence[SoundFile]) -> list[Skipped]:
        """Embed and store some files; returns those that could not be read."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = list(pool.map(self._windows, sounds))
        skipped = [entry for entry in loaded if isinstance(entry, Skipped)]
        read = [
            (sound, windows)
            for sound, windows in zip(sounds, loaded, strict=True)
            if not isinstance(windows, Skipped)
        ]
        rows = [row for sound, windows in read for row in _rows(sound, windows)]
        if rows:
            features = [window.features for _, windows in read for window in windows]
            self._describe(rows, self._model.whiten(self._model.embed_features(features)))
            with self._store.writing():
                self._store.write(rows)
        return skipped

    def _describe(self, rows: Sequence[dict[str, Any]], vectors: Tensor) -> None:
        mean, std = reference_statistics(vectors, self._references)
        columns = (vectors.numpy(), mean.tolist(), std.tolist())
        for row, vector, centre, spread in zip(rows, *columns, strict=True):
            row.update(vector=vector, ref_mean=centre, ref_std=spread)

    def _windows(self, sound: SoundFile) -> list[Window] | Skipped:
        try:
            return self._model.sound_windows(sound.path, self._window, self._hop)
        except AudioError as error:
            return Skipped(str(sound.path), str(error))


def _rows(sound: SoundFile, windows: Sequence[Window]) -> list[dict[str, Any]]:
    """One row for each window, still without what the model says."""
    path = sound.path
    shared = {
        "file_id": files.file_id(path),
        "path": str(path),
        "root": str(sound.folder),
        "stamp": files.stamp(path),
        "digest": files.digest(path),
        "duration": windows[-1].end,
        "label": sound.label,
        "caption": sound.caption,
        "tags": None,
    }
    return [
        {
            "id": hashlib.sha256(f"{path}\0{window.start}".encode()).hexdigest(),
            **shared,
            "start": window.start,
            "end": window.end,
            # Once for each file, so that a long one does not fill the full-text hits.
            "words": files.words(sound, None) if window is windows[0] else None,
        }
        for window in windows
    ]
