"""The value of the matching loss, its symmetries, and what it reports of its plan."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.losses.matching import MatchingLoss
from otomatch.transport.ground_metrics import Identity
from otomatch.transport.solvers import partial_sinkhorn, sinkhorn
from tests.support.pairs import (
    CLIPS,
    EXACT,
    KINDS,
    batch,
    full_metric,
    matching_target,
    scaled_cost,
)
from tests.support.transport_oracles import (
    naive_kl,
    naive_sinkhorn,
    naive_target,
)


@pytest.mark.parametrize("clips", [None, CLIPS])
def test_the_loss_is_the_kl_divergence_from_the_true_matching(clips):
    audio, text = batch()
    loss = MatchingLoss(0.1, **EXACT)(audio, text, full_metric(), clips)
    cost = scaled_cost(audio, text, full_metric()).tolist()
    plan = naive_sinkhorn(cost, 0.1, [1 / 7] * 7, [1 / 7] * 7, iterations=500)
    expected = naive_kl(naive_target(clips or list(range(7))), plan)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert loss.shape == ()


@pytest.mark.parametrize("clips", [None, CLIPS])
def test_the_partial_loss_is_the_kl_divergence_from_the_normalised_partial_plan(clips):
    audio, text = batch()
    loss = MatchingLoss(0.1, mass=0.6, **EXACT)(audio, text, full_metric(), clips)
    plan = partial_sinkhorn(scaled_cost(audio, text, full_metric()), 0.1, 0.6, **EXACT).plan / 0.6
    expected = naive_kl(naive_target(clips or list(range(7))), plan.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_the_unscaled_loss_takes_distances_as_they_are():
    audio, text = batch()
    loss = MatchingLoss(0.1, scale=1, **EXACT)(audio, text, full_metric())
    plan = sinkhorn(full_metric()(audio, text), 0.1, **EXACT).plan
    expected = naive_kl(naive_target(list(range(7))), plan.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 8),
    st.floats(0.05, 1),
    st.sampled_from([None, 0.3, 0.8, 1.0]),
    st.sampled_from(["full", "trimmed"]),
    st.integers(0, 1000),
)
def test_the_loss_is_never_negative(size, epsilon, mass, target, seed):
    audio, text = batch(size, seed=seed)
    loss = MatchingLoss(epsilon, mass, target)(audio, text, Identity(5))
    assert -1e-7 < loss.item() < math.inf


@pytest.mark.parametrize("options", [{}, {"mass": 0.6}, {"mass": 1.0, "target": "trimmed"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_perfect_matching_has_loss_zero(options, dtype):
    points = torch.eye(8, dtype=dtype)
    loss_fn = MatchingLoss(0.03, **options)
    assert loss_fn(points, points.clone(), Identity(8)).item() == pytest.approx(0, abs=1e-6)
    assert loss_fn(points, points.roll(1, 0), Identity(8)).item() > 0.5


def test_a_perfect_matching_of_clips_with_several_captions_has_loss_zero():
    points = torch.eye(3).repeat_interleave(2, 0)
    loss_fn, ids = MatchingLoss(0.03), torch.tensor([4, 4, 7, 7, 9, 9])
    assert loss_fn(points, points, Identity(3), ids).item() == pytest.approx(0, abs=1e-6)
    assert loss_fn(points, points, Identity(3)).item() == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_identical_embeddings_have_a_uniform_plan_and_no_gradient(kind):
    points = torch.nn.functional.normalize(torch.ones(6, 4), dim=1).requires_grad_()
    loss = MatchingLoss(**KINDS[kind])(points, points.detach().clone(), Identity(4))
    loss.backward()
    assert (points.grad == 0).all()
    if kind != "trimmed":
        assert loss.item() == pytest.approx(math.log(6), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_pair_has_loss_zero_and_no_gradient(kind):
    audio, text = batch(1)
    loss = MatchingLoss(**KINDS[kind])(audio.requires_grad_(), text, Identity(5))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert audio.grad.abs().max() < 1e-9


@pytest.mark.parametrize("target", ["full", "trimmed"])
def test_mass_one_no_mass_and_either_target_agree(target):
    audio, text = batch()
    values, gradients = [], []
    for loss_fn in (
        MatchingLoss(),
        MatchingLoss(mass=1.0, target=target),
        MatchingLoss(target=target),
    ):
        audio.grad = None
        loss = loss_fn(audio.requires_grad_(), text, full_metric())
        loss.backward()
        values.append(loss.item())
        gradients.append(audio.grad.clone())
    assert values == pytest.approx([values[0]] * 3, rel=1e-8)
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-6, atol=1e-8)


def test_mass_may_change_between_calls():
    audio, text = batch()
    loss_fn = MatchingLoss(target="trimmed")
    full = loss_fn(audio, text, Identity(5)).item()
    loss_fn.mass = 0.6
    expected = MatchingLoss(mass=0.6, target="trimmed")(audio, text, Identity(5)).item()
    assert loss_fn(audio, text, Identity(5)).item() == pytest.approx(expected, rel=1e-6)
    assert expected < 0.9 * full
    loss_fn.mass = 1.5
    with pytest.raises(InvalidInputError, match=r"mass is 1\.5"):
        loss_fn(audio, text, Identity(5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_pairs_does_not_matter(kind):
    audio, text = batch(len(CLIPS))
    order = [4, 0, 6, 1, 5, 2, 3]
    loss_fn = MatchingLoss(**KINDS[kind])
    loss = loss_fn(audio, text, Identity(5), CLIPS)
    shuffled = loss_fn(audio[order], text[order], Identity(5), [CLIPS[i] for i in order])
    assert shuffled.item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_audio_and_text_may_be_exchanged(kind):
    audio, text = batch()
    loss_fn = MatchingLoss(**KINDS[kind])
    exchanged = loss_fn(text, audio, full_metric()).item()
    assert exchanged == pytest.approx(loss_fn(audio, text, full_metric()).item(), rel=1e-6)


def test_a_scale_divides_the_distances():
    audio, text = batch()
    scaled = MatchingLoss(0.1, scale=4.0, **EXACT)(audio, text, full_metric())
    same = MatchingLoss(0.4, scale=1.0, **EXACT)(audio, text, full_metric())
    assert scaled.item() == pytest.approx(same.item(), rel=1e-9)


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, True, None])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(InvalidInputError, match="scale is"):
        MatchingLoss(scale=scale)


def test_the_matching_loss_pulls_captions_of_the_same_clip():
    cost = torch.ones(4, 4, dtype=torch.float64).requires_grad_()
    loss_fn = MatchingLoss(0.1, scale=1)
    loss_fn(torch.ones(4, 1), torch.ones(4, 1), lambda _x, _y: cost, [0, 0, 1, 2]).backward()
    expected = (matching_target([0, 0, 1, 2]) - 1 / 16) / 0.1
    torch.testing.assert_close(cost.grad, expected)


def test_the_last_call_says_how_the_solver_fared():
    audio, text = batch(16, 8)
    loss_fn = MatchingLoss(0.05)
    assert loss_fn.last is None
    loss_fn(audio.requires_grad_(), text, Identity(8)).backward()
    assert loss_fn.last.converged
    assert 0 < loss_fn.last.iterations <= 1000
    assert loss_fn.last.error <= loss_fn.tolerance
    hurried = MatchingLoss(0.01, max_iterations=1)
    hurried(audio, text, Identity(8))
    assert not hurried.last.converged
    assert hurried.last.iterations == 1
    assert hurried.last.error > 1e-3


def test_the_last_call_says_how_sharp_the_plan_was_and_how_much_of_it_is_diagonal():
    loss_fn = MatchingLoss(0.02)
    loss_fn(torch.eye(8), torch.eye(8), Identity(8))
    assert loss_fn.last.entropy == pytest.approx(math.log(8), abs=1e-6)
    assert loss_fn.last.diagonal_mass == pytest.approx(1, abs=1e-6)
    loss_fn(torch.eye(8), torch.eye(8).roll(1, 0), Identity(8))
    assert loss_fn.last.entropy == pytest.approx(math.log(8), abs=1e-6)
    assert loss_fn.last.diagonal_mass == pytest.approx(0, abs=1e-6)
    for mass in (None, 0.5):
        same = MatchingLoss(0.05, mass=mass)
        same(torch.ones(8, 1), torch.ones(8, 1), Identity(1))
        assert same.last.entropy == pytest.approx(2 * math.log(8), abs=1e-6)
        assert same.last.diagonal_mass == pytest.approx(1 / 8, abs=1e-6)
        same(torch.ones(8, 1), torch.ones(8, 1), Identity(1), clip_ids=[0, 0, 0, 0, 1, 1, 1, 1])
        assert same.last.diagonal_mass == pytest.approx(1 / 2, abs=1e-6)
