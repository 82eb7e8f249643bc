"""ESC-50: 2000 clips of 5 s, 50 classes, 5 folds; labels without captions, and no splits.

A folder with ``meta/esc50.csv`` and ``audio/``, as published. Any folder of labelled recordings
opens in the same way, see `otomatch.datasets.scenes.recordings`.

Source: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
"""

from pathlib import Path

from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.clips import assemble
from otomatch.datasets.label_table import LABEL_TABLES, find_table, read_labels

ESC50_TABLE = "meta/esc50.csv"
ARCHIVE_FOLDER = "ESC-50-master"  # in which the published archive holds everything


def open_esc50(root: Path) -> CaptionDataset:
    """All clips, each with its class name and fold; missing ones are skipped and listed.

    Raises:
        DatasetError: there is no table, it is malformed, or no clip is there.
    """
    home = _home(root)
    table = find_table(home)
    name = "esc-50" if table.name == Path(ESC50_TABLE).name else root.resolve().name
    return assemble(name, home, read_labels(table), str(table))


def recognises_esc50(root: Path) -> bool:
    """Whether a folder has a table of labels."""
    return any((_home(root) / name).is_file() for name in LABEL_TABLES)


def _home(root: Path) -> Path:
    inside = root / ARCHIVE_FOLDER
    return inside if (inside / ESC50_TABLE).is_file() else root
