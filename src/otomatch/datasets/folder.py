"""Any folder with ``captions.csv``: opening and writing it.

``captions.csv`` is UTF-8 with a header: ``file_name,caption`` with one row per pair, or
``file_name,caption_1,...,caption_n``; the columns ``split``, ``label``, ``start``, ``end`` (in
seconds) and ``fold`` are optional. The audio lies in any sub-folder.
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

    Rows of one file (and one span of it) make one clip, in the order of their first row. Empty
    captions are dropped; a clip is kept without captions only if it has a label. Rows whose file
    is missing, empty or not audio are skipped and listed in `CaptionDataset.skipped`.

    Args:
        root: the folder.
        name: of the data set; None for the folder's.

    Raises:
        DatasetError: there is no table, it is malformed, or no row is usable.
    """
    root = Path(root)
    table = root / CAPTIONS_TABLE
    if not table.is_file():
        raise DatasetError(
            f"{root}: no {CAPTIONS_TABLE}; write one with the columns file_name and caption"
        )
    return assemble(name or root.resolve().name, root, read_rows(table), str(table))


def write_captions(root: str | Path, clips: Iterable[Clip]) -> Path:
    """Write ``captions.csv`` for clips whose audio lies below ``root``; returns its path.

    The table appears complete or not at all. `open_folder` gives back the same clips.

    Raises:
        DatasetError: a clip lies outside ``root``.
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
        raise DatasetError(f"{path} does not lie below {root}; copy it there first") from None
