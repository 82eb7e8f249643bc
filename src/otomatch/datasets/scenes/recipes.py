"""Choose the kinds and classes of the scenes to compose, balanced over classes and pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations

import numpy as np

from otomatch.errors import InvalidInputError

PairRule = Callable[[str, str], bool]
"""Function that returns True if two classes, in either order, may occur in one scene."""

SINGLE_SHARE = 0.1
"""Share of random scenes with a single sound; of all combinations of ten classes, it is 5 %."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Kind and classes of a scene.

    Attributes:
        kind: ``single``, ``sequence`` (the first, then the second) or ``overlap`` (the first over
            the second).
        labels: One or two class names, in the order of their role.
    """

    kind: str
    labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of the combination, such as ``dog, then rain``."""
        joint = {"single": "", "sequence": ", then ", "overlap": " over "}[self.kind]
        return joint.join(self.labels)


def any_pair(first: str, second: str) -> bool:  # noqa: ARG001
    """Allow every pair of classes."""
    return True


def every_recipe(labels: Sequence[str], allowed: PairRule = any_pair) -> list[Recipe]:
    """Return every combination of classes once.

    With n classes and all pairs allowed, these are n singles, n(n-1) sequences and n(n-1) overlaps.
    """
    pairs = [pair for pair in permutations(labels, 2) if allowed(*pair)]
    return [
        *(Recipe("single", (label,)) for label in labels),
        *(Recipe("sequence", pair) for pair in pairs),
        *(Recipe("overlap", pair) for pair in pairs),
    ]


def random_recipes(
    labels: Sequence[str], clips: int, rng: np.random.Generator, allowed: PairRule = any_pair
) -> list[Recipe]:
    """Return random scenes: a tenth singles, and of the rest half sequences and half overlaps.

    All classes are equally frequent in each role, and so are all pairs, up to a remainder. With one
    class, or if no pair is allowed, all scenes are singles.

    Args:
        labels: Class names, at least one.
        clips: Number of scenes.
        rng: Random generator.
        allowed: Function that returns True if two classes may occur in one scene.

    Raises:
        InvalidInputError: There is no class.
    """
    if not labels:
        raise InvalidInputError("there is no class of sounds; expected at least one")
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
    """Yield ordered pairs endlessly, each once before any occurs twice.

    In a random order of the n classes, a shift s pairs the class at i with the class at i + s, so
    that every class is first once and second once. The n - 1 shifts give every pair once.
    """
    n = len(labels)
    while True:
        order = rng.permutation(n)
        for shift in 1 + rng.permutation(n - 1):
            for i in range(n):
                pair = labels[order[i]], labels[order[(i + shift) % n]]
                if allowed(*pair):
                    yield pair
