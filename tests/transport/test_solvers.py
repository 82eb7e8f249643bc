"""Balanced and partial plans: against POT and naive loops, and the laws of transport."""

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import partial_sinkhorn, sinkhorn
from tests.support.transport_oracles import naive_sinkhorn
from tests.support.transport_problems import EXACT, problem, solve


def test_balanced_plan_equals_the_naive_loops():
    cost, a, b = problem(4, 3)
    expected = naive_sinkhorn(cost.tolist(), 0.1, a.tolist(), b.tolist())
    plan = sinkhorn(cost, 0.1, a, b, **EXACT)
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(plan.plan, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(12, 12), (5, 30), (30, 5)])
def test_balanced_plan_equals_pot(epsilon, shape):
    cost, a, b = problem(*shape)
    arrays = (a.numpy(), b.numpy(), cost.numpy())
    expected = ot.sinkhorn(*arrays, epsilon, stopThr=1e-14, numItermax=100000, warn=False)
    plan = sinkhorn(cost, epsilon, a, b, **EXACT)
    np.testing.assert_allclose(plan.plan.numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("mass", [0.05, 0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("shape", [(12, 12), (5, 20)])
def test_partial_plan_equals_pot(epsilon, mass, shape):
    cost, a, b = problem(*shape)
    expected = ot.partial.entropic_partial_wasserstein(
        a.numpy(), b.numpy(), cost.numpy(), epsilon, m=mass, stopThr=1e-14, numItermax=20000
    )
    plan = partial_sinkhorn(cost, epsilon, mass, a, b, **EXACT)
    np.testing.assert_allclose(plan.plan.numpy(), expected, rtol=0, atol=1e-8)


def test_partial_plan_with_full_mass_equals_the_balanced_plan():
    cost, a, b = problem()
    full = partial_sinkhorn(cost, 0.05, 1.0, a, b, **EXACT)
    balanced = sinkhorn(cost, 0.05, a, b, **EXACT)
    torch.testing.assert_close(full.plan, balanced.plan, rtol=0, atol=1e-12)
    assert full.f.max() <= 0
    assert full.g.max() <= 0
    potentials = full.f[:, None] + full.g + full.multiplier
    torch.testing.assert_close(potentials, balanced.f[:, None] + balanced.g)


def test_partial_plan_tends_to_the_balanced_plan_as_its_mass_tends_to_one():
    cost, a, b = problem()
    balanced = sinkhorn(cost, 0.05, a, b, **EXACT).plan
    for missing in (1e-3, 1e-6, 1e-9):
        plan = partial_sinkhorn(cost, 0.05, 1 - missing, a, b, **EXACT)
        assert plan.converged
        assert (plan.plan - balanced).abs().sum() < 20 * missing + 1e-12


shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))
masses = st.one_of(st.none(), st.floats(0.05, 1.0))


@settings(deadline=None, max_examples=60)
@given(shapes, st.floats(0.05, 2.0), masses, st.integers(0, 10**6))
def test_plans_obey_their_constraints(shape, epsilon, mass, seed):
    cost, a, b = problem(*shape, seed=seed)
    plan = solve(cost, epsilon, mass, a, b, tolerance=1e-10, max_iterations=20000)
    assert plan.converged
    assert plan.plan.sum().item() == pytest.approx(mass or 1, abs=1e-9)
    rows, columns = plan.plan.sum(1) - a, plan.plan.sum(0) - b
    if mass is None:
        assert max(rows.abs().max(), columns.abs().max()) < 1e-9
    else:
        assert max(rows.max(), columns.max()) < 1e-9
    potentials = plan.f[:, None] + plan.g + plan.multiplier
    torch.testing.assert_close(plan.log_plan, (potentials - cost) / epsilon, rtol=0, atol=1e-9)
    torch.testing.assert_close(plan.plan, plan.log_plan.exp())


@settings(deadline=None, max_examples=60)
@given(shapes, st.floats(0.05, 1.0), st.floats(0.05, 0.99), st.integers(0, 10**6))
def test_partial_plan_satisfies_the_optimality_conditions(shape, epsilon, mass, seed):
    cost, a, b = problem(*shape, seed=seed)
    plan = partial_sinkhorn(cost, epsilon, mass, a, b, tolerance=1e-12, max_iterations=20000)
    assert max(plan.f.max(), plan.g.max()) <= 0
    slack_of_rows, slack_of_columns = a - plan.plan.sum(1), b - plan.plan.sum(0)
    assert (plan.f * slack_of_rows).abs().max() < 1e-8
    assert (plan.g * slack_of_columns).abs().max() < 1e-8


@pytest.mark.parametrize("mass", [None, 0.7])
def test_transposing_the_problem_transposes_the_plan(mass):
    cost, a, b = problem()
    plan = solve(cost, 0.05, mass, a, b, **EXACT)
    turned = solve(cost.T, 0.05, mass, b, a, **EXACT)
    torch.testing.assert_close(turned.plan, plan.plan.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mass", [None, 0.7])
@pytest.mark.parametrize("shift", [-3.0, 100.0])
def test_adding_a_constant_to_the_cost_moves_only_the_potentials(mass, shift):
    cost, a, b = problem()
    plan = solve(cost, 0.05, mass, a, b, **EXACT)
    shifted = solve(cost + shift, 0.05, mass, a, b, **EXACT)
    torch.testing.assert_close(shifted.plan, plan.plan, rtol=0, atol=1e-11)
    before = plan.f[:, None] + plan.g + plan.multiplier
    after = shifted.f[:, None] + shifted.g + shifted.multiplier
    torch.testing.assert_close(after, before + shift, rtol=0, atol=1e-9)


def test_adding_potentials_to_the_cost_leaves_the_balanced_plan():
    cost, a, b = problem()
    moved = cost + torch.linspace(0, 1, 9).double()[:, None] - torch.linspace(-1, 0, 7).double()
    expected = sinkhorn(cost, 0.05, a, b, **EXACT).plan
    torch.testing.assert_close(
        sinkhorn(moved, 0.05, a, b, **EXACT).plan, expected, atol=1e-11, rtol=0
    )


@pytest.mark.parametrize("mass", [None, 0.7])
def test_scaling_cost_and_epsilon_together_leaves_the_plan(mass):
    cost, a, b = problem()
    plan = solve(cost, 0.05, mass, a, b, **EXACT)
    scaled = solve(20 * cost, 1.0, mass, a, b, **EXACT)
    torch.testing.assert_close(scaled.plan, plan.plan, rtol=0, atol=1e-11)
    potentials = plan.f[:, None] + plan.g + plan.multiplier
    torch.testing.assert_close(scaled.f[:, None] + scaled.g + scaled.multiplier, 20 * potentials)


@pytest.mark.parametrize("mass", [None, 0.7])
def test_permuting_rows_and_columns_permutes_the_plan(mass):
    cost, a, b = problem()
    rows, columns = torch.randperm(9), torch.randperm(7)
    plan = solve(cost, 0.05, mass, a, b, **EXACT)
    permuted = solve(cost[rows][:, columns], 0.05, mass, a[rows], b[columns], **EXACT)
    torch.testing.assert_close(permuted.plan, plan.plan[rows][:, columns], rtol=0, atol=1e-11)


@pytest.mark.parametrize("mass", [None, 0.7])
def test_less_entropy_means_a_cheaper_plan(mass):
    cost, a, b = problem()
    costs = [(solve(cost, e, mass, a, b, **EXACT).plan * cost).sum() for e in (0.02, 0.1, 0.5, 3)]
    assert costs == sorted(costs)
    assert costs[0] < 0.9 * costs[-1]


def test_balanced_cost_tends_to_the_exact_optimum_as_epsilon_tends_to_zero():
    cost, a, b = problem()
    exact = ot.emd2(a.numpy(), b.numpy(), cost.numpy())
    found = (sinkhorn(cost, 0.002, a, b, max_iterations=20000).plan * cost).sum().item()
    assert found == pytest.approx(exact, abs=1e-3)


def test_a_uniform_cost_gives_the_product_of_the_weights():
    _, a, b = problem()
    plan = sinkhorn(torch.full((9, 7), 0.3).double(), 0.05, a, b, **EXACT)
    torch.testing.assert_close(plan.plan, a[:, None] * b)


def test_a_uniform_cost_and_uniform_weights_give_a_uniform_partial_plan():
    cost = torch.full((9, 7), 0.3).double()
    plan = partial_sinkhorn(cost, 0.05, 0.4, **EXACT)
    torch.testing.assert_close(plan.plan, torch.full_like(cost, 0.4 / 63))


@pytest.mark.parametrize("mass", [None, 1.0, 0.4])
def test_one_row_and_one_column_carry_all_the_mass(mass):
    plan = solve(torch.tensor([[5.0]]), 0.05, mass)
    assert plan.plan.item() == pytest.approx(mass or 1)
    assert plan.converged


@pytest.mark.parametrize("mass", [None, 0.6])
def test_a_symmetric_cost_of_two_by_two_has_a_logistic_plan(mass):
    plan = solve(torch.tensor([[0.0, 0.3], [0.3, 0.0]]).double(), 0.1, mass, **EXACT)
    same = (mass or 1) / 2 / (1 + math.exp(-3))
    assert plan.plan.diagonal().tolist() == pytest.approx([same, same])
