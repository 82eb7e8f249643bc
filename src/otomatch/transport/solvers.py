"""Entropic optimal transport between two weighted sets: from a cost matrix to a `Plan`.

A cost matrix C has shape (n, m). The weights a (n,) of its rows and b (m,) of its columns sum to 1
each and are uniform by default. The plan P minimises

    <P, C> + epsilon * sum_ij P_ij (log P_ij - 1)

over P >= 0 subject to P 1 = a and P^T 1 = b (`sinkhorn`), or to P 1 <= a, P^T 1 <= b and a total
mass s in (0, 1] (`partial_sinkhorn`). These are the two plans of arXiv 2405.10084. In both cases

    log P_ij = (f_i + g_j + multiplier - C_ij) / epsilon

where f and g are the dual potentials of the constraints on rows and columns, and the multiplier is
the dual variable of the total mass. Both solvers are block-coordinate ascent on the dual: they
solve exactly for f (and the multiplier) given g, then for g given f, and regularly extrapolate the
sequence of iterates to its limit (see `dual_ascent`).

The rows may be sharded over several processes (`otomatch.parallel.shard.Shard`). Quantities of a
row are then on the process that holds it, and quantities of a column on every process. An iteration
costs one all-reduce of a vector of length m for the column sums, or two in the log domain (a
maximum and a sum). A partial plan also all-gathers the row sums, which share one multiplier.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, at_least, non_negative, positive
from otomatch.parallel.shard import Shard
from otomatch.transport.dual_ascent import (
    LogMarginal,
    Problem,
    ascend,
    choose_kernel,
    global_min,
    to_solver_dtype,
)


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan, its dual potentials and the status of the solver.

    Tensors have the device and dtype of the cost (float32 if the cost has half precision).

    Attributes:
        log_plan: Logarithm of the plan, (n, m); -inf in rows and columns of weight 0.
        plan: Mass moved from each row to each column, (n, m).
        f: Row potentials (n,), in units of the cost. Balanced: unique up to a constant, which g
            compensates. Partial: at most 0, and 0 on rows that keep part of their weight.
        g: Column potentials (m,), likewise.
        multiplier: Dual variable of the total mass, a scalar in units of the cost; 0 for a balanced
            plan.
        iterations: Number of iterations; a multiple of 10 unless the limit was reached.
        error: Mass by which the constraints are violated. Balanced: sum of |row sum - a_i|.
            Partial: mass that the next iteration would still move. The constraints on the columns
            and on the total mass hold exactly.
        converged: True if ``error`` is at most the tolerance.
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
    """Solve balanced entropic transport: P 1 = a and P^T 1 = b (Sinkhorn's algorithm).

    Iterations use the kernel exp(-C/epsilon) if it cannot underflow or overflow, and log-sum-exp
    otherwise. If ``cost`` requires a gradient and gradients are enabled, autograd records every
    iteration; `MatchingLoss` needs none of that, and its memory does not grow with the iterations.

    Args:
        cost: Cost matrix (n, m); finite, of any sign.
        epsilon: Weight of the entropy, > 0, in units of the cost.
        a: Weights (n,) of the rows; non-negative, with sum 1 (within 1e-4; they are rescaled).
        b: Weights (m,) of the columns, likewise.
        tolerance: Largest `Plan.error` that counts as converged, >= 0.
        max_iterations: Largest number of iterations, >= 1. A plan is returned even if it has not
            converged.
        shard: Rows of a larger problem that ``cost`` and ``a`` hold; the plan and f then have the
            same rows. Every process must call the function, without recording gradients.

    Returns:
        The `Plan`. It never contains NaN. Check ``converged`` and ``error`` before relying on it.

    Raises:
        InvalidInputError: An argument has a wrong shape or value, which the message quotes.

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
    """Solve partial entropic transport: P 1 <= a, P^T 1 <= b, with a given total mass.

    With ``mass=1`` the plan is that of `sinkhorn`, with potentials shifted to be at most 0.

    Args:
        cost: Cost matrix (n, m); finite, of any sign.
        epsilon: Weight of the entropy, > 0, in units of the cost.
        mass: Total mass of the plan, in (0, 1].
        a: Weights (n,) of the rows; non-negative, with sum 1 (within 1e-4; they are rescaled).
        b: Weights (m,) of the columns, likewise.
        tolerance: Largest `Plan.error` that counts as converged, >= 0.
        max_iterations: Largest number of iterations, >= 1. A plan is returned even if it has not
            converged.
        shard: Rows of a larger problem that ``cost`` and ``a`` hold; the plan and f then have the
            same rows. Every process must call the function, without recording gradients.

    Returns:
        The `Plan`. It never contains NaN. Check ``converged`` and ``error`` before relying on it.

    Raises:
        InvalidInputError: An argument has a wrong shape or value, which the message quotes.
    """
    check_mass(mass)
    if mass < 1:
        return _solve(cost, epsilon, mass, a, b, tolerance, max_iterations, shard)
    plan = _solve(cost, epsilon, None, a, b, tolerance, max_iterations, shard)
    top_f, top_g = (shard or Shard.local(len(cost))).amax(plan.f), plan.g.amax()
    return replace(plan, f=plan.f - top_f, g=plan.g - top_g, multiplier=top_f + top_g)


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
        _check_cost(cost, shard)
        positive("epsilon", epsilon)
        non_negative("tolerance", tolerance)
        at_least("max_iterations", max_iterations, 1)
        _check_weights("a", a, cost.shape[0])
        _check_weights("b", b, cost.shape[1])
    rows, columns = shard or Shard.local(len(cost)), Shard.local(cost.shape[1])
    working = to_solver_dtype(cost, rows)
    least = global_min(working, rows)
    log_kernel = (least - working) / epsilon
    marginals = _marginal("a", a, rows, log_kernel), _marginal("b", b, columns, log_kernel)
    problem = Problem(choose_kernel(log_kernel, rows), *marginals, mass)
    found = ascend(problem, tolerance, max_iterations)
    phi, psi, lam = found.duals.phi, found.duals.psi, found.duals.lam
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
        found.iterations,
        found.error,
        converged=found.error <= tolerance,
    )


