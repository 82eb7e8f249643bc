import math
from functools import partial

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import partial_sinkhorn, sinkhorn
from otomatch.errors import InvalidInputError
from otomatch.parallel.shard import Shard
from otomatch.transport import dual_ascent as ascent
from otomatch.transport import solvers as transport
from tests.oracles import central_differences, naive_fill, naive_sinkhorn

EXACT = {"tolerance": 1e-13, "max_iterations": 5000}
"""For comparisons to 1e-8 and beyond."""


def problem(n=9, m=7, seed=0):
    """A cost matrix in [0, 1] and uneven weights, float64."""
    random = torch.Generator().manual_seed(seed)
    cost = torch.rand(n, m, generator=random, dtype=torch.float64)
    a = torch.rand(n, generator=random, dtype=torch.float64) + 0.1
    b = torch.rand(m, generator=random, dtype=torch.float64) + 0.1
    return cost, a / a.sum(), b / b.sum()


def solve(cost, epsilon, mass, *weights, **limits):
    if mass is None:
        return sinkhorn(cost, epsilon, *weights, **limits)
    return partial_sinkhorn(cost, epsilon, mass, *weights, **limits)


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
    assert found == pytest.approx(naive_fill(weights, sums, mass), rel=1e-6)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mass", [None, 0.6])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.005, 0.0029, 1.0, 1e4])
def test_no_epsilon_gives_nan_or_an_empty_plan(dtype, mass, epsilon):
    cost, a, b = (x.to(dtype) for x in problem())
    plan = solve(cost, epsilon, mass, a, b, max_iterations=200)
    for tensor in (plan.log_plan, plan.plan, plan.f, plan.g, plan.multiplier):
        assert tensor.dtype == dtype
        assert torch.isfinite(tensor).all()
    assert plan.plan.sum().item() == pytest.approx(mass or 1, abs=1e-5)
    torch.testing.assert_close(plan.plan, plan.log_plan.exp(), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("mass", [None, 0.6])
def test_rows_and_columns_of_weight_zero_get_nothing(mass):
    cost, a, b = problem()
    a[2], b[0], b[5] = 0, 0, 0
    a, b = a / a.sum(), b / b.sum()
    plan = solve(cost, 0.05, mass, a, b, **EXACT)
    assert plan.converged
    assert plan.plan[2].sum() == 0
    assert plan.plan[:, [0, 5]].sum() == 0
    rows, columns = [0, 1, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 6]
    alone = solve(cost[rows][:, columns], 0.05, mass, a[rows], b[columns], **EXACT)
    torch.testing.assert_close(plan.plan[rows][:, columns], alone.plan, rtol=0, atol=1e-11)


def test_weights_down_to_the_smallest_numbers_stay_finite():
    cost, a, b = problem()
    a[0], b[1] = 1e-300, 1e-200
    plan = sinkhorn(300 * cost, 1.0, a / a.sum(), b / b.sum(), max_iterations=5000)
    assert torch.isfinite(plan.log_plan).all()
    assert plan.error < 1e-4


def test_a_mass_a_rounding_error_below_one_is_fine():
    for seed in range(20):
        cost, a, b = problem(seed=seed)
        plan = partial_sinkhorn(cost, 0.1, math.nextafter(1, 0), a, b)
        assert plan.converged
        torch.testing.assert_close(plan.plan, sinkhorn(cost, 0.1, a, b).plan, rtol=0, atol=1e-5)
        sums = 300 * (cost[0] - 0.5)  # so large that the full weight itself is off by rounding
        assert torch.isfinite(ascent.water_filling(sums, b.log(), math.nextafter(1, 0)))


def test_weights_in_low_precision_are_rescaled_to_sum_to_one():
    cost, a, b = problem()
    plan = sinkhorn(cost, 0.05, 1.00005 * a, 0.99995 * b, **EXACT)
    assert plan.converged
    torch.testing.assert_close(plan.plan, sinkhorn(cost, 0.05, a, b, **EXACT).plan)


def test_half_precision_costs_give_float32_plans():
    cost = problem()[0].to(torch.bfloat16)
    plan = sinkhorn(cost, 0.05)
    assert plan.plan.dtype == torch.float32
    torch.testing.assert_close(plan.plan, sinkhorn(cost.float(), 0.05).plan)


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


@pytest.mark.parametrize("mass", [None, 0.5, 0.9])
def test_gradients_pass_through_the_recorded_iterations(mass):
    cost, a, b = problem(5, 4)
    weights = torch.rand(5, 4, dtype=torch.float64)

    def value():
        return (solve(cost, 0.2, mass, a, b, **EXACT).plan * weights).sum()

    cost.requires_grad_()
    (gradient,) = torch.autograd.grad(value(), cost)
    with torch.no_grad():
        expected = central_differences(value, cost)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)
    assert gradient.abs().max() > 0.01


