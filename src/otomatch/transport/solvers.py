"""Entropic optimal transport between two weighted sets: from a cost matrix to a `Plan`.

Conventions. A cost matrix C is (n, m); a (n,) and b (m,) are the weights of its rows and columns,
each summing to 1 (uniform if not given). The plan P minimises

    <P, C> + epsilon * sum_ij P_ij (log P_ij - 1)

over P >= 0 with P 1 = a and P^T 1 = b (`sinkhorn`), or with P 1 <= a, P^T 1 <= b and a total mass
s in (0, 1] (`partial_sinkhorn`): the two plans of arXiv 2405.10084. In both cases

    log P_ij = (f_i + g_j + multiplier - C_ij) / epsilon

where f and g belong to the constraints on rows and columns and the multiplier to the total mass.
Both solvers are block-coordinate ascent on the dual: they solve exactly for f (and the multiplier)
given g, then for g given f, and now and then extrapolate the sequence to its limit.

Inside, everything is divided by epsilon (phi = f/epsilon, psi = g/epsilon, lam =
multiplier/epsilon) and computed in float64.

Several processes may each hold a block of rows (`otomatch.parallel.shard.Shard`). What belongs to a
row then lies with its block, what belongs to a column on every process. An iteration costs one
all-reduce of a vector of length m, for the columns' sums (two in the log domain: a maximum and a
sum); a partial plan's also gathers the rows' sums, which share one multiplier.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.parallel.shard import Shard
from otomatch.transport.dual_ascent import Problem, Weights, ascend, at_work, kernel_sums, lowest


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan, its dual potentials, and how well the solver did.

    Tensors have the cost's device and dtype (float32 if the cost is of half precision).

    Attributes:
        log_plan: (n, m), the plan's logarithm; -inf in rows or columns of weight 0.
        plan: (n, m), mass moved from each row to each column.
        f: (n,), row potentials, in units of cost. Balanced: free up to a constant, which g takes
            back. Partial: at most 0, and 0 on rows that keep part of their weight.
        g: (m,), column potentials, likewise.
        multiplier: scalar, dual of the total mass, in units of cost; 0 for a balanced plan.
        iterations: updates made; a multiple of 10 unless the limit was hit.
        error: mass by which the constraints are missed: sum of |row sum - a_i|; partial: the mass
            that the next update would still move. The columns and the total are met exactly.
        converged: whether error <= tolerance.
    """

    log_plan: Tensor
    plan: Tensor
    f: Tensor
    g: Tensor
    multiplier: Tensor
    iterations: int
    error: float
    converged: bool


def sinkhorn(
    cost: Tensor,
    epsilon: float,
    a: Tensor | None = None,
    b: Tensor | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    shard: Shard | None = None,
) -> Plan:
    """Balanced entropic transport: P 1 = a, P^T 1 = b (Sinkhorn's algorithm).

    The kernel exp(-C/epsilon) is used where it cannot under- or overflow, log-sum-exp otherwise.
    If `cost` requires a gradient (and gradients are enabled) autograd records every iteration;
    `MatchingLoss` needs none of that and costs no memory per iteration.

    Args:
        cost: (n, m), finite, any sign.
        epsilon: strength of the entropy, > 0, in units of cost.
        a: (n,), weights of the rows, non-negative, summing to 1 (within 1e-4; they are rescaled).
        b: (m,), weights of the columns, likewise.
        tolerance: largest `Plan.error` that counts as converged, >= 0.
        max_iterations: limit on the updates, >= 1. The plan is returned in any case.
        shard: where the rows of `cost` and `a` are this process's block of a larger problem; the
            plan and f then are too. All processes call, none of them recording gradients.

    Returns:
        The `Plan`. It is never NaN; look at `converged` and `error` before trusting it.

    Raises:
        InvalidInputError: an argument has a wrong shape or value; the message quotes it.

    Example:
        >>> sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.1).plan.diagonal().sum()
        tensor(1.0000)
    """
    return _solve(cost, epsilon, None, a, b, tolerance, max_iterations, shard)


def partial_sinkhorn(
    cost: Tensor,
    epsilon: float,
    mass: float,
    a: Tensor | None = None,
    b: Tensor | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    shard: Shard | None = None,
) -> Plan:
    """Partial entropic transport: P 1 <= a, P^T 1 <= b, and a total mass of `mass`.

    With `mass` 1 this is `sinkhorn`, its potentials shifted to be at most 0.

    Args:
        cost: (n, m), finite, any sign.
        epsilon: strength of the entropy, > 0, in units of cost.
        mass: how much of the total weight 1 to move, in (0, 1].
        a: (n,), weights of the rows, non-negative, summing to 1 (within 1e-4; they are rescaled).
        b: (m,), weights of the columns, likewise.
        tolerance: largest `Plan.error` that counts as converged, >= 0.
        max_iterations: limit on the updates, >= 1. The plan is returned in any case.
        shard: where the rows of `cost` and `a` are this process's block of a larger problem; the
            plan and f then are too. All processes call, none of them recording gradients.

    Returns:
        The `Plan`. It is never NaN; look at `converged` and `error` before trusting it.

    Raises:
        InvalidInputError: an argument has a wrong shape or value; the message quotes it.
    """
    check_mass(mass)
    if mass < 1:
        return _solve(cost, epsilon, mass, a, b, tolerance, max_iterations, shard)
    plan = _solve(cost, epsilon, None, a, b, tolerance, max_iterations, shard)
    top_f, top_g = (shard or Shard.local(len(cost))).amax(plan.f), plan.g.amax()
    return replace(plan, f=plan.f - top_f, g=plan.g - top_g, multiplier=top_f + top_g)