def _check_cost(cost: Tensor, shard: Shard | None) -> None:
    if not isinstance(cost, Tensor):
        raise InvalidInputError(f"cost is a {type(cost).__name__}; expected a torch.Tensor")
    if cost.ndim != 2 or cost.shape[1] == 0 or (len(cost) if shard is None else shard.total) == 0:
        raise InvalidInputError(
            f"cost has shape {tuple(cost.shape)}; expected a matrix (n, m) with n, m >= 1"
        )
    _check_entries("cost", cost, torch.isfinite(cost), "finite numbers only")
    if shard is not None:
        _check_block(cost, shard)


def _check_block(cost: Tensor, shard: Shard) -> None:
    if len(cost) != shard.rows:
        raise InvalidInputError(
            f"cost has {len(cost)} rows; expected {shard.rows}, as in the shard"
        )
    if shard.world_size > 1 and cost.requires_grad and torch.is_grad_enabled():
        raise InvalidInputError(
            "cost requires a gradient, but iterations over several processes are not recorded; "
            "pass cost.detach(), or use MatchingLoss with gradient='implicit'"
        )


def _check_weights(name: str, weights: Tensor | None, size: int) -> None:
    if weights is None:
        return
    if not isinstance(weights, Tensor) or weights.shape != (size,):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise InvalidInputError(f"{name} is {found}; expected a tensor of shape ({size},)")
    _check_entries(name, weights, weights >= 0, "weights >= 0")


def _check_entries(name: str, values: Tensor, valid: Tensor, expected: str) -> None:
    if not bool(valid.all()):
        where = tuple((~valid).nonzero()[0].tolist())
        index = ", ".join(map(str, where))
        raise InvalidInputError(f"{name}[{index}] is {values[where].item()}; expected {expected}")


def _marginal(name: str, weights: Tensor | None, shard: Shard, like: Tensor) -> LogMarginal:
    if weights is None:
        log_weights = like.new_full((shard.total,), -math.log(shard.total))
        return LogMarginal(log_weights, log_weights[shard.own], shard)
    weights = shard.all_gather(weights.detach().to(like.device, like.dtype))
    total = float(weights.sum().item())
    if not abs(total - 1) <= 1e-4:
        raise InvalidInputError(f"{name} sums to {total}; expected weights that sum to 1")
    log_weights = (weights / total).log()
    return LogMarginal(log_weights, log_weights[shard.own], shard)
