"""Gradients of functions of a partial plan by implicit differentiation at the solution.

Nothing here records the iterations of the solver, so memory does not grow with their number.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from otomatch.parallel.shard import Shard
from otomatch.transport.dual_ascent import to_solver_dtype
from otomatch.transport.solvers import Plan


def partial_gradient(target: Tensor, plan: Plan, shard: Shard) -> Tensor:
    """Return epsilon times the gradient of -sum_ij T_ij log P_ij in C, for a partial plan P.

    Differentiating the optimality conditions, log P moves by -dC/epsilon plus one unknown for each
    tight row, each tight column and the total mass. Their adjoints z minimise
    sum_ij P_ij (z_i + z_j + z_0)^2 / 2 + T_ij (z_i + z_j + z_0), with z = 0 on slack rows and
    columns. The gradient is then T_ij + P_ij (z_i + z_j + z_0).

    Each z_i of a row is a function of the other unknowns, which eliminates the rows. The remaining
    system for y = (z_j, z_0) is solved on every process; an iteration costs one all-reduce.

    Args:
        target: T, this process's rows (B_r, B).
        plan: Plan P with the same rows.
        shard: Rows that this process holds.

    Returns:
        Tensor of shape (B_r, B).
    """
    P, T = to_solver_dtype(plan.plan, shard), to_solver_dtype(target, shard)
    r, T_rows = P.sum(1), T.sum(1)
    over = torch.where((plan.f < 0).to(P.device) & (r > 0), 1 / r, 0)
    tight = torch.cat([(plan.g < 0).to(P), P.new_ones(1)])
    rhs, weights, squares = shard.all_reduce_sum(
        torch.stack(
            [
                _columns(P, r, over * T_rows) - _append_sum(T.sum(0), T_rows),
                _append_sum(P.sum(0), r),
                _append_sum(torch.einsum("ij,ij,i->j", P, P, over), r * r * over),
            ]
        )
    )

    def apply(y: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        by_column = weights[:-1] * (y[:-1] + y[-1])
        by_row = _columns(P, r, over * _rows(P, r, y))
        moved = shard.all_reduce_sum(_append_sum(by_row, stop.to(y).reshape(1)))
        return tight * (_append_sum(by_column, by_column) - moved[:-1]), moved[-1] > 0

    # Keep diagonal entries that cancel from becoming 0 or negative by rounding.
    diagonal = torch.maximum(weights - squares, torch.finfo(r.dtype).eps * weights)
    y = conjugate_gradient(apply, tight * rhs, tight * diagonal)
    z_rows = -over * (T_rows + _rows(P, r, y))
    return (T + P * (z_rows[:, None] + y[:-1] + y[-1])).to(target)


def _append_sum(by_column: Tensor, by_row: Tensor) -> Tensor:
    return torch.cat([by_column, by_row.sum(0, keepdim=True)])


def _rows(P: Tensor, r: Tensor, y: Tensor) -> Tensor:
    return P @ y[:-1] + r * y[-1]


def _columns(P: Tensor, r: Tensor, by_row: Tensor) -> Tensor:
    return _append_sum(P.T @ by_row, r * by_row)


def conjugate_gradient(
    apply: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], rhs: Tensor, diagonal: Tensor
) -> Tensor:
    """Solve A z = rhs by conjugate gradients with a diagonal preconditioner.

    A is positive semi-definite, possibly singular, with ``rhs`` in its range. Entries of z where
    the diagonal is 0 stay 0.

    Args:
        apply: Function of a vector z and a flag that asks to stop. Returns A z and whether to stop:
            processes that solve the same system must agree, since their last bits may differ.
        rhs: Right-hand side (n,).
        diagonal: Diagonal (n,) of A.

    Returns:
        z, shape (n,).
    """
    scale = torch.where(diagonal > 0, 1 / diagonal, 0)
    z, residual = torch.zeros_like(rhs), rhs
    direction = scale * residual
    size = residual.dot(direction)
    enough = (1e3 * torch.finfo(rhs.dtype).eps) ** 2 * size
    done = size <= enough
    for _ in range(4 * len(rhs)):
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
