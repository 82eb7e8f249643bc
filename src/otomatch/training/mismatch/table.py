"""pairs.csv: the weight that a run gives each of its training pairs.

The file has the columns `COLUMNS` and a row for every pair of a clip and a caption.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from otomatch.errors import DatasetError
from otomatch.files import write_text

PAIRS_FILE = "pairs.csv"
COLUMNS = ("clip", "caption", "p_value", "weight")

WeightByPair = dict[tuple[str, str], float]
"""Weight of each pair (id of a clip, caption), 0 to 1."""


def write_weights(path: Path, pairs: Iterable[tuple[str, str, float, float]]) -> None:
    """Replace the file by rows of clip id, caption, p-value and weight."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip, caption, *numbers in pairs:
        writer.writerow([clip, caption, *(f"{number:.6g}" for number in numbers)])
    write_text(path, text.getvalue())


def read_weights(path: Path) -> WeightByPair:
    """Return the weight of every pair; of a caption repeated within a clip, the smallest.

    Raises:
        DatasetError: The file cannot be read, lacks a column, or has a weight outside [0, 1].
    """
    weights: WeightByPair = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path}: has no column {', '.join(missing)}; expected the {PAIRS_FILE} of a "
                    "run that estimates pair weights"
                )
            for row in reader:
                pair = (row["clip"], row["caption"])
                weight = _weight(path, reader.line_num, row["weight"])
                weights[pair] = min(weight, weights.get(pair, 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    return weights


def keep_matched(
    clips: Sequence[tuple[str, Sequence[tuple[int, str]]]], path: Path, min_weight: float
) -> list[list[int]]:
    """Return the captions of each clip that are weighted at least ``min_weight``.

    Args:
        clips: Id of each clip, and its captions with their rows.
        path: Path of the pairs.csv.
        min_weight: Minimum weight to keep a caption.

    Returns:
        Rows of the captions that are kept, by clip and in order; empty for a clip without any.

    Raises:
        DatasetError: A pair is not in the file, which then belongs to other data.
    """
    weights = read_weights(path)
    for name, captions in clips:
        for _, caption in captions:
            if (name, caption) not in weights:
                raise DatasetError(
                    f"{path}: has no row for clip {name!r} with the caption {caption!r}; expected "
                    "the file of a run on the same data with the same seed and caption noise"
                )
    return [
        [row for row, caption in captions if weights[name, caption] >= min_weight]
        for name, captions in clips
    ]


def _weight(path: Path, line: int, text: str | None) -> float:
    try:
        weight = float(text or "")
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise DatasetError(
            f"{path}, line {line}: weight is {text!r}; expected a number from 0 to 1"
        )
    return weight