def test_nothing_is_recorded_for_a_cost_without_a_gradient():
    cost = problem()[0].requires_grad_()
    assert not sinkhorn(cost.detach(), 0.1).plan.requires_grad
    with torch.no_grad():
        assert not sinkhorn(cost, 0.1).plan.requires_grad
    assert sinkhorn(cost, 0.1).plan.requires_grad


def weights_with(**changes):
    weights = torch.full((3,), 1 / 3)
    for index, value in changes.items():
        weights[int(index[1:])] = value
    return weights


BAD = {
    "list": ({"cost": [[0.0]]}, "cost is a list; expected a torch.Tensor"),
    "vector": ({"cost": torch.zeros(3)}, r"cost has shape \(3,\); expected a matrix"),
    "empty": ({"cost": torch.zeros(3, 0)}, r"cost has shape \(3, 0\)"),
    "nan": ({"cost": torch.tensor([[0.0, math.nan]])}, r"cost\[0, 1\] is nan; expected finite"),
    "infinity": ({"cost": torch.tensor([[0.0], [math.inf]])}, r"cost\[1, 0\] is inf"),
    "epsilon 0": ({"epsilon": 0.0}, "epsilon is 0.0; expected a finite number > 0"),
    "epsilon < 0": ({"epsilon": -1.0}, "epsilon is -1.0"),
    "epsilon nan": ({"epsilon": math.nan}, "epsilon is nan"),
    "epsilon inf": ({"epsilon": math.inf}, "epsilon is inf"),
    "tolerance": ({"tolerance": -1e-3}, "tolerance is -0.001; expected a finite number >= 0"),
    "iterations": ({"max_iterations": 0}, "max_iterations is 0; expected a whole number >= 1"),
    "a's shape": ({"a": torch.ones(4) / 4}, r"a is \(4,\); expected a tensor of shape \(3,\)"),
    "a's type": ({"a": [0.5, 0.25, 0.25]}, "a is list"),
    "b's sum": ({"b": torch.ones(3)}, "b sums to 3.0; expected weights that sum to 1"),
    "b < 0": ({"b": weights_with(_0=-0.1)}, r"b\[0\] is -0.1.*; expected weights >= 0"),
    "a nan": ({"a": weights_with(_2=math.nan)}, r"a\[2\] is nan"),
}


@pytest.mark.parametrize("solver", ["balanced", "partial"])
@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_by_name_and_value(solver, change, message):
    arguments = {"cost": torch.rand(3, 3), "epsilon": 0.1, **change}
    if solver == "partial":
        arguments["mass"] = 0.5
    with pytest.raises(InvalidInputError, match=message):
        (sinkhorn if solver == "balanced" else partial_sinkhorn)(**arguments)


@pytest.mark.parametrize("mass", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_a_mass_outside_zero_to_one_is_refused(mass):
    with pytest.raises(InvalidInputError, match=rf"mass is {mass}; expected a number in \(0, 1\]"):
        partial_sinkhorn(torch.rand(3, 3), 0.1, mass)


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
