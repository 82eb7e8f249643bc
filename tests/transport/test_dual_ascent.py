"""Iterations on the dual: steps, stopping, acceleration, and the domain they run in."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import partial_sinkhorn, sinkhorn
from otomatch.parallel.shard import Shard
from otomatch.transport import dual_ascent as ascent
from otomatch.transport import solvers as transport
from tests.support.transport_oracles import naive_water_filling
from tests.support.transport_problems import EXACT, problem, solve


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.floats(-30, 30)), min_size=1, max_size=9), st.data()
)
def test_filling_finds_the_multiplier_that_bisection_finds(pairs, data):
    total = sum(weight for weight, _ in pairs)
    weights = [weight / total for weight, _ in pairs]
    sums = [math.exp(log_sum) for _, log_sum in pairs]
    mass = data.draw(st.floats(0.01, 0.99))
    args = (torch.tensor(x, dtype=torch.float64).log() for x in (sums, weights))
    found = ascent.water_filling(*args, mass).exp().item()
    assert found == pytest.approx(naive_water_filling(weights, sums, mass), rel=1e-6)


@pytest.mark.parametrize("mass", [None, 0.3, 0.9])
@pytest.mark.parametrize("epsilon", [0.01, 0.05, 1.0])
def test_the_log_domain_agrees_with_the_kernel_domain(mass, epsilon, monkeypatch):
    cost, a, b = problem()
    kernel = solve(cost, epsilon, mass, a, b, **EXACT)
    monkeypatch.setattr(transport, "choose_kernel", ascent.LogKernel)
    log = solve(cost, epsilon, mass, a, b, **EXACT)
    torch.testing.assert_close(log.plan, kernel.plan, rtol=0, atol=1e-11)


def test_the_kernel_is_used_exactly_where_it_is_safe():
    wide = torch.tensor([[0.0, -353.0]], dtype=torch.float64)
    assert isinstance(ascent.choose_kernel(wide, Shard.local(1)), ascent.Kernel)
    assert isinstance(ascent.choose_kernel(1.01 * wide, Shard.local(1)), ascent.LogKernel)


def test_a_mass_a_rounding_error_below_one_is_fine():
    for seed in range(20):
        cost, a, b = problem(seed=seed)
        plan = partial_sinkhorn(cost, 0.1, math.nextafter(1, 0), a, b)
        assert plan.converged
        torch.testing.assert_close(plan.plan, sinkhorn(cost, 0.1, a, b).plan, rtol=0, atol=1e-5)
        sums = 300 * (cost[0] - 0.5)  # so large that the full weight itself is off by rounding
        assert torch.isfinite(ascent.water_filling(sums, b.log(), math.nextafter(1, 0)))


@pytest.mark.parametrize("mass", [None, 0.8])
def test_the_reported_error_is_that_of_the_returned_plan(mass):
    cost, a, b = problem()
    plan = solve(cost, 0.02, mass, a, b, max_iterations=3)
    assert plan.iterations == 3
    assert not plan.converged
    rows, columns = plan.plan.sum(1), plan.plan.sum(0)
    if mass is None:
        error = (rows - a).abs().sum() + (columns - b).abs().sum()
    else:
        moved_rows = torch.minimum(a, rows * (-plan.f / 0.02).exp()) - rows
        moved_columns = torch.minimum(b, columns * (-plan.g / 0.02).exp()) - columns
        error = moved_rows.abs().sum() + moved_columns.abs().sum() + (rows.sum() - mass).abs()
    assert plan.error == pytest.approx(error.item(), rel=1e-6)
    assert plan.error > 1e-4


@pytest.mark.parametrize("mass", [None, 0.8])
def test_more_iterations_are_spent_only_until_the_tolerance_is_met(mass):
    cost, a, b = problem()
    rough = solve(cost, 0.05, mass, a, b, tolerance=1e-2)
    fine = solve(cost, 0.05, mass, a, b, tolerance=1e-10)
    assert rough.converged
    assert fine.converged
    assert rough.error <= 1e-2
    assert fine.error <= 1e-10
    assert rough.iterations < fine.iterations < 1000
    assert not solve(cost, 0.05, mass, a, b, tolerance=0.0, max_iterations=15).converged


@pytest.mark.parametrize("mass", [None, 0.9])
def test_extrapolation_saves_iterations_and_changes_nothing_else(mass, monkeypatch):
    cost = problem(20, 20)[0]
    limits = {"tolerance": 1e-12, "max_iterations": 20000}
    fast = solve(cost, 0.015, mass, **limits)
    monkeypatch.setattr(ascent, "extrapolate", lambda path: path[-1])
    slow = solve(cost, 0.015, mass, **limits)
    assert fast.converged
    assert fast.iterations < slow.iterations / 3
    torch.testing.assert_close(fast.plan, slow.plan, rtol=0, atol=1e-11)


def test_extrapolation_finds_the_limit_of_a_linear_sequence():
    random = torch.Generator().manual_seed(0)
    step = torch.diag(torch.tensor([0.9, 0.99, 0.5, -0.7])).double()
    turn = torch.linalg.qr(torch.randn(4, 4, generator=random, dtype=torch.float64)).Q
    limit = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    path = [torch.zeros(4, dtype=torch.float64)]
    for _ in range(6):
        path.append(limit + turn @ step @ turn.T @ (path[-1] - limit))
    torch.testing.assert_close(ascent.extrapolate(path), limit, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mass", [None, 0.7])
def test_the_same_input_gives_the_same_bits(mass):
    torch.manual_seed(3)
    cost = torch.rand(8, 8)
    solve = sinkhorn if mass is None else partial(partial_sinkhorn, mass=mass)
    plans = [solve(cost, 0.01, tolerance=1e-10) for _ in range(50)]
    assert plans[0].iterations > 10  # or nothing was extrapolated
    for plan in plans[1:]:
        assert plan.iterations == plans[0].iterations
        assert torch.equal(plan.log_plan, plans[0].log_plan)
