"""Caption noise: give a random subset of the training clips the captions of other clips.

The chosen captions are deranged, that is, permuted among themselves so that none stays in its
place. Exactly round(share * n) are mismatched, drawn at random, and their indices are recorded, so
that methods that detect them can be scored. The code released with the paper (arXiv 2405.10084)
shuffles the first floor(share * n) captions among themselves instead: some stay in place, so fewer
are mismatched than the share says, and which ones depends on the order of the file.

Captions exchanged at random are easy to tell from the originals. People make other mistakes: they
confuse what is alike. So captions can also be exchanged between clips whose captions mean nearly
the same (`derange_near`), but not between clips of one class, where they may well be correct.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from otomatch.datasets.derangement import Floats, Indices, NeighbourSwaps, random_derangement
from otomatch.errors import InvalidInputError, at_least, one_of

KINDS = ("clip", "caption", "similar")
"""Kinds of caption noise, see `add_caption_noise`."""

NEAR = 50
"""Number of nearest clips from which the partner of a similar exchange is drawn."""

# Random stream of the noise, independent of a run's batches with the same seed.
_STREAM = (0, 8)

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Corruption(Generic[T]):
    """Permutation of values that leaves some in place.

    Attributes:
        values: Permuted values, as many as were given.
        indices: Positions that have the value of another position, ascending.
        sources: Original position of the value at each position; its own index if it did not move.
    """

    values: tuple[T, ...]
    indices: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CaptionNoise:
    """Captions of clips, some of them mismatched.

    Attributes:
        captions: Captions of each clip after the exchange.
        clips: Indices of the clips with at least one mismatched caption, ascending.
        indices: Indices of the mismatched captions among all captions in order, ascending.
        sources: Index of each caption before the exchange, among all captions in order.
    """

    captions: tuple[tuple[str, ...], ...]
    clips: tuple[int, ...]
    indices: tuple[int, ...]
    sources: tuple[int, ...]


def derange(
    values: Sequence[T], share: float, seed: int, groups: Sequence[Hashable] | None = None
) -> Corruption[T]:
    """Permute the values of a random subset of the positions so that none keeps its own.

    A position also gets neither an equal value nor one of its own group, as long as no value equals
    or shares a group with more than half of the chosen ones.

    Args:
        values: Hashable values, length n.
        share: Share of the positions that change, 0 to 1; exactly round(share * n), halves up.
        seed: Random seed for the choice and the permutation, 0 or more.
        groups: Group of each value, length n, for example the clip of each caption; None if there
            are no groups.

    Raises:
        InvalidInputError: ``share`` is not between 0 and 1, or is positive but chooses fewer than
            two positions; ``groups`` has another length; or ``seed`` is negative.
    """
    n = len(values)
    if groups is not None and len(groups) != n:
        raise InvalidInputError(f"expected {n} groups, one per value, got {len(groups)}")
    rng = np.random.default_rng([at_least("seed", seed, 0), *_STREAM])
    chosen = np.sort(rng.permutation(n)[: _count(n, share)])
    keys = [_keys(values), _keys(range(n) if groups is None else groups)]
    moved = random_derangement([key[chosen] for key in keys], rng)
    sources = np.arange(n)
    sources[chosen] = chosen[moved]
    return _corruption(values, sources)


def derange_near(
    values: Sequence[T],
    vectors: npt.ArrayLike,
    share: float,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    near: int = NEAR,
) -> Corruption[T]:
    """Exchange values between near positions.

    In random order, each position swaps its value with a partner drawn from the ``near`` nearest
    positions that are unchanged, have another value and belong to another group. An odd position,
    or one that finds no partner, joins a pair near to it, and the three pass their values round.
    Memory is O(n d).

    Args:
        values: Hashable values, length n.
        vectors: Unit vectors, shape (n, d); near positions have a large inner product.
        share: Share of the positions that change, 0 to 1; exactly round(share * n), halves up.
        seed: Random seed for the order and the partners, 0 or more.
        groups: Group of each position, length n; a position with the group None has no group.
        near: Number of nearest positions from which a partner is drawn, 1 or more.

    Raises:
        InvalidInputError: As for `derange`; ``vectors`` is not n rows of finite numbers; ``near``
            is less than 1; or the positions cannot all get another value of another group, for
            example because one group has more than half of them.
    """
    n = len(values)
    points = _points(vectors, n)
    at_least("near", near, 1)
    if groups is not None and len(groups) != n:
        raise InvalidInputError(f"expected {n} groups, one per value, got {len(groups)}")
    named = [object() if group is None else group for group in groups or [None] * n]
    rng = np.random.default_rng([at_least("seed", seed, 0), *_STREAM])
    count = _count(n, share)
    swaps = NeighbourSwaps(points, [_keys(values), _keys(named)], near, rng)
    swaps.swap(count // 2)
    while swaps.changed < count:
        if not swaps.insert():
            raise InvalidInputError(
                f"a share of {share} of {n} is {count}, but after {swaps.changed} no other can get "
                "another value of another group; use a smaller share, or no groups"
            )
    return _corruption(values, swaps.sources)


def add_caption_noise(
    captions: Sequence[Sequence[str]],
    share: float,
    seed: int,
    kind: str = "clip",
    vectors: npt.ArrayLike | None = None,
    labels: Sequence[str | None] | None = None,
) -> CaptionNoise:
    """Give some clips the captions of others.

    Args:
        captions: Captions of each of n clips.
        share: Share of the clips, or of the captions, that become mismatched, 0 to 1.
        seed: Random seed, 0 or more.
        kind: ``clip`` exchanges all captions of a clip with those of another clip; ``caption``
            exchanges captions one by one, and each clip keeps their number; ``similar`` is like
            ``clip``, but between clips whose captions mean nearly the same and whose labels differ
            (if both have one).
        vectors: Unit vectors of the meaning of each clip's captions, shape (n, d); only for
            ``similar``.
        labels: Class of each clip, length n, None if unknown; only for ``similar``.

    Raises:
        InvalidInputError: ``kind`` is unknown, ``vectors`` is missing for ``similar``, or as for
            `derange` and `derange_near`.
    """
    one_of("the kind of caption noise", kind, KINDS)
    owned = [tuple(group) for group in captions]
    texts = [text for group in owned for text in group]
    first = np.cumsum([0, *map(len, owned)]).tolist()
    if kind != "caption":
        moved = _moved_clips(owned, share, seed, kind, vectors, labels)
        blocks = [list(range(first[row], first[row + 1])) for row in moved]
        wrong = [[row != at] * len(owned[row]) for at, row in enumerate(moved)]
    else:
        clip_of = [row for row, group in enumerate(owned) for _ in group]
        sources = derange(texts, share, seed, clip_of).sources
        blocks = [list(sources[start:end]) for start, end in pairwise(first)]
        wrong = [
            [row != at for at, row in enumerate(b, s)] for b, s in zip(blocks, first, strict=False)
        ]
    flags = [flag for block in wrong for flag in block]
    return CaptionNoise(
        captions=tuple(tuple(texts[row] for row in block) for block in blocks),
        clips=tuple(row for row, block in enumerate(wrong) if any(block)),
        indices=tuple(at for at, flag in enumerate(flags) if flag),
        sources=tuple(row for block in blocks for row in block),
    )


def _moved_clips(
    owned: Sequence[tuple[str, ...]],
    share: float,
    seed: int,
    kind: str,
    vectors: npt.ArrayLike | None,
    labels: Sequence[str | None] | None,
) -> tuple[int, ...]:
    """Return, for each clip, the index of the clip whose captions it gets."""
    if kind == "clip":
        return derange(owned, share, seed).sources
    if vectors is None:
        raise InvalidInputError("noise of kind 'similar' needs the vectors of the clips, got none")
    # The same captions in another order are not mismatched.
    meanings = [frozenset(group) for group in owned]
    return derange_near(meanings, vectors, share, seed, labels).sources


def _corruption(values: Sequence[T], sources: Indices) -> Corruption[T]:
    return Corruption(
        tuple(values[row] for row in sources.tolist()),
        tuple(np.flatnonzero(sources != np.arange(len(sources))).tolist()),
        tuple(sources.tolist()),
    )


def _points(vectors: npt.ArrayLike, n: int) -> Floats:
    # In float64, rounding does not change neighbours, so a seed gives the same noise everywhere.
    points = np.asarray(vectors, np.float64)
    if points.ndim != 2 or len(points) != n or not np.isfinite(points).all():
        raise InvalidInputError(
            f"vectors have shape {points.shape}; expected {n} rows, one per value, all finite"
        )
    return points


def _count(n: int, share: float) -> int:
    if not 0 <= share <= 1:
        raise InvalidInputError(f"the share of mismatched captions is {share}; expected 0 to 1")
    count = int(share * n + 0.5)
    if share > 0 and count < 2:
        raise InvalidInputError(
            f"a share of {share} of {n} is {count}, but at least two are needed for an exchange; "
            "use a larger share, or 0 for no noise"
        )
    return count


def _keys(values: Iterable[Hashable]) -> Indices:
    """Number the values; equal values get the same number."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
