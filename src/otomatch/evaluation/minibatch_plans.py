"""Approximation of the transport plan of a whole set by the plans of mini-batches.

N pairs have a plan P between all clips and all captions. Training never computes it: each step
solves for the plan of a batch of b pairs alone. Two errors describe the difference.

- Error of one step: the batch's plan Q replaces P_b, which is P restricted to the batch's rows and
  columns and scaled to mass 1. The error is KL(P_b || Q). It is not 0 even for exact solvers,
  because Q has uniform marginals and P_b in general does not.
- Error of many steps: the plans of a partition into batches, placed side by side and averaged over
  partitions, are the mini-batch estimate A of P (Fatras et al., Learning with minibatch
  Wasserstein, AISTATS 2020, arXiv 1910.04091; Nguyen et al., Improving mini-batch optimal transport
  via partial transportation, ICML 2022, arXiv 2108.09645). The error is KL(A || P). As in training,
  clips enter a batch with their captions, so A does not converge to P with the number of
  partitions: it has too much mass on the pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, at_least, one_of
from otomatch.evaluation.ranks import blocks
from otomatch.transport.dual_ascent import to_float64
from otomatch.transport.solvers import Plan, sinkhorn

_ROWS = 1024


@dataclass(frozen=True)
class PlanApproximation:
    """Errors of the plans of batches relative to the plan of the whole set.

    Attributes:
        restricted: KL(P_b || Q) in nats, >= 0, from the whole plan on a batch, scaled to mass 1, to
            the batch's own plan; mean over the batches of all partitions.
        averaged: KL(A || P) in nats, >= 0, from the batches' plans, averaged over partitions and of
            total mass 1, to the whole plan. It falls with the number of partitions, so compare
            values for equally many.
        outside: Share of P's mass in a batch's rows that lies in columns outside the batch, 0 to 1,
            averaged over all possible partitions (not only those sampled):
            (1 - D) (N - b)/(N - 1), where D is the share of P on the pairs themselves.
        batches: Number of batches in a partition.
        converged: True if every plan reached the tolerance.
    """

    restricted: float
    averaged: float
    outside: float
    batches: int
    converged: bool


def plan_approximation(
    cost: Tensor,
    epsilon: float,
    batch: int,
    partitions: int = 10,
    seed: int = 0,
    scale: str = "full",
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> PlanApproximation:
    """Compare the plan of N pairs with the plans of random batches of b pairs.

    For b = N all three errors are 0 (``averaged`` up to rounding). Solved in float64. Memory is
    about six (N, N) matrices in float64, whatever the number of partitions.

    Args:
        cost: Cost (N, N) of each clip with each caption, finite, pairs on the diagonal.
        epsilon: Strength of the entropic regularisation, > 0, in units of ``cost``.
        batch: Batch size b, 1 to N. If it does not divide N, each partition leaves out a different
            random remainder of less than b pairs.
        partitions: Number of random partitions, >= 1.
        seed: Random seed of the partitions.
        scale: "full" uses the costs of the whole set in each batch, so that epsilon means the same
            in both. "batch" scales each batch to the largest entry of the whole set; if ``cost`` is
            divided by that entry, this is what ``MatchingLoss(scale="max")`` does in training.
            ``cost`` must then be >= 0.
        tolerance: Tolerance of `otomatch.transport.sinkhorn`.
        max_iterations: Maximum number of iterations of `otomatch.transport.sinkhorn`.

    Raises:
        InvalidInputError: If an argument has a wrong shape or value; the message quotes it.
    """
    _check(cost, batch, partitions, scale)
    cost = to_float64(cost.detach())
    limits = (epsilon, None, None, tolerance, max_iterations)
    full = sinkhorn(cost, *limits)
    largest = cost.amax() if scale == "batch" else None
    mean = torch.zeros_like(cost)
    errors, converged = [], full.converged
    count = len(cost) // batch
    for rows in _batches(len(cost), batch, partitions, seed):
        block = (rows[:, None], rows)
        plan = sinkhorn(_scaled(cost[block], largest), *limits)
        errors.append(_divergence(_normalised(full.log_plan[block]), _normalised(plan.log_plan)))
        mean[block] += plan.plan / (count * partitions)
        converged = converged and plan.converged
    restricted, averaged = float(np.mean(errors)), _excess(mean, full)
    return PlanApproximation(restricted, averaged, _outside(full, batch), count, converged)


def _batches(total: int, size: int, partitions: int, seed: int) -> Iterator[Tensor]:
    """Yield the sorted rows of each batch, so that a batch of all rows is the same problem."""
    rng = np.random.default_rng(seed)
    for _ in range(partitions):
        kept = rng.permutation(total)[: total // size * size]
        yield from torch.from_numpy(np.sort(kept.reshape(-1, size), axis=1))


def _scaled(cost: Tensor, largest: Tensor | None) -> Tensor:
    if largest is None:
        return cost
    own = cost.amax()
    return cost * (largest / own) if own > 0 else cost


def _normalised(log_plan: Tensor) -> Tensor:
    return log_plan - log_plan.flatten().logsumexp(0)


def _divergence(log_p: Tensor, log_q: Tensor) -> float:
    return max(0.0, float((log_p.exp() * (log_p - log_q)).sum()))


def _excess(mean: Tensor, full: Plan) -> float:
    """Return KL(mean || full), computed a few rows at a time."""
    total = 0.0
    for rows in blocks(len(mean), _ROWS):
        p = mean[rows]
        total += float((p.xlogy(p) - p * full.log_plan[rows]).sum())
    return max(0.0, total)


def _outside(full: Plan, batch: int) -> float:
    """Return the mean mass outside the batch; for other columns, P(inside) = (b-1)/(N-1)."""
    total = len(full.plan)
    own = float(full.plan.diagonal().sum())
    return max(0.0, 1 - own) * (total - batch) / max(1, total - 1)


def _check(cost: Tensor, batch: int, partitions: int, scale: str) -> None:
    if not isinstance(cost, Tensor):
        raise InvalidInputError(f"cost is a {type(cost).__name__}; expected a torch.Tensor")
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or not len(cost):
        raise InvalidInputError(
            f"cost has shape {tuple(cost.shape)}; expected (N, N), one row and column per pair"
        )
    at_least("batch", batch, 1)
    at_least("partitions", partitions, 1)
    if batch > len(cost):
        raise InvalidInputError(
            f"batch is {batch}; expected at most {len(cost)}, the number of pairs of cost"
        )
    if one_of("scale", scale, ("full", "batch")) == "batch" and bool((cost < 0).any()):
        raise InvalidInputError(
            f"cost contains {float(cost.min())} and scale is 'batch'; expected distances >= 0"
        )
