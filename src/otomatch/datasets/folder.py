"""Open and write data set folders with a ``captions.csv``.

``captions.csv`` is a UTF-8 table with a header: either ``file_name,caption`` with one row per pair,
or ``file_name,caption_1,...,caption_n`` with one row per clip. The columns ``split``, ``label``,
``start``, ``end`` (in seconds) and ``fold`` are optional. The audio may be in any subfolder.
"""

from collections.abc import Iterable
from pathlib import Path

from otomatch.datasets.base import CaptionDataset, Clip
from otomatch.datasets.caption_table import OPTIONAL, read_rows, write_table
from otomatch.datasets.clips import assemble
from otomatch.errors import DatasetError

CAPTIONS_TABLE = "captions.csv"


def open_folder(root: str | Path, name: str | None = None) -> CaptionDataset:
    """Open a folder with ``captions.csv``.

    Rows with the same file and span become one clip; clips are in the order of their first rows.
    Blank captions are dropped, and a clip without captions is kept only if it has a label. Rows
    whose file is missing, empty or not audio are skipped and listed in `CaptionDataset.skipped`.

    Args:
        root: Folder with ``captions.csv``.
        name: Name of the data set; None for the name of the folder.

    Raises:
        DatasetError: The table is missing or malformed, or no row can be used.
    """
    root = Path(root)
    table = root / CAPTIONS_TABLE
    if not table.is_file():
        raise DatasetError(
            f"{root}: no {CAPTIONS_TABLE}; write one with the columns file_name and caption"
        )
    return assemble(name or root.resolve().name, root, read_rows(table), str(table))


def write_captions(root: str | Path, clips: Iterable[Clip]) -> Path:
    """Write ``captions.csv`` atomically for clips whose audio is below ``root``.

    `open_folder` reads the same clips back.

    Returns:
        Path of the table.

    Raises:
        DatasetError: The audio of a clip is outside ``root``.
    """
    root, clips = Path(root), tuple(clips)
    used = [name for name in OPTIONAL if any(getattr(clip, name) is not None for clip in clips)]
    width = max((len(clip.captions) for clip in clips), default=1) or 1
    header = ["file_name", *used, *(f"caption_{i + 1}" for i in range(width))]
    rows = [
        [_relative(clip.path, root), *(getattr(clip, name) for name in used), *clip.captions]
        for clip in clips
    ]
    return write_table(root / CAPTIONS_TABLE, header, rows)


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        raise DatasetError(f"{path} is not below {root}; copy it there first") from None
