"""Share and probability of mismatched captions, estimated from embeddings alone.

A mismatched caption has nothing to do with its clip, so it is exchangeable with the captions of
other clips: the rank of its cost among the costs of n such captions is uniform, and

    p_i = (1 + #{j : c_ij <= c_ii}) / (1 + n)

is an exact p-value for the null hypothesis "caption i does not describe clip i", small where it
does. Costs are centred by the mean cost of each caption to random clips, so that captions near to
every clip are no more significant than others; under exchangeability this changes nothing. If
captions were exchanged among similar clips, a mismatched caption still suits its clip better than
random ones do. It must then be compared with captions of similar meaning (``null_rows``).

The p-values of all pairs give the share of mismatched ones, pi_0 = #{p > 1/2} / (N/2) (Storey, A
direct approach to false discovery rates, 2002), and for each pair the probability that it is
mismatched, the local false discovery rate pi_0 / f(p), with the density f fitted non-increasing
(Strimmer, A unified approach to false discovery rate estimation, 2008).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError

NULL_SAMPLE = 400
NULL_NEAREST = 100
_BINS = 100
_BLOCK = 1024

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WeightEstimate:
    """Probability that each pair is matched.

    Attributes:
        weights: One minus the local false discovery rate, 0 to 1, (N,).
        clean_share: Estimated share of matched pairs, 1 - pi_0.
    """

    weights: Floats
    clean_share: float


def estimate_weights(p_values: npt.ArrayLike) -> WeightEstimate:
    """Estimate the weights of N pairs from their p-values.

    Args:
        p_values: P-values in (0, 1], (N,) with N >= 1; uniform for mismatched pairs, small for
            matched ones.

    Raises:
        InvalidInputError: A wrong shape, or a value out of range.
    """
    from scipy.optimize import isotonic_regression

    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not p.size:
        raise InvalidInputError(f"p_values has shape {p.shape}; expected (N,) with N >= 1")
    if not bool(((p > 0) & (p <= 1)).all()):
        raise InvalidInputError("p_values has values outside (0, 1]; expected ranks over counts")
    mismatched = min(1.0, 2 * float(np.mean(p > 0.5)))
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    histogram = np.bincount(bins, minlength=_BINS) * (_BINS / len(p))
    density = isotonic_regression(histogram, increasing=False).x[bins]  # > 0, as its bin contains p
    return WeightEstimate(1 - np.minimum(1.0, mismatched / density), 1 - mismatched)


def rank_p_values(
    audio: Tensor,
    text: Tensor,
    text_clip: Sequence[int] | Ints,
    *,
    by_clip: bool = True,
    null_rows: Ints | None = None,
    sample: int = NULL_SAMPLE,
    seed: int | Sequence[int] = 0,
) -> Floats:
    """Compute p-values for the null hypothesis "these captions do not describe their clip".

    Args:
        audio: Embeddings of N >= 2 clips, whitened if there is a ground metric, (N, D).
        text: Embeddings of their captions, whitened likewise, (M, D).
        text_clip: Row of ``audio`` that each caption belongs to, (M,); every clip has a caption.
        by_clip: True for one p-value per clip, from the mean cost of its captions (for clips that
            have all captions of another); False for one per caption.
        null_rows: Rows that each clip, (N, k), or caption, (M, k), is compared with, see
            `nearest`; None for the same random rows for all.
        sample: Number n of random rows, and of the clips that costs are centred by.
        seed: Random seed of the sample.

    Returns:
        One p-value per clip, (N,), or per caption, (M,).

    Raises:
        InvalidInputError: Fewer than two clips, a clip without captions, or ``null_rows`` of a
            wrong shape.
    """
    clip_of = np.asarray(text_clip, np.int64)
    items = _Items(audio, text, clip_of, by_clip)
    _check(items, null_rows)
    rng = np.random.default_rng(seed)
    clips = np.sort(rng.permutation(len(audio))[:sample])
    random_rows = np.sort(rng.permutation(len(items.clip))[:sample])
    every = np.arange(len(items.clip))
    centre = np.concatenate([items.mean_cost(clips, block) for block in _blocks(every)])
    p = np.empty(len(every))
    for block in _blocks(every):
        compared = random_rows if null_rows is None else null_rows[block]
        p[block] = _block_p_values(items, block, compared, centre)
    return p


def _check(items: "_Items", null_rows: Ints | None) -> None:
    clips, described = len(items.audio), len(np.unique(items.clip_of))
    if clips < 2 or described < clips:
        raise InvalidInputError(
            f"{clips} clips, {described} of them with captions; expected at least 2, all with "
            "captions"
        )
    if null_rows is not None and (null_rows.ndim != 2 or len(null_rows) != len(items.clip)):
        raise InvalidInputError(f"null_rows is {null_rows.shape}; expected ({len(items.clip)}, k)")


def _block_p_values(items: "_Items", block: Ints, compared: Ints, centre: Floats) -> Floats:
    """Return the p-values of some items, from the rank of their own cost in the null costs."""
    own = items.own_cost[block] - centre[block]
    null = items.costs(items.clip[block], compared) - centre[compared]
    foreign = items.clip[block][:, None] != items.clip[compared]
    at_most = ((null <= own[:, None]) & foreign).sum(1)
    return np.asarray((1 + at_most) / (1 + foreign.sum(1)))


def nearest(vectors: npt.ArrayLike, k: int = NULL_NEAREST) -> Ints:
    """Return the k nearest rows of each row, by inner product of unit vectors.

    Args:
        vectors: Unit vectors, (n, d).
        k: Number of neighbours. A row is not its own neighbour.

    Returns:
        Rows in ascending order, (n, min(k, n - 1)). Memory is O(n (d + k)).
    """
    points = np.asarray(vectors, np.float32)
    k = min(k, len(points) - 1)
    found = np.empty((len(points), k), np.int64)
    for block in _blocks(np.arange(len(points))):
        similarity = points[block] @ points.T
        similarity[np.arange(len(block)), block] = -np.inf
        found[block] = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    return np.sort(found, axis=1)


@dataclass(frozen=True, eq=False)
class _Items:
    """Items that have a p-value: the captions of each clip together, or each caption."""

    audio: Tensor
    text: Tensor
    clip_of: Ints
    by_clip: bool

    @property
    def clip(self) -> Ints:
        """Clip of each item."""
        return np.arange(len(self.audio)) if self.by_clip else self.clip_of

    def costs(self, clips: Ints, items: Ints) -> Floats:
        """Return the mean cost of each item's captions to a clip, (clips, n).

        Items are the same n for all clips, (n,), or n for each clip, (clips, n).
        """
        if items.ndim == 2:  # one large product is faster than many small ones
            every = np.arange(len(self.clip))
            return np.take_along_axis(self.costs(clips, every), items, axis=1)
        if not self.by_clip:
            plain: Floats = torch.cdist(self.audio[clips], self.text[items]).double().numpy()
            return plain
        captions, starts, sizes = self._captions(items)
        distances = torch.cdist(self.audio[clips], self.text[captions]).numpy()
        return np.asarray(np.add.reduceat(distances, starts, axis=1) / sizes)

    def _captions(self, clips: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the captions of clips, and where each clip's captions start and how many."""
        sizes = self._counts[clips]
        starts = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        first = np.cumsum(self._counts) - self._counts
        return self._order[np.repeat(first[clips], sizes) + within], starts, sizes

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.clip_of, kind="stable")

    @cached_property
    def _counts(self) -> Ints:
        return np.bincount(self.clip_of, minlength=len(self.audio))

    @cached_property
    def own_cost(self) -> Floats:
        """Cost of each item to its own clip."""
        distances: Floats = (self.audio[self.clip_of] - self.text).norm(dim=1).double().numpy()
        if not self.by_clip:
            return distances
        return np.asarray(np.bincount(self.clip_of, distances) / self._counts)

    def mean_cost(self, clips: Ints, items: Ints) -> Floats:
        """Return the mean cost of each item over those of the clips that are not its own."""
        foreign = clips[:, None] != self.clip[items]
        total = (self.costs(clips, items) * foreign).sum(0)
        return np.asarray(total / np.maximum(1, foreign.sum(0)))


def _blocks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]
