"""A relevance that means the same across queries.

Each window keeps mean and spread of its distances to reference descriptions. The relevance of a
sound to a query is the share of descriptions that fit the sound less well than the query does,
under a normal distribution.
"""

from importlib import resources

import torch
from torch import Tensor


def reference_descriptions() -> list[str]:
    """Descriptions of sounds of all kinds."""
    text = (resources.files("otomatch.library") / "descriptions.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line]


def reference_statistics(vectors: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each vector's distances to references.

    Args:
        vectors: whitened windows, (n, D).
        references: whitened descriptions, (m, D).

    Returns:
        Two tensors of shape (n,).
    """
    distances = torch.cdist(vectors, references)
    return distances.mean(dim=1), distances.std(dim=1).clamp_min(1e-6)


def relevance(distance: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Share of the reference descriptions that are farther from a window than ``distance``."""
    share: Tensor = torch.special.ndtr((mean - distance) / std)
    return share
