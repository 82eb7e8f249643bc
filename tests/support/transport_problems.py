"""Transport problems that the tests of solvers share."""

import torch

from otomatch import partial_sinkhorn, sinkhorn

EXACT = {"tolerance": 1e-13, "max_iterations": 5000}
"""Limits for comparisons to 1e-8 and below."""


def problem(n=9, m=7, seed=0):
    """Return a cost matrix in [0, 1] and uneven weights, float64."""
    random = torch.Generator().manual_seed(seed)
    cost = torch.rand(n, m, generator=random, dtype=torch.float64)
    a = torch.rand(n, generator=random, dtype=torch.float64) + 0.1
    b = torch.rand(m, generator=random, dtype=torch.float64) + 0.1
    return cost, a / a.sum(), b / b.sum()


def solve(cost, epsilon, mass, *weights, **limits):
    if mass is None:
        return sinkhorn(cost, epsilon, *weights, **limits)
    return partial_sinkhorn(cost, epsilon, mass, *weights, **limits)
