"""Implicit gradients of the matching loss against finite differences and unrolled iterations."""

import sys

import pytest
import torch

from otomatch.errors import InvalidInputError
from otomatch.losses.gradient_rules import ImplicitGradient, UnrolledGradient
from otomatch.losses.matching import MatchingLoss
from otomatch.studies.loss_cost import measure_loss_cost
from otomatch.transport.ground_metrics import GROUND_METRICS, Identity, Mahalanobis
from tests.support.pairs import CLIPS, EXACT, KINDS, batch, full_metric
from tests.support.transport_oracles import (
    central_differences,
)


@pytest.mark.slow
@pytest.mark.parametrize("clips", [None, CLIPS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_gradients_equal_finite_differences(kind, epsilon, clips):
    audio, text = batch()
    metric = full_metric()
    leaves = [audio.requires_grad_(), text.requires_grad_(), metric.weight]
    loss_fn = MatchingLoss(epsilon, **KINDS[kind], **EXACT)

    def value():
        return loss_fn(audio, text, metric, clips)

    gradients = torch.autograd.grad(value(), leaves)
    assert loss_fn.last.converged
    with torch.no_grad():
        expected = [central_differences(value, leaf) for leaf in leaves]
    for gradient, difference in zip(gradients, expected, strict=True):
        scale = difference.abs().max().item()
        assert scale > 1e-3
        torch.testing.assert_close(gradient, difference, rtol=0, atol=1e-6 * scale)
    off_diagonal = gradients[2][~torch.eye(5, dtype=torch.bool)]
    assert (off_diagonal.abs() > 1e-4).any()


@pytest.mark.parametrize("mass", [0.5, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("target", ["full", "trimmed"])
@pytest.mark.parametrize("name", ["diagonal", "low-rank", "full"])
def test_implicit_gradients_equal_the_unrolled_ones(mass, target, name):
    torch.manual_seed(0)
    audio, text = batch(10, 6, noise=2.5)
    metric = GROUND_METRICS[name](6).double()
    leaves = [audio.requires_grad_(), text.requires_grad_(), metric.weight]
    found = []
    for gradient in ("implicit", "unrolled"):
        loss_fn = MatchingLoss(0.1, mass, target, gradient=gradient, **EXACT)
        loss = loss_fn(audio, text, metric)
        assert loss_fn.last.converged
        found.append([loss, *torch.autograd.grad(loss, leaves)])
    for implicit, unrolled in zip(*found, strict=True):
        scale = unrolled.abs().max().item()
        torch.testing.assert_close(implicit, unrolled, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("clips", [None, CLIPS])
def test_the_balanced_implicit_gradient_equals_the_unrolled_one(clips):
    audio, text = batch()
    found = []
    for gradient in ("implicit", "unrolled"):
        loss = MatchingLoss(0.05, gradient=gradient, **EXACT)(
            audio.requires_grad_(), text, full_metric(), clips
        )
        found.append(torch.autograd.grad(loss, audio)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-9)


def test_gradients_scale_with_what_is_made_of_the_loss():
    audio, text = batch()
    audio.requires_grad_()
    (once,) = torch.autograd.grad(MatchingLoss()(audio, text, Identity(5)), audio)
    (thrice,) = torch.autograd.grad(3 * MatchingLoss()(audio, text, Identity(5)) + 1, audio)
    torch.testing.assert_close(thrice, 3 * once)


def test_a_step_against_the_gradient_lowers_the_loss():
    for kind in KINDS.values():
        audio, text = batch(12, 8)
        loss_fn = MatchingLoss(**kind)
        loss = loss_fn(audio.requires_grad_(), text, Identity(8))
        loss.backward()
        after = loss_fn(audio.detach() - 1e-3 * audio.grad, text, Identity(8))
        assert after < loss


def test_no_gradient_is_computed_where_none_is_wanted():
    audio, text = batch()
    assert not MatchingLoss()(audio, text, Identity(5)).requires_grad
    with torch.no_grad():
        assert not MatchingLoss()(audio.requires_grad_(), text, Identity(5)).requires_grad


def saved_numbers(loss_fn, size, dim):
    """Count the numbers that autograd saves for backward."""
    audio, text = batch(size, dim, dtype=torch.float32)
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_fn(audio.requires_grad_(), text, Mahalanobis(dim))
    return sum(kept.values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_backward_keeps_does_not_grow_with_the_iterations(kind):
    few = saved_numbers(MatchingLoss(0.02, **KINDS[kind], max_iterations=10), 64, 32)
    many = saved_numbers(MatchingLoss(0.02, **KINDS[kind], max_iterations=500, tolerance=0), 64, 32)
    assert many == few <= 6 * 64**2 + 8 * 64 * 32
    options = {**KINDS[kind], "gradient": "unrolled", "tolerance": 0}
    unrolled = [
        saved_numbers(MatchingLoss(0.02, max_iterations=n, **options), 64, 32) for n in (10, 50)
    ]
    assert unrolled[1] > unrolled[0] + 40 * 2 * 64


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("mass", [None, 0.9])
def test_a_batch_of_1024_needs_less_than_130_megabytes(mass):
    assert (
        40 < measure_loss_cost(MatchingLoss(0.05, mass=mass), 1024, 1024, budget=0).megabytes < 130
    )


@pytest.mark.parametrize(
    ("name", "rule"), [("implicit", ImplicitGradient()), ("unrolled", UnrolledGradient())]
)
def test_a_gradient_rule_may_be_given_by_name_or_as_a_value(name, rule):
    audio, text = batch()
    audio.requires_grad_()
    found = []
    for gradient in (name, rule):
        loss_fn = MatchingLoss(0.1, 0.7, gradient=gradient)
        assert loss_fn.gradient == rule
        found.append(torch.autograd.grad(loss_fn(audio, text, Identity(5)), audio)[0])
    assert torch.equal(*found)


def test_a_gradient_rule_of_ones_own_decides_how_the_loss_is_differentiated():
    class Halved(ImplicitGradient):
        def evaluate(self, cost, solve, value, gradient):
            return super().evaluate(cost, solve, value, lambda plan: gradient(plan) / 2)

    audio, text = batch()
    audio.requires_grad_()
    whole, halved = (
        torch.autograd.grad(MatchingLoss(gradient=rule)(audio, text, Identity(5)), audio)[0]
        for rule in (ImplicitGradient(), Halved())
    )
    torch.testing.assert_close(halved, whole / 2)


@pytest.mark.parametrize("wrong", [None, 3, "exact", ImplicitGradient, ["implicit"]])
def test_anything_but_a_gradient_rule_or_its_name_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=r"gradient is .*expected .*implicit"):
        MatchingLoss(gradient=wrong)
