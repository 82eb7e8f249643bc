"""Classification by similarity: each clip is given the class whose embedding is nearest to its own.

Classification is retrieval among the classes, so the conventions are those of
`otomatch.retrieval`, ties counting against the system:

- Accuracy (percent): the share of clips whose own class is nearer than every other. Where another
  class is as near, the clip counts as taken for that one; a scorer that returns one constant has
  accuracy 0.
- Average precision of a class: all clips are ranked for it; the sum of i / rank_i over its own
  clips, divided by their number, where rank_i is 1-based: the number of clips of other classes at
  least as near, plus i. Without ties it equals scikit-learn's ``average_precision_score``.
- mAP (fraction): its mean over the classes that have clips, each counting alike (macro).

A class without clips is still a class that clips can be taken for.
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
    """How well clips are told apart.

    Attributes:
        classes: names of the C classes.
        confusion: C rows of C counts: how many clips of each class (row) were taken for each
            (column).
        map: mean average precision over the classes that have clips, 0 to 1.
        transductive: the same by a transport plan between all clips and all classes, if it was
            computed. It knows how many clips each class has; not comparable.
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
        """Share of the clips taken for their own class, percent."""
        return 100.0 * sum(row[own] for own, row in enumerate(self.confusion)) / self.clips

    @property
    def class_accuracy(self) -> dict[str, float | None]:
        """The same for the clips of each class, percent; None where a class has no clips."""
        return {
            name: 100.0 * row[own] / sum(row) if any(row) else None
            for own, (name, row) in enumerate(zip(self.classes, self.confusion, strict=True))
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON."""
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
    """Give each clip the class at the smallest Euclidean distance.

    Only ``block`` rows of the distances are held. Distances that differ by no more than rounding
    can explain are ties, as in `rank_embeddings`.

    Args:
        audio: (n, D), one row per clip; whitened where a ground metric is used.
        classes: (C, D), one row per class, at least two.
        labels: (n,) row of each clip's class.
        names: (C,) of the classes, all different.
        block: rows that are worked on at once; changes speed and memory, not the result.

    Raises:
        InvalidInputError: for labels or names of another number, labels out of range, names that
            repeat, fewer than two classes, or as for `rank_embeddings`.

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
    """Give each clip the class of the highest score.

    Args:
        scores: (n, C), clips by classes. Infinities are allowed, NaN is not.
        labels: (n,) column of each clip's class.
        names: (C,) of the classes, at least two, all different.
        tolerance: scores that differ by no more tie, as in `rank_scores`.
        block: rows that are worked on at once; changes speed and memory, not the result.

    Raises:
        InvalidInputError: as for `classify_embeddings` and `rank_scores`.
    """
    scores = as_matrix("scores", scores)
    ranks = rank_scores(scores, _clips_of(labels, names, *scores.shape), tolerance, block)

    def costs(rows: slice) -> Tensor:
        return -scores[rows].double().clamp(min=torch.finfo(torch.float64).min)

    return _report(ranks, names, costs, block)


def _clips_of(
    labels: Sequence[int], names: Sequence[str], clips: int, classes: int
) -> list[list[int]]:
    """The clips of each class, C lists of rows."""
    if len(names) != classes or classes < 2 or len(set(names)) < classes:
        raise InvalidInputError(
            f"{classes} classes with {len(names)} names, {len(set(names))} of them different; "
            "expected at least two classes, each with a name of its own"
        )
    own = np.asarray(labels)
    if own.shape != (clips,) or own.dtype.kind not in "iu":
        raise InvalidInputError(
            f"labels have shape {own.shape} and type {own.dtype} for {clips} clips; "
            "expected one whole number each"
        )
    if own.min() < 0 or own.max() >= classes:
        wrong = own[(own < 0) | (own >= classes)][0]
        raise InvalidInputError(f"labels hold {wrong}; expected 0 to {classes - 1}")
    order = np.argsort(own, kind="stable")
    ends = np.searchsorted(own[order], np.arange(1, classes))
    return [rows.tolist() for rows in np.split(order, ends)]


def _report(
    ranks: Ranks, names: Sequence[str], costs: Callable[[slice], Tensor], block: int
) -> ClassificationReport:
    """Count what the clips were taken for; ``costs`` gives some rows of finite costs (n, C)."""
    own, ahead, taken = np.empty((3, ranks.clips), np.int64)
    own[ranks.clip], ahead[ranks.clip] = ranks.caption, ranks.captions_ahead
    for rows in blocks(ranks.clips, block):
        # Where another class is at least as near, it is the nearest of the others.
        others = costs(rows).cpu().numpy()
        others[np.arange(len(others)), own[rows]] = np.inf
        taken[rows] = np.where(ahead[rows] > 0, others.argmin(axis=1), own[rows])
    count = len(names)
    confusion = np.bincount(own * count + taken, minlength=count**2).reshape(count, count)
    return ClassificationReport(
        classes=tuple(names),
        confusion=tuple(map(tuple, confusion.tolist())),
        map=summarise(ranks, map_ks=(ranks.clips,)).text_to_audio.map[ranks.clips],
    )
