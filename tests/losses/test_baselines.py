"""NT-Xent and the triplet losses against loops over their definitions."""

import pytest
import torch

from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.transport.ground_metrics import Identity
from tests.support.pairs import BASELINES, CLIPS, batch, full_metric, matching_target
from tests.support.transport_oracles import (
    central_differences,
    naive_nt_xent,
    naive_triplet,
    naive_weighted_triplet,
)


@pytest.mark.parametrize("loss_fn", BASELINES)
def test_captions_of_the_same_clip_are_never_negatives(loss_fn):
    cost = 1 + torch.rand(7, 7)
    cost.requires_grad_()
    loss_fn(torch.ones(7, 1), torch.ones(7, 1), lambda _x, _y: cost, CLIPS).backward()
    same = (matching_target(CLIPS) > 0) & ~torch.eye(7, dtype=torch.bool)
    assert (cost.grad[same] == 0).all()
    assert (cost.grad[~same] != 0).any()


@pytest.mark.parametrize("clips", [None, CLIPS])
@pytest.mark.parametrize("name", ["identity", "full"])
def test_baselines_equal_the_naive_loops(clips, name):
    audio, text = batch(dtype=torch.float64)
    metric = full_metric() if name == "full" else Identity(5)
    scores = (1 - metric(audio, text) ** 2 / 2).tolist()
    ids = clips or list(range(7))
    expected = {
        NTXentLoss(0.2): naive_nt_xent(scores, ids, 0.2),
        NTXentLoss(0.2, entropy=0.1): naive_nt_xent(scores, ids, 0.2, entropy=0.1),
        TripletLoss(0.3): naive_triplet(scores, ids, 0.3, sum),
        TripletLoss(0.3, "hardest"): naive_triplet(scores, ids, 0.3, max),
        WeightedTripletLoss(0.3): naive_weighted_triplet(scores, ids, 0.3),
    }
    for loss_fn, value in expected.items():
        assert value > 0
        assert loss_fn(audio, text, metric, clips).item() == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("loss_fn", BASELINES)
def test_gradients_of_baselines_equal_finite_differences(loss_fn):
    audio, text = batch()
    metric = full_metric()
    leaves = [audio.requires_grad_(), text.requires_grad_(), metric.weight]

    def value():
        return loss_fn(audio, text, metric, CLIPS)

    gradients = torch.autograd.grad(value(), leaves)
    with torch.no_grad():
        expected = [central_differences(value, leaf, 1e-6) for leaf in leaves]
    for gradient, difference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, difference, rtol=1e-5, atol=1e-7)


def paired_scores(loss_fn, own, other):
    """Return the loss of two pairs with score ``own``, and score ``other`` between them."""
    scores = torch.full((2, 2), other, dtype=torch.float64).fill_diagonal_(own)
    points = torch.ones(2, 1, dtype=torch.float64)
    return loss_fn(points, points, lambda _x, _y: (2 - 2 * scores).sqrt()).item()


@pytest.mark.parametrize(
    ("own", "other", "per_query"),
    [
        (0.6, 0.7, (0.5 - 0.42 + 0.072) + (0.03 - 0.28 + 0.441)),
        (0.9, 0.8, (0.5 - 0.63 + 0.162) + (0.03 - 0.32 + 0.576)),
        (0.9, 0.6, 0.0),  # by more than the margin
        (0.3, 0.2, 0.5 - 0.21 + 0.018),  # a negative in the flat part of N
        (-0.5, -0.4, (0.5 + 0.35 + 0.05) + (0.03 + 0.16 + 0.144)),
    ],
)
def test_weighted_triplets_worked_by_hand(own, other, per_query):
    found = paired_scores(WeightedTripletLoss(0.2), own, other)
    assert found == pytest.approx(2 * per_query, abs=1e-12)


def test_the_weight_of_a_positive_falls_and_that_of_a_negative_rises_with_its_similarity():
    loss_fn = WeightedTripletLoss(margin=2.0)  # every query counts
    positives = [paired_scores(loss_fn, own, 0.2) for own in (-0.5, 0.0, 0.5, 0.9, 1.0)]
    assert positives == sorted(positives, reverse=True)
    assert positives[-1] == pytest.approx(0, abs=1e-12)
    negatives = [paired_scores(loss_fn, 1.0, other) for other in (0.1, 0.34, 0.4, 0.7, 1.0)]
    assert negatives[:2] == pytest.approx([0, 0], abs=1e-12)
    assert 0.01 < negatives[2] < negatives[3] < negatives[4]


def test_separated_pairs_have_no_triplet_loss_and_little_cross_entropy():
    points = torch.eye(6)
    for loss_fn in BASELINES:
        assert loss_fn(points, points, Identity(6)).item() < 1e-5
        assert loss_fn(points, points.roll(1, 0), Identity(6)).item() > 0.1


@pytest.mark.parametrize("loss_fn", BASELINES)
def test_baselines_of_a_single_pair_are_zero(loss_fn):
    audio, text = batch(1)
    loss = loss_fn(audio.requires_grad_(), text, Identity(5))
    loss.backward()
    assert loss.item() == 0
    assert (audio.grad == 0).all()


def test_the_temperature_may_be_learnt():
    temperature = torch.nn.Parameter(torch.tensor(0.07))
    loss_fn = NTXentLoss(temperature)
    assert dict(loss_fn.named_parameters()) == {"temperature": temperature}
    loss_fn(*torch.randn(2, 6, 4), Identity(4)).backward()
    assert temperature.grad
