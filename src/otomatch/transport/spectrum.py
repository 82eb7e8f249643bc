"""Eigenvalues of a ground metric's matrix M, and their effective rank."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues of a metric's M (D, D), largest first: (D,), float64, on the CPU."""
    values: Tensor = torch.linalg.eigvalsh(matrix.double().cpu())
    return values.flip(0)


def effective_rank(values: Tensor) -> float:
    """Exp of the entropy of the eigenvalues' shares, 1 to D; 0 where none is positive.

    Roy and Vetterli, The effective rank, 2007.

    Args:
        values: (D,), in any order; negative ones, which rounding leaves, count as 0.
    """
    positive = values[values > 0].double()
    if not len(positive):
        return 0.0
    shares = positive / positive.sum()
    return math.exp(-torch.xlogy(shares, shares).sum().item())


def spectrum(values: Tensor) -> dict[str, float]:
    """What a row of the log says of M's eigenvalues, largest first, (D,)."""
    return {
        "metric_smallest": values[-1].item(),
        "metric_largest": values[0].item(),
        "metric_rank": effective_rank(values),
    }
