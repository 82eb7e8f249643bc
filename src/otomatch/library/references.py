"""Reference descriptions, to which the distances of windows and queries are compared."""

from importlib import resources

import torch
from torch import Tensor

_MIN_STD = 1e-6


def reference_descriptions() -> list[str]:
    """Return descriptions of sounds of all kinds."""
    text = (resources.files("otomatch.library") / "descriptions.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line]


def reference_statistics(vectors: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each vector's distances to the references.

    Args:
        vectors: Whitened vectors of windows, (n, D).
        references: Whitened vectors of the reference descriptions, (m, D).

    Returns:
        Two tensors of shape (n,).
    """
    distances = torch.cdist(vectors, references)
    return distances.mean(dim=1), distances.std(dim=1).clamp_min(_MIN_STD)
