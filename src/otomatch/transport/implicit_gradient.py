"""Gradients of losses on transport plans, found at the solution.

Nothing here records the solver's iterations, so memory does not grow with their number.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from otomatch.parallel.shard import Shard
from otomatch.transport.dual_ascent import at_work
from otomatch.transport.solvers import Plan


class KnownGradient(torch.autograd.Function):
    """A value whose gradient with respect to the cost is known: all that is kept for backward."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, value: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG004
        """Keep the slope (n, m) of the value in the cost (n, m)."""
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The slope, times the gradient of what the value goes into."""
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def partial_slope(target: Tensor, plan: Plan, shard: Shard) -> Tensor:
    """Epsilon times the gradient of -sum T log P in C, for a partial plan P.

    Differentiating the optimality conditions, log P moves by -dC/epsilon plus one unknown for each
    tight row, each tight column and the total mass. Their adjoints z minimise
    sum_ij P_ij (z_i + z_j + z_0)^2 / 2 + T_ij (z_i + z_j + z_0), with z = 0 on slack rows and
    columns; then the gradient is T + P_ij (z_i + z_j + z_0).

    Given the others, each z_i follows by itself, which eliminates the rows. The system that is left
    for y = (z_j, z_0) lies on every process; an iteration costs one all-reduce.

    Args:
        target: T, the rows (B_r, B) that are here.
        plan: likewise.
        shard: which rows these are.

    Returns:
        (B_r, B).
    """
    P, T = at_work(plan.plan, shard), at_work(target, shard)
    r, T_rows = P.sum(1), T.sum(1)
    over = torch.where((plan.f < 0).to(P.device) & (r > 0), 1 / r, 0)
    tight = torch.cat([(plan.g < 0).to(P), P.new_ones(1)])

    def sums(by_column: Tensor, by_row: Tensor) -> Tensor:
        return torch.cat([by_column, by_row.sum(0, keepdim=True)])

    def rows(y: Tensor) -> Tensor:
        return P @ y[:-1] + r * y[-1]

    def columns(by_row: Tensor) -> Tensor:
        return sums(P.T @ by_row, r * by_row)

    right, weights, squares = shard.all_reduce_sum(
        torch.stack(
            [
                columns(over * T_rows) - sums(T.sum(0), T_rows),
                sums(P.sum(0), r),
                sums(torch.einsum("ij,ij,i->j", P, P, over), r * r * over),
            ]
        )
    )

    def apply(y: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        by_column = weights[:-1] * (y[:-1] + y[-1])
        moved = shard.all_reduce_sum(sums(columns(over * rows(y)), stop.to(y).reshape(1)))
        return tight * (sums(by_column, by_column) - moved[:-1]), moved[-1] > 0

    # Rounding must not make an entry of the diagonal that cancels vanish, or negative.
    diagonal = torch.maximum(weights - squares, torch.finfo(r.dtype).eps * weights)
    y = _least(apply, tight * right, tight * diagonal)
    z_rows = -over * (T_rows + rows(y))
    return (T + P * (z_rows[:, None] + y[:-1] + y[-1])).to(target)


def _least(
    apply: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], right: Tensor, diagonal: Tensor
) -> Tensor:
    """Solve A z = right by conjugate gradients, scaled by the diagonal.

    A is positive semi-definite, possibly singular, and `right` is in its range. Entries where the
    diagonal is 0 stay 0. `apply` returns A z, and whether to stop: processes that solve one system
    put their wishes to do so together, since their last bits may differ.
    """
    scale = torch.where(diagonal > 0, 1 / diagonal, 0)
    z, residual = torch.zeros_like(right), right
    direction = scale * residual
    size = residual.dot(direction)
    enough = (1e3 * torch.finfo(right.dtype).eps) ** 2 * size
    done = size <= enough
    for _ in range(4 * len(right)):
        image, stop = apply(direction, done)
        if bool(stop):
            break
        curvature = direction.dot(image)
        step = torch.where(curvature > 0, size / curvature, 0)
        z, residual = z + step * direction, residual - step * image
        scaled = scale * residual
        previous, size = size, residual.dot(scaled)
        done = (size <= enough) | (curvature <= 0)
        direction = scaled + size / previous * direction
    return z
