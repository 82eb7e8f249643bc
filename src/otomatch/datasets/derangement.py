"""Permutations without fixed points that avoid equal keys: at random, or among near neighbours.

Keys are integer arrays of shape (n,), one for each reason why a position must not take the value of
another. Two positions are compatible if they differ in every key.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 64  # rows of inner products in memory at once


def random_derangement(keys: Sequence[Indices], rng: np.random.Generator) -> Indices:
    """Return a random permutation without fixed points that avoids equal keys.

    It starts as one cycle in random order, which has no fixed point. Each position in conflict then
    swaps its source with a position such that both sources are compatible, so no swap creates a new
    conflict. If no value conflicts with more than half of all values, itself included, such a
    partner exists: the positions that cannot take this source, and the positions whose source this
    one cannot take, both include the position itself, so together they are fewer than all.

    Args:
        keys: Integer arrays, shape (n,) each.
        rng: Random generator.

    Returns:
        Source of each position, shape (n,).
    """
    count = len(keys[0])
    order = rng.permutation(count)
    moved = np.empty(count, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    for at in range(count):
        if any(key[at] == key[moved[at]] for key in keys):
            compatible = np.ones(count, dtype=bool)
            for key in keys:
                compatible &= (key[moved] != key[at]) & (key != key[moved[at]])
            partners = np.flatnonzero(compatible)
            if partners.size:
                other = rng.choice(partners)
                moved[[at, other]] = moved[[other, at]]
    return moved


class NeighbourSwaps:
    """Permutation that grows by swaps between neighbours.

    Args:
        points: Points, shape (n, d); neighbours have a large inner product.
        keys: Integer arrays, shape (n,) each. A position is never compatible with itself.
        near: Number of nearest compatible positions from which a partner is drawn.
        rng: Random generator for the order of the positions and for their partners.

    Attributes:
        sources: Source of each position, shape (n,); its own index if unchanged.
        unchanged: True for positions that keep their own value, shape (n,).
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
        """Number of positions that have the value of another."""
        return int(np.count_nonzero(~self.unchanged))

    def swap(self, pairs: int) -> None:
        """Swap the values of ``pairs`` pairs of unchanged positions, or of as many as exist."""
        for start in range(0, len(self.order), _BLOCK):
            block = self.order[start : start + _BLOCK]
            block = block[self.unchanged[block]]
            for at, similarity in zip(block, self.points[block] @ self.points.T, strict=True):
                if pairs == 0:
                    return
                partners = np.flatnonzero(self.unchanged & self._compatible(at, slice(None)))
                if self.unchanged[at] and partners.size:
                    other = self._draw(partners, similarity[partners])
                    self.sources[[at, other]] = other, at
                    self.unchanged[[at, other]] = False
                    pairs -= 1

    def insert(self) -> bool:
        """Insert one unchanged position into the cycle of a changed one; return False if none fits.

        It takes over the source of the changed position and becomes its source.
        """
        for at in self.order[self.unchanged[self.order]]:
            changed = np.flatnonzero(~self.unchanged)
            fits = self._compatible(at, changed) & self._compatible(at, self.sources[changed])
            holders = changed[fits]
            if holders.size:
                similarity = self.points @ self.points[at]
                holder = self._draw(
                    holders, similarity[holders] + similarity[self.sources[holders]]
                )
                self.sources[[at, holder]] = self.sources[holder], at
                self.unchanged[at] = False
                return True
        return False

    def _compatible(self, at: np.int64, others: Indices | slice) -> npt.NDArray[np.bool_]:
        compatible = np.ones(len(self.sources), dtype=bool)[others]
        for key in self.keys:
            compatible &= key[others] != key[at]
        return compatible

    def _draw(self, positions: Indices, similarity: Floats) -> np.int64:
        """Draw one of the nearest positions."""
        if len(positions) > self.near:
            positions = positions[np.argpartition(-similarity, self.near)[: self.near]]
        drawn: np.int64 = self.rng.choice(positions)
        return drawn
