"""Solvers on extreme and invalid input, and the gradients that they record."""

import math

import pytest
import torch

from otomatch import partial_sinkhorn, sinkhorn
from otomatch.errors import InvalidInputError
from tests.support.transport_oracles import central_differences
from tests.support.transport_problems import EXACT, problem, solve


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
