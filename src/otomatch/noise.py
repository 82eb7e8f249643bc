"""Wrong captions on purpose: a random subset of the training captions is deranged.

Deranged: the chosen captions are permuted among themselves so that none stays where it was. The
code released with the paper (arXiv 2405.10084) shuffles the first floor(share * n) captions among
themselves instead: some land where they were, so fewer are wrong than the share says, and which
ones can be wrong depends on the order of the file. Here exactly round(share * n) are wrong, drawn
at random, and their indices are recorded, so that detectors can be scored against them.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from otomatch.errors import InvalidInputError

KINDS = ("clip", "caption")

T = TypeVar("T", bound=Hashable)
_Indices = npt.NDArray[np.int64]


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
    rng = np.random.default_rng(_checked(seed))
    chosen = np.sort(rng.permutation(n)[: _count(n, share)])
    keys = [_keys(values), _keys(range(n) if groups is None else groups)]
    moved = _permutation([key[chosen] for key in keys], rng)
    sources = np.arange(n)
    sources[chosen] = chosen[moved]
    return Corruption(
        tuple(values[row] for row in sources.tolist()),
        tuple(chosen.tolist()),
        tuple(sources.tolist()),
    )


def corrupt(
    captions: Sequence[Sequence[str]], share: float, seed: int, kind: str = "clip"
) -> CaptionNoise:
    """Give some clips the captions of others.

    Args:
        captions: the captions of each clip.
        share: of the clips or of the captions that go wrong, 0 to 1; see `derange`.
        seed: 0 or more.
        kind: ``clip``: a wrong clip has all captions of another clip (their number moves along);
            ``caption``: captions go wrong one by one, and each clip keeps its number.

    Raises:
        InvalidInputError: an unknown kind, or as for `derange`.
    """
    if kind not in KINDS:
        raise InvalidInputError(f"unknown kind of noise {kind!r}; expected one of {KINDS}")
    owned = [tuple(group) for group in captions]
    texts = [text for group in owned for text in group]
    first = np.cumsum([0, *map(len, owned)]).tolist()
    if kind == "clip":
        moved = derange(owned, share, seed)
        blocks = [list(range(first[row], first[row + 1])) for row in moved.sources]
        wrong = [[row != at] * len(owned[row]) for at, row in enumerate(moved.sources)]
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


def _keys(values: Iterable[Hashable]) -> _Indices:
    """A number for each value, the same for equal values."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _permutation(keys: list[_Indices], rng: np.random.Generator) -> _Indices:
    """A permutation without fixed points that avoids equal keys: position -> source.

    It starts as one cycle in random order, which has no fixed point. A conflicting position then
    swaps its source with one that suits both, so no swap makes a new conflict. If no value
    conflicts with more than half of all, itself counted, such a partner exists: the positions
    that cannot take this source and those whose source it cannot take both hold the position
    itself, so together they are fewer than all.
    """
    count = len(keys[0])
    order = rng.permutation(count)
    moved = np.empty(count, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    for at in range(count):
        if any(key[at] == key[moved[at]] for key in keys):
            suits = np.ones(count, dtype=bool)
            for key in keys:
                suits &= (key[moved] != key[at]) & (key != key[moved[at]])
            partners = np.flatnonzero(suits)
            if partners.size:
                other = rng.choice(partners)
                moved[[at, other]] = moved[[other, at]]
    return moved
