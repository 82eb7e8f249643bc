"""Targets of less than full mass: trimmed to the cheapest pairs, or given by weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.losses import matching as losses
from otomatch.losses.matching import MatchingLoss
from otomatch.parallel.shard import Shard
from otomatch.transport.ground_metrics import Identity
from otomatch.transport.solvers import partial_sinkhorn
from tests.support.pairs import (
    CLIPS,
    EXACT,
    batch,
    full_metric,
    matching_target,
    scaled_cost,
)


def test_the_trimmed_target_keeps_the_cheapest_pairs_and_part_of_the_last():
    cost = torch.rand(5, 5) + torch.diag(torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0]))
    kept = losses.trim_target(torch.eye(5) / 5, cost, 0.5, Shard.local(5))
    assert kept.diagonal().tolist() == pytest.approx([0.1, 0.2, 0.0, 0.2, 0.0])
    assert kept.sum().item() == pytest.approx(0.5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.floats(0.01, 1), st.integers(0, 99))
def test_the_trimmed_target_is_the_cheapest_part_of_the_target(clips, mass, seed):
    random = torch.Generator().manual_seed(seed)
    cost = torch.rand(len(clips), len(clips), generator=random, dtype=torch.float64)
    target = matching_target(clips)
    kept = losses.trim_target(target, cost, mass, Shard.local(len(clips)))
    assert kept.sum().item() == pytest.approx(mass)
    assert (kept >= 0).all()
    assert (kept <= target + 1e-12).all()
    left = (target - kept) > 1e-12
    if left.any():
        assert cost[kept > 1e-12].max() <= cost[left].min()


@pytest.mark.parametrize("clips", [None, CLIPS])
def test_the_trimmed_loss_is_the_gap_of_the_two_objectives(clips):
    audio, text = batch()
    epsilon, mass = 0.1, 0.6
    loss = MatchingLoss(epsilon, mass, "trimmed", **EXACT)(audio, text, full_metric(), clips)
    cost = scaled_cost(audio, text, full_metric())
    target = matching_target(clips or list(range(7)))
    target = losses.trim_target(target, cost, mass, Shard.local(7))
    plan = partial_sinkhorn(cost, epsilon, mass, **EXACT).plan

    def objective(p):
        return (p * cost).sum() + epsilon * (torch.xlogy(p, p) - p).sum()

    expected = (objective(target) - objective(plan)) / epsilon
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_trimmed_gradient_in_the_cost_is_target_minus_plan():
    cost = torch.rand(6, 6, dtype=torch.float64).requires_grad_()
    loss = MatchingLoss(0.1, 0.5, "trimmed", 1.0, **EXACT)(
        torch.ones(6, 1), torch.ones(6, 1), lambda _x, _y: cost
    )
    loss.backward()
    target = losses.trim_target(torch.eye(6).double() / 6, cost.detach(), 0.5, Shard.local(6))
    plan = partial_sinkhorn(cost.detach(), 0.1, 0.5, **EXACT).plan
    torch.testing.assert_close(cost.grad, (target - plan) / 0.1, rtol=0, atol=1e-9)


def test_the_trimmed_loss_is_zero_where_the_matched_pairs_stand_out():
    points = torch.eye(10)[:, :6]
    text = points.clone()
    text[6:] = -torch.ones(6) / 6**0.5  # clips 6 to 9 at the origin, their captions far from all
    trimmed = MatchingLoss(0.01, 0.6, "trimmed")(points, text, Identity(6))
    assert trimmed.item() == pytest.approx(0, abs=1e-5)
    assert MatchingLoss(0.01)(points, text, Identity(6)).item() > 0.5


def test_the_trimmed_loss_of_equally_good_pairs_is_the_entropy_of_the_choice():
    points = torch.eye(10)
    loss = MatchingLoss(0.03, 0.6, "trimmed")(points, points, Identity(10))
    assert loss.item() == pytest.approx(-0.6 * math.log(0.6), rel=1e-4)


def test_mismatched_pairs_are_neither_pulled_nor_counted_once_trimmed():
    audio = torch.eye(10, dtype=torch.float64)
    text = audio.clone()
    text[:4] = audio[:4].roll(1, 0)
    steps = {}
    for target in ("full", "trimmed"):
        wrong = text.clone().requires_grad_()
        loss = MatchingLoss(0.03, 0.6, target)(audio, wrong, Identity(10))
        loss.backward()
        pull = -(wrong.grad * audio).sum(1)[:4]  # along the wrongly labelled clip
        steps[target] = pull.max().item(), loss.item()
    assert steps["full"][0] > 1
    assert steps["trimmed"][0] < 1e-3
    assert steps["trimmed"][1] < 0.1 * steps["full"][1]


def test_weights_that_are_all_one_or_not_given_make_the_balanced_loss():
    audio, text = batch(12, 6)
    balanced = MatchingLoss(0.05)(audio, text, Identity(6))
    auto = MatchingLoss(0.05, mass="auto", target="trimmed")
    torch.testing.assert_close(auto(audio, text, Identity(6)), balanced)
    weighted = auto(audio, text, Identity(6), weights=torch.ones(12))
    torch.testing.assert_close(weighted, balanced)


def test_weights_of_zero_and_one_choose_the_trimmed_target():
    audio, text = (x.double() for x in batch(10, 6))
    trimmed = MatchingLoss(0.05, mass=0.7, target="trimmed")
    cost = Identity()(audio, text).diagonal()
    kept = (cost <= cost.sort().values[6]).double()
    auto = MatchingLoss(0.05, mass="auto", target="trimmed")
    torch.testing.assert_close(
        auto(audio, text, Identity(), weights=kept), trimmed(audio, text, Identity())
    )


@pytest.mark.parametrize("clips", [None, [0, 0, 1, 2, 2, 2, 3, 4]])
def test_the_gradient_of_a_weighted_loss_is_target_minus_plan(clips):
    audio, text = (x.double() for x in batch(8, 5))
    weights = torch.rand(8, dtype=torch.float64)
    captured = {}

    def metric(x, y):
        captured["cost"] = Identity()(x, y).detach().requires_grad_()
        return captured["cost"]

    loss_fn = MatchingLoss(0.1, mass="auto", target="trimmed", scale=1.0, tolerance=1e-12)
    loss_fn(audio, text, metric, clips, weights=weights).backward()
    target = matching_target(clips or list(range(8))) * weights
    plan = partial_sinkhorn(captured["cost"].detach(), 0.1, float(target.sum()), tolerance=1e-12)
    expected = (target - plan.plan) / 0.1
    torch.testing.assert_close(captured["cost"].grad, expected, rtol=0, atol=1e-9)
    assert loss_fn.last.converged


def test_a_batch_without_a_matched_pair_teaches_nothing():
    audio, text = batch(6, 4)
    loss_fn = MatchingLoss(0.05, mass="auto", target="trimmed")
    loss = loss_fn(audio.requires_grad_(), text, Identity(4), weights=torch.zeros(6))
    loss.backward()
    assert loss == 0
    assert (audio.grad == 0).all()


def test_weights_out_of_place_are_refused():
    audio, text = batch(6, 4)
    auto = MatchingLoss(0.05, mass="auto", target="trimmed")
    with pytest.raises(InvalidInputError, match=r"weights is \(5,\)"):
        auto(audio, text, Identity(4), weights=torch.ones(5))
    with pytest.raises(InvalidInputError, match=r"weights contains 1\.5"):
        auto(audio, text, Identity(4), weights=torch.full((6,), 1.5))
    with pytest.raises(InvalidInputError, match="weights contains nan"):
        auto(audio, text, Identity(4), weights=torch.full((6,), math.nan))
    with pytest.raises(InvalidInputError, match=r"weights are given with mass 0\.5"):
        MatchingLoss(0.05, mass=0.5)(audio, text, Identity(4), weights=torch.ones(6))
    with pytest.raises(
        InvalidInputError, match="mass is 'auto' with target 'full'; expected 'trimmed'"
    ):
        MatchingLoss(0.05, mass="auto")
