"""Wrong captions on purpose: a subset of the training captions is deranged.

Deranged: the chosen captions are permuted among themselves so that none stays where it was. The
code released with the paper (arXiv 2405.10084) shuffles the first floor(share * n) captions among
themselves instead: some land where they were, so fewer are wrong than the share says, and which
ones can be wrong depends on the order of the file. Here exactly round(share * n) are wrong, drawn
at random, and their indices are recorded, so that detectors can be scored against them.

Captions exchanged at random are easy to tell from right ones. People err otherwise: they confuse
what is alike. So captions can also be exchanged among clips whose captions mean nearly the same
(`derange_near`), as far as clips of one class, where a wrong caption may be right, are kept apart.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from otomatch.datasets.derangement import Floats, Indices, NeighbourSwaps, random_derangement
from otomatch.errors import InvalidInputError

KINDS = ("clip", "caption", "similar")
NEAR = 50
"""Nearest positions among which the partner of a similar exchange is drawn."""

_STREAM = (0, 8)
"""Sets these draws apart from others of one seed: a run's batches must not follow its noise."""

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Corruption(Generic[T]):
    """Values, some of them in each other's places.

    Attributes:
        values: as many as were given, a permutation of them.
        indices: positions that hold another position's value, ascending.
        sources: for every position, the position its value comes from; its own where clean.
    """

    values: tuple[T, ...]
    indices: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CaptionNoise:
    """Captions of clips, some of them wrong.

    Attributes:
        captions: per clip, as many as the clip had.
        clips: rows of the clips with at least one wrong caption, ascending.
        indices: wrong captions, counted over all clips in order, ascending.
        sources: for every caption in that count, the caption it was.
    """

    captions: tuple[tuple[str, ...], ...]
    clips: tuple[int, ...]
    indices: tuple[int, ...]
    sources: tuple[int, ...]


def derange(
    values: Sequence[T], share: float, seed: int, groups: Sequence[Hashable] | None = None
) -> Corruption[T]:
    """Give a random subset of the positions the values of others in the subset.

    No chosen position keeps its own value. Nor does it get an equal one, or one of its own group,
    as long as no value equals, or shares its group with, more than half of those chosen.

    Args:
        values: (n,) hashable values.
        share: of the positions, 0 to 1; round(share * n) are chosen (halves up).
        seed: of the choice and the permutation, 0 or more.
        groups: (n,) the group of each value, e.g. the clip of each caption; None for none.

    Raises:
        InvalidInputError: ``share`` is not within 0 and 1, ``groups`` has another length, or
            ``share`` is above 0 but chooses fewer than two: one value alone cannot be deranged.
    """
    n = len(values)
    if groups is not None and len(groups) != n:
        raise InvalidInputError(f"expected {n} groups, one per value, got {len(groups)}")
    rng = np.random.default_rng([_checked(seed), *_STREAM])
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
    """Exchange values among near positions.

    Positions come in random order. Each swaps its value with that of a partner, drawn from the
    ``near`` nearest that have not changed yet, hold another value and are of another group; where
    so few are left, from all of them. One that makes the number odd, or finds no partner, joins a
    pair near to it, and the three pass their values round. Memory is O(n d).

    Args:
        values: (n,) hashable values.
        vectors: (n, d) unit vectors; near is what has a large inner product.
        share: of the positions, 0 to 1; exactly round(share * n) change (halves up).
        seed: of all that is drawn, 0 or more.
        groups: (n,) the group of each position; one whose group is None is in none.
        near: how many nearest ones a partner is drawn from, 1 or more.

    Raises:
        InvalidInputError: as for `derange`; ``vectors`` are not n rows of finite numbers, ``near``
            is less than 1, or so many positions cannot all get another value of another group, as
            where one group holds more than half of them.
    """
    n = len(values)
    points = _points(vectors, n)
    if near < 1:
        raise InvalidInputError(f"near is {near}; expected 1 or more")
    if groups is not None and len(groups) != n:
        raise InvalidInputError(f"expected {n} groups, one per value, got {len(groups)}")
    named = [object() if group is None else group for group in groups or [None] * n]
    rng = np.random.default_rng([_checked(seed), *_STREAM])
    count = _count(n, share)
    exchange = NeighbourSwaps(points, [_keys(values), _keys(named)], near, rng)
    exchange.pair_off(count // 2)
    while exchange.changed < count:
        if not exchange.insert():
            raise InvalidInputError(
                f"a share of {share} of {n} is {count}, but after {exchange.changed} no other can "
                "be given another value of another group; use a smaller share, or no groups"
            )
    return _corruption(values, exchange.sources)


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
        captions: the captions of each of n clips.
        share: of the clips or of the captions that go wrong, 0 to 1; see `derange`.
        seed: 0 or more.
        kind: ``clip``: a wrong clip has all captions of another clip (their number moves along);
            ``caption``: captions go wrong one by one, and each clip keeps its number;
            ``similar``: as ``clip``, but of a clip with captions of nearly the same meaning, and of
            another label where both have one; see `derange_near`.
        vectors: (n, d) unit vectors of what the captions of each clip mean; only for ``similar``.
        labels: (n,) class of each clip, None where unknown; only for ``similar``.

    Raises:
        InvalidInputError: an unknown kind, ``similar`` without vectors, or as for `derange` and
            `derange_near`.
    """
    if kind not in KINDS:
        raise InvalidInputError(f"unknown kind of noise {kind!r}; expected one of {KINDS}")
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
    """For every clip, the clip whose captions it has."""
    if kind == "clip":
        return derange(owned, share, seed).sources
    if vectors is None:
        raise InvalidInputError("noise of kind 'similar' needs the vectors of the clips; got none")
    # The same captions in another order are no wrong captions.
    meanings = [frozenset(group) for group in owned]
    return derange_near(meanings, vectors, share, seed, labels).sources


def _corruption(values: Sequence[T], sources: Indices) -> Corruption[T]:
    return Corruption(
        tuple(values[row] for row in sources.tolist()),
        tuple(np.flatnonzero(sources != np.arange(len(sources))).tolist()),
        tuple(sources.tolist()),
    )


def _points(vectors: npt.ArrayLike, n: int) -> Floats:
    # In float64, rounding decides no neighbour, so that a seed gives the same on every processor.
    points = np.asarray(vectors, np.float64)
    if points.ndim != 2 or len(points) != n or not np.isfinite(points).all():
        raise InvalidInputError(
            f"vectors have shape {points.shape}; expected {n} rows, one per value, all finite"
        )
    return points


def _count(n: int, share: float) -> int:
    if not 0 <= share <= 1:
        raise InvalidInputError(f"the share of wrong captions must be within 0 and 1, got {share}")
    count = int(share * n + 0.5)
    if share > 0 and count < 2:
        raise InvalidInputError(
            f"a share of {share} of {n} is {count}, and fewer than two cannot be deranged; "
            "use a larger share, or 0 for no noise"
        )
    return count


def _checked(seed: int) -> int:
    if seed < 0:
        raise InvalidInputError(f"the seed must not be negative, got {seed}")
    return seed


def _keys(values: Iterable[Hashable]) -> Indices:
    """A number for each value, the same for equal values."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
