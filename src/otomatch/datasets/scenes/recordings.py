"""Use folders of labelled recordings as sources of scenes.

`otomatch.datasets.label_table` describes the folders.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from otomatch import audio
from otomatch.datasets.caption_table import ClipRow
from otomatch.datasets.label_table import find_table, read_labels
from otomatch.datasets.scenes.mixing import RATE
from otomatch.datasets.scenes.sounds import SourceSound
from otomatch.errors import DatasetError


def find_recordings(root: str | Path, folds: Collection[int] | None = None) -> list[SourceSound]:
    """Return the recordings of a labelled folder, sorted by name.

    Args:
        root: Folder with a table of labels.
        folds: Folds to select; None for all recordings.

    Raises:
        DatasetError: The table is missing or malformed, or no recording is in the folds.
    """
    root = Path(root)
    table = find_table(root)
    rows = read_labels(table)
    kept = [_sound(root, row) for row in rows if folds is None or row.fold in folds]
    if not kept:
        present = sorted({row.fold for row in rows if row.fold is not None})
        raise DatasetError(f"{table}: no recording in folds {folds}; the table has {present}")
    return sorted(kept, key=lambda sound: sound.name)


def _sound(root: Path, row: ClipRow) -> SourceSound:
    name = row.names[-1]
    path = next((root / place for place in row.names if (root / place).is_file()), root / name)
    stat = path.stat() if path.is_file() else None
    return SourceSound(
        label=row.label or "",
        name=name,
        load=partial(audio.load, path, RATE),
        stamp=f"{stat.st_size}" if stat else "missing",
        fold=row.fold,
    )
