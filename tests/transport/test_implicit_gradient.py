"""Gradients at the solution of a partial plan, and the conjugate gradients that find them."""

import torch

from otomatch.parallel.shard import Shard
from otomatch.transport import implicit_gradient as adjoint
from otomatch.transport.solvers import partial_sinkhorn
from tests.support.pairs import EXACT, matching_target


def test_the_partial_gradient_equals_a_dense_solve_of_the_optimality_conditions():
    torch.manual_seed(0)
    cost, size = torch.rand(9, 9, dtype=torch.float64), 9
    target = matching_target([0, 0, 1, 2, 3, 4, 5, 6, 7])
    plan = partial_sinkhorn(cost, 0.1, 0.8, **EXACT)
    tight = torch.cat([plan.f < 0, plan.g < 0, torch.tensor([True])])
    assert 4 < tight.sum() < 19
    pairs = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    design = torch.zeros(size * size, 2 * size + 1, dtype=torch.float64)
    design[torch.arange(size * size), pairs[:, 0]] = 1
    design[torch.arange(size * size), size + pairs[:, 1]] = 1
    design[:, -1] = 1
    design = design * tight
    matrix = design.T @ (plan.plan.reshape(-1, 1) * design)
    z = torch.linalg.pinv(matrix) @ (-design.T @ target.reshape(-1))
    expected = target + plan.plan * (design @ z).reshape(size, size)
    found = adjoint.partial_gradient(target, plan, Shard.local(size))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_conjugate_gradients_take_one_step_for_a_diagonal_matrix_of_any_scale():
    diagonal = torch.logspace(-9, 0, 30, dtype=torch.float64)
    calls = []

    def apply(z, done):
        calls.append(z)
        return diagonal * z, done

    z = adjoint.conjugate_gradient(apply, torch.ones(30, dtype=torch.float64), diagonal)
    torch.testing.assert_close(z, 1 / diagonal)
    assert len(calls) <= 3


def test_conjugate_gradients_stay_finite_without_a_solution():
    matrix = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)

    def apply(z, done):
        return matrix @ z, done

    z = adjoint.conjugate_gradient(apply, torch.ones(2).double(), matrix.diagonal())
    assert torch.isfinite(z).all()
