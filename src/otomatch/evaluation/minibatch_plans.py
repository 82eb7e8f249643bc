"""How well the transport plans of mini-batches approximate the plan of the whole set.

N pairs have a plan P between all clips and all captions. Training never sees it: each step solves
for the plan of a batch of b pairs alone. Two questions follow.

- What does one step see? The batch's plan Q stands in for P on the batch's rows and columns,
  P_b = P restricted to them and scaled to mass 1. The error is KL(P_b || Q). It is not 0 for
  exact solvers: P_b need not have uniform marginals, Q must.
- What do the steps add up to? The plans of a partition into batches, laid side by side and
  averaged over partitions, are the mini-batch estimate A of P (Fatras et al., Learning with
  minibatch Wasserstein, AISTATS 2020, arXiv 1910.04091; Nguyen et al., Improving mini-batch optimal
  transport via partial transportation, ICML 2022, arXiv 2108.09645). The error is KL(A || P).
  Since clips enter a batch with their captions, as in training, A does not tend to P with the
  number of partitions: it is too heavy on the pairs themselves.
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
    """How far plans of batches are from the plan of the whole set.

    Attributes:
        restricted: KL(P_b || Q) in nats, >= 0: the whole plan on a batch, scaled to mass 1, against
            the batch's own; mean over the batches of all partitions.
        averaged: KL(A || P) in nats, >= 0: the mean over partitions of the batches' plans, of mass
            1 in all, against the whole plan. Falls with the number of partitions: compare only
            figures of equally many.
        outside: of P's mass in a batch's rows, the share in columns outside the batch, 0 to 1, as
            the mean over all partitions there are (not only those drawn): (1 - D) (N - b)/(N - 1)
            for a share D of P on the pairs themselves.
        batches: number of batches in a partition.
        converged: whether every plan reached the tolerance.
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
    """Compare the plan of N pairs with the plans of random batches of b of them.

    With b = N all three errors are 0 (``averaged`` up to rounding). Solved in float64. Memory is
    that of about six (N, N) matrices in float64, whatever the number of partitions.

    Args:
        cost: (N, N), finite: of each clip with each caption, pairs on the diagonal.
        epsilon: strength of the entropy, > 0, in units of ``cost``.
        batch: b, 1 to N. Where it does not divide N, each partition leaves out a rest of less
            than b pairs, another one each time.
        partitions: number of random partitions, >= 1.
        seed: of the partitions.
        scale: "full": a batch's cost is that of the whole set, so epsilon means the same for both.
            "batch": it is scaled to the largest entry of the whole set, which is what dividing
            each batch by its own largest distance does in training (``MatchingLoss(scale="max")``)
            if ``cost`` is divided by the whole set's. ``cost`` must then be >= 0.
        tolerance: see `otomatch.transport.sinkhorn`.
        max_iterations: likewise.

    Raises:
        InvalidInputError: an argument has a wrong shape or value; the message quotes it.
    """
    _check(cost, batch, partitions, scale)
    cost = to_float64(cost.detach())
    limits = (epsilon, None, None, tolerance, max_iterations)
    full = sinkhorn(cost, *limits)
    largest = cost.amax() if scale == "batch" else None
    mean = torch.zeros_like(cost)
    errors, converged = [], full.converged
    batches = len(cost) // batch
    for rows in _batches(len(cost), batch, partitions, seed):
        block = (rows[:, None], rows)
        plan = sinkhorn(_scaled(cost[block], largest), *limits)
        errors.append(_divergence(_normalised(full.log_plan[block]), _normalised(plan.log_plan)))
        mean[block] += plan.plan / (batches * partitions)
        converged = converged and plan.converged
    return PlanApproximation(
        restricted=float(np.mean(errors)),
        averaged=_excess(mean, full),
        outside=_outside(full, batch),
        batches=batches,
        converged=converged,
    )


def _batches(total: int, size: int, partitions: int, seed: int) -> Iterator[Tensor]:
    """Rows of each batch, in order, so that a batch of everything is the same problem."""
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
    """KL(mean || full), a few rows at a time."""
    total = 0.0
    for rows in blocks(len(mean), _ROWS):
        p = mean[rows]
        total += float((p.xlogy(p) - p * full.log_plan[rows]).sum())
    return max(0.0, total)


def _outside(full: Plan, batch: int) -> float:
    """A row's mass on other columns than its own; each is in its batch for (b-1)/(N-1) of draws."""
    total = len(full.plan)
    own = float(full.plan.diagonal().sum())
    return max(0.0, 1 - own) * (total - batch) / max(1, total - 1)


def _check(cost: Tensor, batch: int, partitions: int, scale: str) -> None:
    if not isinstance(cost, Tensor):
        raise InvalidInputError(f"cost is a {type(cost).__name__}; expected a torch.Tensor")
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or not len(cost):
        raise InvalidInputError(
            f"cost has shape {tuple(cost.shape)}; expected (N, N), one row and column for each pair"
        )
    at_least("batch", batch, 1)
    at_least("partitions", partitions, 1)
    if batch > len(cost):
        raise InvalidInputError(
            f"batch is {batch}; expected at most {len(cost)}, the pairs of cost"
        )
    if one_of("scale", scale, ("full", "batch")) == "batch" and bool((cost < 0).any()):
        raise InvalidInputError(
            f"cost holds {float(cost.min())} and scale is 'batch'; expected distances, all >= 0"
        )
