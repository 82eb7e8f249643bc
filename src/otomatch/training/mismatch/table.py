"""The file in which a run writes how sure it is of each training pair, and its reading.

``pairs.csv`` has the columns `COLUMNS` and a row for every pair of a clip and a caption.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from otomatch.errors import DatasetError

FILE = "pairs.csv"
COLUMNS = ("clip", "caption", "p_value", "weight")

Weights = dict[tuple[str, str], float]


def read_weights(path: Path) -> Weights:
    """Weight of every pair (id of a clip, caption), 0 to 1.

    A caption that stands twice with one clip has the smaller of its weights.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or a weight is no number of 0 to 1.
    """
    found: Weights = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path}: has no column {', '.join(missing)}; expected a {FILE}, which a run "
                    "with loss.mass = 'auto' writes"
                )
            for row in reader:
                pair = (row["clip"], row["caption"])
                found[pair] = min(_weight(path, reader.line_num, row["weight"]), found.get(pair, 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    return found


def keep_right(
    clips: Sequence[tuple[str, Sequence[tuple[int, str]]]], path: Path, least: float
) -> list[list[int]]:
    """The captions of each clip that are held for right.

    Args:
        clips: for each, its id and its captions with their rows.
        path: of the pairs.csv.
        least: weight from which on a caption is kept.

    Returns:
        For each clip the rows of the captions that are left, in order; none where all are wrong.

    Raises:
        DatasetError: a pair does not stand in the file, which then belongs to other data.
    """
    weights = read_weights(path)
    for name, captions in clips:
        for _, caption in captions:
            if (name, caption) not in weights:
                raise DatasetError(
                    f"{path}: does not know clip {name!r} with the caption {caption!r}; it must "
                    "come from a run on the same data, seed and noise"
                )
    return [
        [row for row, caption in captions if weights[name, caption] >= least]
        for name, captions in clips
    ]


def _weight(path: Path, line: int, text: str | None) -> float:
    try:
        weight = float(text or "")
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise DatasetError(f"{path}, line {line}: weight is {text!r}; expected a number of 0 to 1")
    return weight
