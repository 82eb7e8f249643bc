"""Eigenvalues of a ground metric's matrix M, and its effective rank."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def eigenvalues(matrix: Tensor) -> Tensor:
    """Return the eigenvalues of a symmetric matrix (D, D) in descending order.

    Returns:
        Tensor of shape (D,), float64, on the CPU.
    """
    values: Tensor = torch.linalg.eigvalsh(matrix.double().cpu())
    return values.flip(0)


def effective_rank(values: Tensor) -> float:
    """Return the exponential of the entropy of the normalised eigenvalues.

    See Roy and Vetterli, The effective rank: A measure of effective dimensionality, 2007.

    Args:
        values: Eigenvalues (D,), in any order. Negative ones, which rounding leaves, count as 0.

    Returns:
        Number from 1 to D, or 0 if no eigenvalue is positive.
    """
    positive = values[values > 0].double()
    if not len(positive):
        return 0.0
    shares = positive / positive.sum()
    return math.exp(-torch.xlogy(shares, shares).sum().item())