def check_epsilon(epsilon: float) -> None:
    """Raise InvalidInputError unless 0 < epsilon < infinity."""
    if not 0 < epsilon < math.inf:
        raise InvalidInputError(f"epsilon is {epsilon}; expected a finite number > 0")


def check_mass(mass: float) -> None:
    """Raise InvalidInputError unless 0 < mass <= 1."""
    if not 0 < mass <= 1:
        raise InvalidInputError(f"mass is {mass}; expected a number in (0, 1]")


def _solve(
    cost: Tensor,
    epsilon: float,
    mass: float | None,
    a: Tensor | None,
    b: Tensor | None,
    tolerance: float,
    max_iterations: int,
    shard: Shard | None,
) -> Plan:
    with nullcontext() if shard is None else shard.raise_together():
        _check(cost, epsilon, tolerance, max_iterations, shard)
        _check_weights("a", a, cost.shape[0])
        _check_weights("b", b, cost.shape[1])
    rows, columns = shard or Shard.local(len(cost)), Shard.local(cost.shape[1])
    working = at_work(cost, rows)
    least = lowest(working, rows)
    log_kernel = (least - working) / epsilon
    weights = _weights("a", a, rows, log_kernel), _weights("b", b, columns, log_kernel)
    problem = Problem(kernel_sums(log_kernel, rows), *weights, mass)
    phi, psi, lam, iterations, error = ascend(problem, tolerance, max_iterations)
    log_plan = log_kernel + phi[:, None] + (psi + lam)
    f, multiplier = epsilon * phi, epsilon * lam
    if mass is None:
        f = f + least
    else:
        multiplier = multiplier + least
    like = cost.new_empty(0, dtype=torch.promote_types(cost.dtype, torch.float32))
    return Plan(
        log_plan.to(like),
        log_plan.exp().to(like),
        f.to(like),
        (epsilon * psi).to(like),
        multiplier.to(like),
        iterations,
        error,
        converged=error <= tolerance,
    )


def _check(
    cost: Tensor, epsilon: float, tolerance: float, max_iterations: int, shard: Shard | None
) -> None:
    if not isinstance(cost, Tensor):
        raise InvalidInputError(f"cost is a {type(cost).__name__}; expected a torch.Tensor")
    if cost.ndim != 2 or cost.shape[1] == 0 or (len(cost) if shard is None else shard.total) == 0:
        raise InvalidInputError(
            f"cost has shape {tuple(cost.shape)}; expected a matrix (n, m) with n, m >= 1"
        )
    check_epsilon(epsilon)
    if not tolerance >= 0:
        raise InvalidInputError(f"tolerance is {tolerance}; expected a number >= 0")
    if max_iterations < 1:
        raise InvalidInputError(f"max_iterations is {max_iterations}; expected at least 1")
    _check_each(cost, torch.isfinite(cost), "cost", "finite numbers only")
    if shard is not None:
        _check_block(cost, shard)


def _check_block(cost: Tensor, shard: Shard) -> None:
    if len(cost) != shard.rows:
        raise InvalidInputError(f"cost has {len(cost)} rows; expected {shard.rows}, the shard's")
    if shard.world_size > 1 and cost.requires_grad and torch.is_grad_enabled():
        raise InvalidInputError(
            "cost requires a gradient, which iterations shared with other processes do not "
            "record; pass cost.detach(), or use MatchingLoss with gradient='implicit'"
        )


def _check_each(values: Tensor, good: Tensor, name: str, expected: str) -> None:
    if not bool(good.all()):
        where = tuple((~good).nonzero()[0].tolist())
        index = ", ".join(map(str, where))
        raise InvalidInputError(f"{name}[{index}] is {values[where].item()}; expected {expected}")


def _check_weights(name: str, weights: Tensor | None, size: int) -> None:
    if weights is None:
        return
    if not isinstance(weights, Tensor) or weights.shape != (size,):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise InvalidInputError(f"{name} is {found}; expected a tensor of shape ({size},)")
    _check_each(weights, weights >= 0, name, "weights >= 0")


def _weights(name: str, weights: Tensor | None, shard: Shard, like: Tensor) -> Weights:
    if weights is None:
        every = like.new_full((shard.total,), -math.log(shard.total))
        return Weights(every, every[shard.own], shard)
    weights = shard.all_gather(weights.detach().to(like.device, like.dtype))
    total = float(weights.sum().item())
    if not abs(total - 1) <= 1e-4:
        raise InvalidInputError(f"{name} sums to {total}; expected weights that sum to 1")
    every = (weights / total).log()
    return Weights(every, every[shard.own], shard)
