"""Gradients of losses on transport plans, found at the solution.

Nothing here records the solver's iterations, so memory does not grow with their number.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from otomatch.transport import Plan, widened


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


def partial_slope(target: Tensor, plan: Plan) -> Tensor:
    """Epsilon times the gradient of -sum T log P in C, for a partial plan P.

    Differentiating the optimality conditions, log P moves by -dC/epsilon plus one unknown for each
    tight row, each tight column and the total mass. Their adjoints z minimise
    sum_ij P_ij (z_i + z_j + z_0)^2 / 2 + T_ij (z_i + z_j + z_0), with z = 0 on slack rows and
    columns; then the gradient is T + P_ij (z_i + z_j + z_0).
    """
    P, T = widened(plan.plan), widened(target)
    rows, columns = widened(plan.f < 0), widened(plan.g < 0)
    r, c, sizes = P.sum(1), P.sum(0), [*P.shape, 1]

    def margins(over_rows: Tensor, over_columns: Tensor, total: Tensor) -> Tensor:
        return torch.cat([rows * over_rows, columns * over_columns, total.reshape(1)])

    def normal(z: Tensor) -> Tensor:
        z_rows, z_columns, z_all = torch.split(z, sizes)
        by_row = r * (z_rows + z_all) + P @ z_columns
        by_column = c * (z_columns + z_all) + P.T @ z_rows
        return margins(by_row, by_column, by_row.sum())

    z = _least(normal, -margins(T.sum(1), T.sum(0), T.sum()), margins(r, c, r.sum()))
    z_rows, z_columns, z_all = torch.split(z, sizes)
    return (T + P * (z_rows[:, None] + z_columns + z_all)).to(target)


def _least(apply: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor) -> Tensor:
    """Solve apply(z) = right by conjugate gradients, scaled by the diagonal.

    The matrix is positive semi-definite, possibly singular, and `right` is in its range. Entries
    where the diagonal is 0 stay 0.
    """
    scale = torch.where(diagonal > 0, 1 / diagonal, 0)
    z, residual = torch.zeros_like(right), right
    direction = scale * residual
    size = residual.dot(direction)
    enough = (1e3 * torch.finfo(right.dtype).eps) ** 2 * size
    for _ in range(4 * len(right)):
        image = apply(direction)
        curvature = direction.dot(image)
        if bool((size <= enough) | (curvature <= 0)):
            break
        step = size / curvature
        z, residual = z + step * direction, residual - step * image
        scaled = scale * residual
        previous, size = size, residual.dot(scaled)
        direction = scaled + size / previous * direction
    return z
