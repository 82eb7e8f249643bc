"""Which scenes to compose: kinds and classes, balanced, before any sound is chosen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations

import numpy as np

from otomatch.errors import InvalidInputError

# Whether two classes, in either order, may meet in a scene.
PairRule = Callable[[str, str], bool]

SINGLE_SHARE = 0.1  # near the 5 % of singles among all combinations of ten classes


@dataclass(frozen=True, slots=True)
class Recipe:
    """One scene to be: its kind and one or two class names.

    Attributes:
        kind: ``single``, ``sequence`` (first, then second) or ``overlap`` (first over second).
        labels: in the order of their role.
    """

    kind: str
    labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """A name for the combination, like ``dog, then rain``."""
        joint = {"single": "", "sequence": ", then ", "overlap": " over "}[self.kind]
        return joint.join(self.labels)


def any_pair(first: str, second: str) -> bool:  # noqa: ARG001
    """The rule that lets every class meet every other."""
    return True


def every_recipe(labels: Sequence[str], allowed: PairRule = any_pair) -> list[Recipe]:
    """All combinations once: n singles, n(n-1) sequences and n(n-1) overlaps if all pairs meet."""
    pairs = [pair for pair in permutations(labels, 2) if allowed(*pair)]
    return [
        *(Recipe("single", (label,)) for label in labels),
        *(Recipe("sequence", pair) for pair in pairs),
        *(Recipe("overlap", pair) for pair in pairs),
    ]


def random_recipes(
    labels: Sequence[str], clips: int, rng: np.random.Generator, allowed: PairRule = any_pair
) -> list[Recipe]:
    """``clips`` scenes in random order: a tenth singles, the rest half sequences, half overlaps.

    Every class is as frequent as every other in each role, and every pair as every other, up to
    the remainder. With one class, or no pair allowed, all scenes are singles.
    """
    if not labels:
        raise InvalidInputError("scenes need at least one class")
    alone = not any(allowed(*pair) for pair in permutations(labels, 2))
    singles = clips if alone else round(SINGLE_SHARE * clips)
    sequences = (clips - singles + 1) // 2
    overlaps = clips - singles - sequences
    recipes = [
        *(Recipe("single", (label,)) for label in islice(_singles(labels, rng), singles)),
        *(Recipe("sequence", p) for p in islice(_pairs(labels, rng, allowed), sequences)),
        *(Recipe("overlap", p) for p in islice(_pairs(labels, rng, allowed), overlaps)),
    ]
    return [recipes[row] for row in rng.permutation(len(recipes))]


def _singles(labels: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from (labels[row] for row in rng.permutation(len(labels)))


def _pairs(
    labels: Sequence[str], rng: np.random.Generator, allowed: PairRule
) -> Iterator[tuple[str, str]]:
    """Ordered pairs without end; each is drawn once before any is drawn twice.

    In a random order of the n classes, one shift s pairs the class at i with the class at i + s:
    every class is first once and second once; the n - 1 shifts give every pair once.
    """
    n = len(labels)
    while True:
        order = rng.permutation(n)
        for shift in 1 + rng.permutation(n - 1):
            for i in range(n):
                pair = labels[order[i]], labels[order[(i + shift) % n]]
                if allowed(*pair):
                    yield pair
