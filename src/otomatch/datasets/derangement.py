"""Permutations that leave nothing in its place and avoid equal keys: at random, or among near ones.

Keys are whole numbers, one array (n,) for each reason why one position may not take another's
value: two positions suit each other if they differ in every key.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 64  # rows of inner products held at once


def random_derangement(keys: Sequence[Indices], rng: np.random.Generator) -> Indices:
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


class NeighbourSwaps:
    """A permutation that grows by swaps among near positions.

    Args:
        points: (n, d); near is what has a large inner product.
        keys: arrays (n,). A position does not suit itself, as its keys are equal.
        near: a partner is drawn from so many nearest ones.
        rng: draws the order of the positions, and their partners.

    Attributes:
        sources: (n,) position -> source, itself where unchanged.
        unchanged: (n,) whether a position keeps its own value.
    """

    def __init__(
        self, points: Floats, keys: Sequence[Indices], near: int, rng: np.random.Generator
    ) -> None:
        self.points, self.keys, self.near, self.rng = points, keys, near, rng
        self.sources = np.arange(len(points))
        self.unchanged = np.ones(len(points), dtype=bool)
        self.order = rng.permutation(len(points))

    @property
    def changed(self) -> int:
        """How many positions hold another's value."""
        return int(np.count_nonzero(~self.unchanged))

    def pair_off(self, pairs: int) -> None:
        """Swap the values of so many pairs, or of as many as there are."""
        for start in range(0, len(self.order), _BLOCK):
            block = self.order[start : start + _BLOCK]
            block = block[self.unchanged[block]]
            for at, likeness in zip(block, self.points[block] @ self.points.T, strict=True):
                if pairs == 0:
                    return
                partners = np.flatnonzero(self.unchanged & self._suits(at, slice(None)))
                if self.unchanged[at] and partners.size:
                    other = self._draw(partners, likeness[partners])
                    self.sources[[at, other]] = other, at
                    self.unchanged[[at, other]] = False
                    pairs -= 1

    def insert(self) -> bool:
        """Let one more position take a source from a changed one, and be its source instead."""
        for at in self.order[self.unchanged[self.order]]:
            changed = np.flatnonzero(~self.unchanged)
            suits = self._suits(at, changed) & self._suits(at, self.sources[changed])
            holders = changed[suits]
            if holders.size:
                likeness = self.points @ self.points[at]
                holder = self._draw(holders, likeness[holders] + likeness[self.sources[holders]])
                self.sources[[at, holder]] = self.sources[holder], at
                self.unchanged[at] = False
                return True
        return False

    def _suits(self, at: np.int64, others: Indices | slice) -> npt.NDArray[np.bool_]:
        suits = np.ones(len(self.sources), dtype=bool)[others]
        for key in self.keys:
            suits &= key[others] != key[at]
        return suits

    def _draw(self, positions: Indices, likeness: Floats) -> np.int64:
        """One of the nearest."""
        if len(positions) > self.near:
            positions = positions[np.argpartition(-likeness, self.near)[: self.near]]
        drawn: np.int64 = self.rng.choice(positions)
        return drawn
