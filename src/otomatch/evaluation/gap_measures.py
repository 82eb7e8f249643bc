"""Three measures of the gap between the modalities of a joint space.

Papers report the distance between the means (Liang et al., Mind the Gap, NeurIPS 2022, arXiv
2203.02053), which says little by itself: shrinking all embeddings closes it, and modalities with
equal means can still be separated. The other two measures are invariant to scaling and shifting the
whole space: the distance in units of the spread within a modality, and the accuracy of a linear
classifier that separates the modalities.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, at_least
from otomatch.evaluation.ranks import Array, Ints, TextClip, as_matrix, relevant_pairs
from otomatch.evaluation.retrieval import modality_gap

FOLDS = 5
SHRINKAGE = 0.1
_ROUNDING = 1e-12
"""Lengths below this share of the embeddings' own count as rounding errors."""


@dataclass(frozen=True)
class ModalityGap:
    """Gap between audio and text embeddings.

    Attributes:
        distance: Euclidean distance between the mean audio and the mean text embedding, >= 0. It
            grows with the scale of the embeddings.
        relative: The distance divided by the spread within a modality, >= 0. The spread is the root
            mean squared distance to the modality's own mean, averaged over the two:

                ||m_a - m_t|| / ((s_a + s_t) / 2),   s_a^2 = mean_i ||x_i - m_a||^2

            It is inf if both modalities have collapsed to two different points, 0 if to the same.
        separability: Balanced accuracy in percent of a linear classifier that separates audio from
            text on held-out rows. 50 is chance, a closed gap; 100 is full separation. It is
            slightly below 50 if the means of the whole sample have been made equal, because
            held-out rows then lie on the opposite side.
    """

    distance: float
    relative: float
    separability: float


