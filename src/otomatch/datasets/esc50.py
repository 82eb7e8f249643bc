"""ESC-50: 2000 clips of 5 s with 50 classes and 5 folds, without captions or splits.

The folder has ``meta/esc50.csv`` and ``audio/``, as published. Other folders of labelled recordings
open in the same way, see `otomatch.datasets.label_table`.

Source: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
"""

from pathlib import Path

from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.clips import assemble
from otomatch.datasets.label_table import LABEL_TABLES, find_table, read_labels

ESC50_TABLE = "meta/esc50.csv"
ARCHIVE_FOLDER = "ESC-50-master"  # top-level folder of the published archive


def open_esc50(root: Path) -> CaptionDataset:
    """Open all clips with their class names and folds; missing ones are skipped and listed.

    Raises:
        DatasetError: The table is missing or malformed, or no clip can be used.
    """
    home = _home(root)
    table = find_table(home)
    name = "esc-50" if table.name == Path(ESC50_TABLE).name else root.resolve().name
    return assemble(name, home, read_labels(table), str(table))


def recognises_esc50(root: Path) -> bool:
    """Return True if the folder has a table of labels."""
    return any((_home(root) / name).is_file() for name in LABEL_TABLES)


def _home(root: Path) -> Path:
    inside = root / ARCHIVE_FOLDER
    return inside if (inside / ESC50_TABLE).is_file() else root
