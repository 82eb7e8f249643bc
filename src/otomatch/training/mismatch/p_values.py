"""How many captions of a data set are wrong, and which: from embeddings alone, while training.

A wrong caption has nothing to do with its clip, so it is exchangeable with the captions of other
clips: the rank of its cost among the costs of n such captions is uniform, and

    p_i = (1 + #{j : c_ij <= c_ii}) / (1 + n)

is an exact p-value of "caption i does not describe clip i", small where it does. Costs are centred
by the mean cost of each caption to clips at random, so that captions that are near to everything
say no more than others; under exchangeability that changes nothing. Where near neighbours were
mixed up, a wrong caption still suits its clip better than captions at random do; it must then be
compared with captions that mean nearly the same (``rivals``).

From the p-values of all pairs follow the share of wrong ones, pi_0 = #{p > 1/2} / (N/2) (Storey, A
direct approach to false discovery rates, 2002), and for each pair the probability that it is wrong,
the local false discovery rate pi_0 / f(p), with the density f fitted non-increasing (Strimmer, A
unified approach to false discovery rate estimation, 2008).
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
RIVALS = 100
_BINS = 100
_BLOCK = 1024

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairWeights:
    """How sure it is that each pair is right.

    Attributes:
        weights: (N,) one minus the local false discovery rate, 0 to 1.
        clean_share: estimated share of right pairs, 1 - pi_0.
    """

    weights: Floats
    clean_share: float


def pair_weights(p_values: npt.ArrayLike) -> PairWeights:
    """Weights of N pairs from their p-values.

    Args:
        p_values: (N,) in (0, 1], N >= 1; uniform for wrong pairs, small for right ones.

    Raises:
        InvalidInputError: a wrong shape, or a value out of range.
    """
    from scipy.optimize import isotonic_regression

    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not p.size:
        raise InvalidInputError(f"p_values has shape {p.shape}; expected (N,) with N >= 1")
    if not bool(((p > 0) & (p <= 1)).all()):
        raise InvalidInputError("p_values holds numbers outside (0, 1]; expected ranks over counts")
    wrong = min(1.0, 2 * float(np.mean(p > 0.5)))
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    histogram = np.bincount(bins, minlength=_BINS) * (_BINS / len(p))
    density = isotonic_regression(histogram, increasing=False).x[bins]  # > 0: p lies in the bin
    return PairWeights(1 - np.minimum(1.0, wrong / density), 1 - wrong)


def rank_p_values(
    audio: Tensor,
    text: Tensor,
    text_clip: Sequence[int] | Ints,
    *,
    by_clip: bool = True,
    rivals: Ints | None = None,
    sample: int = NULL_SAMPLE,
    seed: int | Sequence[int] = 0,
) -> Floats:
    """P-values of "these captions do not describe their clip".

    Args:
        audio: (N, D) embeddings of N >= 2 clips, whitened where a ground metric is used.
        text: (M, D) embeddings of their captions, likewise.
        text_clip: (M,) row of ``audio`` that each caption is said to describe; every clip has one.
        by_clip: judge all captions of a clip together, by their mean cost (a wrong clip has the
            captions of another); otherwise each caption by itself.
        rivals: (N, k), or (M, k) for captions, rows of what each is compared with, see
            `nearest`; None for the same random ones for all.
        sample: n, number of those; and of the clips that costs are centred by.
        seed: of the sample.

    Returns:
        (N,) one for each clip, or (M,) one for each caption.

    Raises:
        InvalidInputError: fewer than two clips, a clip without captions, or rivals of a wrong
            shape.
    """
    clip_of = np.asarray(text_clip, np.int64)
    if len(audio) < 2 or len(np.unique(clip_of)) < len(audio):
        raise InvalidInputError(
            f"{len(audio)} clips, {len(np.unique(clip_of))} of them with captions; expected at "
            "least 2, all with captions"
        )
    items = _Items(audio, text, clip_of, by_clip)
    if rivals is not None and (rivals.ndim != 2 or len(rivals) != len(items.clip)):
        raise InvalidInputError(f"rivals is {rivals.shape}; expected ({len(items.clip)}, k)")
    rng = np.random.default_rng(seed)
    clips = np.sort(rng.permutation(len(audio))[:sample])
    others = np.sort(rng.permutation(len(items.clip))[:sample])
    every = np.arange(len(items.clip))
    centre = np.concatenate([items.mean_cost(clips, block) for block in _blocks(every)])
    own = items.own() - centre
    p = np.empty(len(own))
    for block in _blocks(every):
        against = others if rivals is None else rivals[block]
        null = items.costs(items.clip[block], against) - centre[against]
        foreign = items.clip[block][:, None] != items.clip[against]
        at_most = ((null <= own[block, None]) & foreign).sum(1)
        p[block] = (1 + at_most) / (1 + foreign.sum(1))
    return p


def nearest(vectors: npt.ArrayLike, k: int = RIVALS) -> Ints:
    """The k rows most alike each row, by inner product of unit vectors (n, d) -> (n, min(k, n-1)).

    A row is not its own neighbour. Memory is O(n (d + k)).
    """
    points = np.asarray(vectors, np.float32)
    k = min(k, len(points) - 1)
    found = np.empty((len(points), k), np.int64)
    for block in _blocks(np.arange(len(points))):
        alike = points[block] @ points.T
        alike[np.arange(len(block)), block] = -np.inf
        found[block] = np.argpartition(-alike, k - 1, axis=1)[:, :k]
    return np.sort(found, axis=1)


@dataclass(frozen=True, eq=False)
class _Items:
    """What is judged: the captions of each clip together, or each caption."""

    audio: Tensor
    text: Tensor
    clip_of: Ints
    by_clip: bool

    @property
    def clip(self) -> Ints:
        """The clip of each item."""
        return np.arange(len(self.audio)) if self.by_clip else self.clip_of

    def costs(self, clips: Ints, items: Ints) -> Floats:
        """Mean cost of an item's captions to a clip, (clips, n).

        ``items`` are n for all clips, (n,), or n for each, (clips, n).
        """
        if items.ndim == 2:  # one product with everything is faster than many small ones
            every = np.arange(len(self.clip))
            return np.take_along_axis(self.costs(clips, every), items, axis=1)
        if not self.by_clip:
            plain: Floats = torch.cdist(self.audio[clips], self.text[items]).double().numpy()
            return plain
        captions, starts, sizes = self._captions(items)
        distances = torch.cdist(self.audio[clips], self.text[captions]).numpy()
        return np.asarray(np.add.reduceat(distances, starts, axis=1) / sizes)

    def _captions(self, clips: Ints) -> tuple[Ints, Ints, Ints]:
        """The captions of clips, clip by clip; where each clip's begin, and how many it has."""
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

    def own(self) -> Floats:
        """The cost of each item to its own clip."""
        distances: Floats = (self.audio[self.clip_of] - self.text).norm(dim=1).double().numpy()
        if not self.by_clip:
            return distances
        return np.asarray(np.bincount(self.clip_of, distances) / self._counts)

    def mean_cost(self, clips: Ints, items: Ints) -> Floats:
        """Mean cost of each item over those clips that are not its own."""
        foreign = clips[:, None] != self.clip[items]
        total = (self.costs(clips, items) * foreign).sum(0)
        return np.asarray(total / np.maximum(1, foreign.sum(0)))


def _blocks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]
