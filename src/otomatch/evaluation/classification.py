"""Classification by similarity: each clip is assigned the class with the nearest embedding.

Classification is retrieval among the classes, so the conventions are those of `otomatch.retrieval`;
in particular, ties count against the system:

- Accuracy (percent): the share of clips whose own class is nearer than every other class. A clip
  whose own class ties with another counts as the other; a scorer that returns a constant has
  accuracy 0.
- Average precision of a class: all clips are ranked for the class; the sum of i / rank_i over its
  own clips, divided by their number, where rank_i is 1-based: the number of clips of other classes
  at least as near, plus i. Without ties it equals scikit-learn's ``average_precision_score``.
- mAP (fraction): the unweighted mean of average precision over the classes that have clips (macro).

Clips may also be assigned a class that has no clips of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.evaluation.ranks import (
    BLOCK,
    Array,
    Ranks,
    as_matrix,
    blocks,
    rank_embeddings,
    rank_scores,
)
from otomatch.evaluation.retrieval import summarise


@dataclass(frozen=True)
class ClassificationReport:
    """Report of a classification.

    Attributes:
        classes: Names of the C classes.
        confusion: C rows of C counts: number of clips of each class (row) that were assigned each
            class (column).
        map: Mean average precision over the classes that have clips, 0 to 1.
        transductive: Report of a classification by a transport plan between all clips and all
            classes, if it was computed. It uses the number of clips of each class, so the two are
            not comparable.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    map: float
    transductive: "ClassificationReport | None" = None

    @property
    def clips(self) -> int:
        """Number of clips."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of the clips assigned their own class, in percent."""
        return 100.0 * sum(row[own] for own, row in enumerate(self.confusion)) / self.clips

    @property
    def class_accuracy(self) -> dict[str, float | None]:
        """Accuracy of each class in percent, None for a class without clips."""
        return {
            name: 100.0 * row[own] / sum(row) if any(row) else None
            for own, (name, row) in enumerate(zip(self.classes, self.confusion, strict=True))
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can store."""
        return {
            "clips": self.clips,
            "accuracy": self.accuracy,
            "map": self.map,
            "class_accuracy": self.class_accuracy,
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
            "transductive": None if self.transductive is None else self.transductive.to_dict(),
        }


def classify_embeddings(
    audio: Array, classes: Array, labels: Sequence[int], names: Sequence[str], block: int = BLOCK
) -> ClassificationReport:
    """Assign each clip the class at the smallest Euclidean distance.

    At most ``block`` rows of distances are in memory. Distances that differ by no more than
    rounding errors are ties, as in `rank_embeddings`.

    Args:
        audio: Embeddings (n, D), one row per clip; whiten them first if a ground metric is used.
        classes: Embeddings (C, D), one row per class, at least two.
        labels: (n,) row of each clip's class.
        names: (C,) names of the classes, all different.
        block: Number of rows to process at once; affects speed and memory, not the result.

    Raises:
        InvalidInputError: If the number of labels or names does not match, a label is out of range,
            a name repeats, or there are fewer than two classes; and as for `rank_embeddings`.

    Example:
        >>> classify_embeddings(torch.eye(2), torch.eye(2), [0, 1], ["rain", "dog"]).accuracy
        100.0
    """
    audio, classes = as_matrix("audio", audio), as_matrix("classes", classes)
    clips_of = _clips_of(labels, names, len(audio), len(classes))
    ranks = rank_embeddings(audio, classes, clips_of, block)
    centres = classes.to(audio.device).double()

    def costs(rows: slice) -> Tensor:
        return torch.cdist(audio[rows].double(), centres)

    return _report(ranks, names, costs, block)


def classify_scores(
    scores: Array,
    labels: Sequence[int],
    names: Sequence[str],
    tolerance: float = 0.0,
    block: int = BLOCK,
) -> ClassificationReport:
    """Assign each clip the class with the highest score.

    Args:
        scores: Scores (n, C), clips by classes. Infinities are allowed, NaN is not.
        labels: (n,) column of each clip's class.
        names: (C,) names of the classes, at least two, all different.
        tolerance: Largest difference between scores that tie, as in `rank_scores`.
        block: Number of rows to process at once; affects speed and memory, not the result.

    Raises:
        InvalidInputError: As for `classify_embeddings` and `rank_scores`.
    """
    scores = as_matrix("scores", scores)
    ranks = rank_scores(scores, _clips_of(labels, names, *scores.shape), tolerance, block)

    def costs(rows: slice) -> Tensor:
        return -scores[rows].double().clamp(min=torch.finfo(torch.float64).min)

    return _report(ranks, names, costs, block)


def _clips_of(
    labels: Sequence[int], names: Sequence[str], clips: int, classes: int
) -> list[list[int]]:
    """Return the rows of the clips of each class."""
    if len(names) != classes or classes < 2 or len(set(names)) < classes:
        raise InvalidInputError(
            f"{classes} classes have {len(names)} names, {len(set(names))} of them different; "
            "expected at least two classes, each with a different name"
        )
    own = np.asarray(labels)
    if own.shape != (clips,) or own.dtype.kind not in "iu":
        raise InvalidInputError(
            f"labels have shape {own.shape} and type {own.dtype} for {clips} clips; "
            "expected one whole number for each clip"
        )
    if own.min() < 0 or own.max() >= classes:
        invalid = own[(own < 0) | (own >= classes)][0]
        raise InvalidInputError(f"labels contain {invalid}; expected 0 to {classes - 1}")
    order = np.argsort(own, kind="stable")
    ends = np.searchsorted(own[order], np.arange(1, classes))
    return [rows.tolist() for rows in np.split(order, ends)]


def _report(
    ranks: Ranks, names: Sequence[str], costs: Callable[[slice], Tensor], block: int
) -> ClassificationReport:
    """Count the assigned classes; ``costs`` returns some rows of the finite costs (n, C)."""
    own, ahead, assigned = np.empty((3, ranks.clips), np.int64)
    own[ranks.clip], ahead[ranks.clip] = ranks.caption, ranks.captions_ahead
    for rows in blocks(ranks.clips, block):
        # If another class is at least as near, the clip is assigned the nearest other class.
        others = costs(rows).cpu().numpy()
        others[np.arange(len(others)), own[rows]] = np.inf
        assigned[rows] = np.where(ahead[rows] > 0, others.argmin(axis=1), own[rows])
    count = len(names)
    confusion = np.bincount(own * count + assigned, minlength=count**2).reshape(count, count)
    return ClassificationReport(
        classes=tuple(names),
        confusion=tuple(map(tuple, confusion.tolist())),
        map=summarise(ranks, map_ks=(ranks.clips,)).text_to_audio.map[ranks.clips],
    )