def modality_gaps(
    audio: Array,
    text: Array,
    text_clip: TextClip | None = None,
    folds: int = FOLDS,
    shrinkage: float = SHRINKAGE,
) -> ModalityGap:
    """Measure the modality gap; whitened embeddings give the gap in the ground metric.

    The classifier is linear discriminant analysis: w = S^-1 (m_a - m_t) with the threshold halfway
    between the means, where S is the covariance within a modality, averaged over the two and
    shrunk: (1 - shrinkage) S + shrinkage tr(S)/D I. Both modalities have equal weight, whatever
    their number of rows. Its accuracy is cross-validated with ``folds`` folds, which are always the
    same. Computed in float64 on the CPU; memory is O(folds D^2).

    Args:
        audio: Embeddings (n, D), one row per clip.
        text: Embeddings (m, D), one row per caption.
        text_clip: Clip of each caption, as for `otomatch.retrieval.evaluate_embeddings`; a clip and
            its captions are then held out together, as are clips that share a caption. If None,
            the rows are treated as independent.
        folds: Number of folds, >= 2; if there are more folds than clips, each clip is one fold.
        shrinkage: Shrinkage in (0, 1]. Small values find gaps along directions of little variance,
            but need more rows than dimensions.

    Raises:
        InvalidInputError: If embeddings are empty, mis-shaped or not finite, ``text_clip`` does not
            fit, ``folds`` or ``shrinkage`` is out of range, or there are too few clips.

    Example:
        >>> modality_gaps(torch.randn(90, 8), torch.randn(90, 8) + 9).separability
        100.0
    """
    distance = modality_gap(audio, text)
    rows = as_matrix("audio", audio), as_matrix("text", text)
    at_least("folds", folds, 1)
    if folds == 1 or not 0 < shrinkage <= 1:
        raise InvalidInputError(
            f"folds is {folds} and shrinkage is {shrinkage}; expected at least 2 folds and a "
            "shrinkage in (0, 1]"
        )
    fold_of = _folds(text_clip, len(rows[0]), len(rows[1]), folds)
    sides = _Side.of(rows[0], fold_of[0]), _Side.of(rows[1], fold_of[1])
    return ModalityGap(distance, _relative(distance, *sides), _separability(*sides, shrinkage))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Number of rows, their sum and the sum of their outer products, about a fixed point."""

    count: int
    total: Tensor
    products: Tensor

    def __sub__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.count - other.count, self.total - other.total, self.products - other.products
        )

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        return self.products / self.count - torch.outer(self.mean, self.mean)


@dataclass(frozen=True, eq=False)
class _Side:
    """One modality: its mean, and the moments of its rows about the mean, in total and by fold."""

    rows: Tensor
    fold: Ints
    mean: Tensor
    parts: dict[int, _Moments]
    whole: _Moments

    @classmethod
    def of(cls, rows: Tensor, fold: Ints) -> "_Side":
        mean = rows.mean(0, dtype=torch.float64).cpu()
        parts = {}
        for number in np.unique(fold).tolist():
            x = _held_out(rows, fold, number) - mean
            parts[number] = _Moments(len(x), x.sum(0), x.T @ x)
        whole = _Moments(
            len(rows),
            torch.stack([part.total for part in parts.values()]).sum(0),
            torch.stack([part.products for part in parts.values()]).sum(0),
        )
        return cls(rows, fold, mean, parts, whole)

    @property
    def spread(self) -> float:
        return float((self.whole.products.trace() / self.whole.count).sqrt())

    def without(self, number: int) -> _Moments:
        return self.whole - self.parts[number] if number in self.parts else self.whole


def _held_out(rows: Tensor, fold: Ints, number: int) -> Tensor:
    here = torch.from_numpy(np.flatnonzero(fold == number)).to(rows.device)
    return rows[here].double().cpu()


def _relative(distance: float, audio: _Side, text: _Side) -> float:
    spread = (audio.spread + text.spread) / 2
    blur = _ROUNDING * float(audio.mean.norm() + text.mean.norm())
    if spread > blur:
        return distance / spread
    return float("inf") if distance > blur else 0.0


def _separability(audio: _Side, text: _Side, shrinkage: float) -> float:
    """Return the share of held-out rows on their own side, averaged over modalities, percent."""
    correct = [0.0, 0.0]
    for number in sorted({*audio.parts, *text.parts}):
        weight, threshold = _classifier(audio, text, number, shrinkage)
        for i, (side, sign) in enumerate(((audio, 1), (text, -1))):
            score = sign * (_held_out(side.rows, side.fold, number) @ weight - threshold)
            correct[i] += float((score > 0).sum() + 0.5 * (score == 0).sum())
    return 50 * (correct[0] / len(audio.rows) + correct[1] / len(text.rows))


def _classifier(audio: _Side, text: _Side, number: int, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Return weights (D,) and threshold from all folds but one; audio is above the threshold."""
    a, t = audio.without(number), text.without(number)
    mean_a, mean_t = audio.mean + a.mean, text.mean + t.mean
    within = (a.covariance + t.covariance) / 2
    level = within.trace() / len(within)
    if not level > 0:  # both have collapsed, so all directions are equivalent
        within, level = torch.zeros_like(within), torch.ones_like(level)
    within = (1 - shrinkage) * within
    within.diagonal().add_(shrinkage * level)
    weight = torch.linalg.solve(within, mean_a - mean_t)
    return weight, weight @ (mean_a + mean_t) / 2


def _folds(text_clip: TextClip | None, clips: int, captions: int, folds: int) -> tuple[Ints, Ints]:
    """Return the fold of each clip (n,) and of each caption (m,)."""
    rng = np.random.default_rng(0)
    if text_clip is None:
        found = rng.permutation(clips) % folds, rng.permutation(captions) % folds
    else:
        group = _groups(text_clip, clips, captions)
        fold = rng.permutation(int(group.max()) + 1)[group] % folds
        found = fold[:clips], fold[clips:]
    for name, fold in zip(("audio", "text"), found, strict=True):
        if len(np.unique(fold)) < 2:
            raise InvalidInputError(
                f"all {len(fold)} {name} rows are in one fold, which leaves none to fit to; "
                "expected at least two clips with different captions"
            )
    return found


def _groups(text_clip: TextClip, clips: int, captions: int) -> Ints:
    """Return a group number for each clip, then each caption, (n + m,); linked ones share it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    clip, caption = relevant_pairs(text_clip, clips, captions)
    size = clips + captions
    links = coo_array((np.ones(len(clip)), (clip, clips + caption)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)
