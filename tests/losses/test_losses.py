import copy
import math
import pickle
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.losses import matching as losses
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.pair_batch import prepare_pairs
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.parallel.shard import Shard
from otomatch.studies.loss_cost import measure_loss_cost
from otomatch.transport import implicit_gradient as adjoint
from otomatch.transport.ground_metrics import GROUND_METRICS, Identity, Mahalanobis
from otomatch.transport.solvers import partial_sinkhorn, sinkhorn
from tests.oracles import (
    central_differences,
    naive_kl,
    naive_nt_xent,
    naive_sinkhorn,
    naive_target,
    naive_triplet,
    naive_weighted_triplet,
)

EXACT = {"tolerance": 1e-13, "max_iterations": 5000}
KINDS = {
    "balanced": {},
    "partial": {"mass": 0.7},
    "partial, near 1": {"mass": 0.95},
    "trimmed": {"mass": 0.7, "target": "trimmed"},
    "unscaled": {"scale": 0.5},
}
BASELINES = [
    NTXentLoss(),
    NTXentLoss(entropy=0.3),
    TripletLoss(),
    TripletLoss(negatives="hardest"),
    WeightedTripletLoss(),
]
CLIPS = ["rain", "dog", "rain", "car", "dog", "rain", "bell"]


def batch(size=7, dim=5, seed=0, noise=1.5, dtype=torch.float64):
    """Unit embeddings of pairs that agree up to noise."""
    random = torch.Generator().manual_seed(seed)
    audio = torch.randn(size, dim, generator=random, dtype=torch.float64)
    text = audio + noise * torch.randn(size, dim, generator=random, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    return unit(audio, dim=1).to(dtype), unit(text, dim=1).to(dtype)


def full_metric(dim=5, seed=1, dtype=torch.float64):
    """A Mahalanobis metric with sizeable off-diagonals."""
    random = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=random, dtype=torch.float64)
    metric = Mahalanobis(dim).to(dtype)
    metric.matrix = (root @ root.T / dim + 0.2 * torch.eye(dim)).to(dtype)
    return metric


def scaled_cost(audio, text, metric):
    distances = metric(audio, text)
    return distances / distances.max()


def matching_target(clips):
    return torch.tensor(naive_target(clips), dtype=torch.float64)


# --- the matching loss: its value


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


# --- the matching loss: its gradient


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


# --- trimmed matching


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


def test_a_scale_divides_the_distances():
    audio, text = batch()
    scaled = MatchingLoss(0.1, scale=4.0, **EXACT)(audio, text, full_metric())
    same = MatchingLoss(0.4, scale=1.0, **EXACT)(audio, text, full_metric())
    assert scaled.item() == pytest.approx(same.item(), rel=1e-9)


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, True, None])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(InvalidInputError, match="scale is"):
        MatchingLoss(scale=scale)


def test_the_trimmed_gradient_in_the_cost_is_target_minus_plan():
    cost = torch.rand(6, 6, dtype=torch.float64).requires_grad_()
    loss = MatchingLoss(0.1, 0.5, "trimmed", 1.0, **EXACT)(
        torch.ones(6, 1), torch.ones(6, 1), lambda _x, _y: cost
    )
    loss.backward()
    target = losses.trim_target(torch.eye(6).double() / 6, cost.detach(), 0.5, Shard.local(6))
    plan = partial_sinkhorn(cost.detach(), 0.1, 0.5, **EXACT).plan
    torch.testing.assert_close(cost.grad, (target - plan) / 0.1, rtol=0, atol=1e-9)


def test_the_trimmed_loss_is_zero_where_the_right_pairs_stand_out():
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


# --- clips with several captions


@pytest.mark.parametrize("loss_fn", [MatchingLoss(), MatchingLoss(mass=0.8), *BASELINES])
def test_clip_ids_may_be_tensors_lists_or_strings(loss_fn):
    audio, text = batch()
    numbers = [3, 1, 3, 0, 1, 3, 8]
    values = [
        loss_fn(audio, text, Identity(5), ids).item()
        for ids in (CLIPS, tuple(CLIPS), numbers, torch.tensor(numbers))
    ]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)
    assert values[0] != pytest.approx(loss_fn(audio, text, Identity(5)).item(), rel=1e-3)
    different = loss_fn(audio, text, Identity(5), list(range(7))).item()
    assert different == pytest.approx(loss_fn(audio, text, Identity(5)).item(), rel=1e-6)


@pytest.mark.parametrize("loss_fn", BASELINES)
def test_captions_of_the_same_clip_are_never_negatives(loss_fn):
    cost = 1 + torch.rand(7, 7)
    cost.requires_grad_()
    loss_fn(torch.ones(7, 1), torch.ones(7, 1), lambda _x, _y: cost, CLIPS).backward()
    same = (matching_target(CLIPS) > 0) & ~torch.eye(7, dtype=torch.bool)
    assert (cost.grad[same] == 0).all()
    assert (cost.grad[~same] != 0).any()


def test_the_matching_loss_pulls_captions_of_the_same_clip():
    cost = torch.ones(4, 4, dtype=torch.float64).requires_grad_()
    loss_fn = MatchingLoss(0.1, scale=1)
    loss_fn(torch.ones(4, 1), torch.ones(4, 1), lambda _x, _y: cost, [0, 0, 1, 2]).backward()
    expected = (matching_target([0, 0, 1, 2]) - 1 / 16) / 0.1
    torch.testing.assert_close(cost.grad, expected)


# --- baselines


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


def test_the_identity_metric_scores_unit_vectors_by_their_cosine():
    audio, text = batch()
    torch.testing.assert_close(prepare_pairs(audio, text).similarities(Identity(5)), audio @ text.T)


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
    """The loss of two pairs whose own scores are ``own`` and whose others are ``other``."""
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


# --- robustness


def hard_batches():
    audio, text = batch(32, 16, dtype=torch.float32)
    yield "random", audio, text
    yield "single", audio[:1], text[:1]
    yield "identical embeddings", audio[:1].repeat(9, 1), audio[:1].repeat(9, 1)
    yield "duplicated rows", audio[:8].repeat(4, 1), text[:8].repeat(4, 1)
    yield "text equals audio", audio, audio.clone()
    yield "opposite", audio, -audio
    yield "nearly identical", audio[:1] + 1e-4 * audio, audio[:1] + 1e-4 * text
    yield "zeros", torch.zeros(5, 16), torch.zeros(5, 16)
    yield "large", 1e4 * audio, 1e4 * text


@pytest.mark.parametrize("epsilon", [0.005, 0.05, 1.0])
@pytest.mark.parametrize("case", [*hard_batches()], ids=lambda case: case[0])
def test_float32_losses_and_gradients_are_finite(case, epsilon):
    _, audio, text = case
    options = [*KINDS.values(), {"mass": 0.3, "gradient": "unrolled", "max_iterations": 30}]
    for loss_fn in [
        *(MatchingLoss(epsilon, **{"max_iterations": 200, **o}) for o in options),
        *BASELINES,
    ]:
        for name in ("identity", "full"):
            x, y = (t.clone().requires_grad_() for t in (audio, text))
            metric = GROUND_METRICS[name](16)
            loss = loss_fn(x, y, metric)
            loss.backward()
            assert torch.isfinite(loss)
            for leaf in (x, y, *metric.parameters()):
                assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("loss_fn", [*(MatchingLoss(**o) for o in KINDS.values()), *BASELINES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(loss_fn, dtype):
    audio, text = batch(16, 32, dtype=dtype)
    metric = full_metric(32, dtype=torch.float32)
    expected = loss_fn(audio.float(), text.float(), metric)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_fn(audio.requires_grad_(), text, metric)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert audio.grad.dtype == dtype
    assert torch.isfinite(audio.grad).all()


def test_a_plain_function_as_the_metric_runs_in_float32_under_autocast():
    def metric(x, y):
        return (2 - 2 * x @ y.T).clamp(min=1e-6).sqrt()

    audio, text = batch(16, 32, dtype=torch.bfloat16)
    for loss_fn in (MatchingLoss(), *BASELINES):
        expected = loss_fn(audio.float(), text.float(), metric).item()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert loss_fn(audio, text, metric).item() == pytest.approx(expected, rel=1e-6)


def test_float32_gradients_agree_with_float64_ones():
    for kind in KINDS.values():
        gradients = []
        for dtype in (torch.float32, torch.float64):
            audio, text = batch(32, 16, dtype=torch.float32)
            audio = audio.to(dtype).requires_grad_()
            MatchingLoss(0.05, **kind)(
                audio, text.to(dtype), full_metric(16, dtype=dtype)
            ).backward()
            gradients.append(audio.grad.double())
        error = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
        assert error < 1e-4


# --- diagnostics, memory, errors


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


def test_the_last_call_says_how_sharp_and_how_right_the_plan_was():
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


# --- weights -----------------------------------------------------------------------------------


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


def test_a_batch_without_a_right_pair_teaches_nothing():
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
    with pytest.raises(InvalidInputError, match="weights are given with mass 0.5"):
        MatchingLoss(0.05, mass=0.5)(audio, text, Identity(4), weights=torch.ones(6))
    with pytest.raises(
        InvalidInputError, match="mass is .auto. with target .full.; expected .trimmed."
    ):
        MatchingLoss(0.05, mass="auto")


def test_losses_can_be_copied_pickled_and_printed():
    audio, text = batch()
    for loss_fn in (MatchingLoss(0.02, 0.9), *BASELINES):
        expected = loss_fn(audio, text, Identity(5)).item()
        for other in (copy.deepcopy(loss_fn), pickle.loads(pickle.dumps(loss_fn))):  # noqa: S301
            assert other(audio, text, Identity(5)).item() == pytest.approx(expected, rel=1e-6)
    assert "epsilon=0.02, mass=0.9, target='full', scale='max'" in repr(MatchingLoss(0.02, 0.9))
    assert repr(NTXentLoss()) == "NTXentLoss(temperature=0.07, entropy=0.0, gather=False)"
    assert repr(TripletLoss()) == "TripletLoss(margin=0.2, negatives='sum', gather=False)"
    assert repr(WeightedTripletLoss()) == "WeightedTripletLoss(margin=0.2, gather=False)"


def saved_numbers(loss_fn, size, dim):
    """How many numbers autograd keeps for backward."""
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("mass", [None, 0.9])
def test_a_batch_of_1024_needs_less_than_130_megabytes(mass):
    assert (
        40 < measure_loss_cost(MatchingLoss(0.05, mass=mass), 1024, 1024, budget=0).megabytes < 130
    )


LOSSES = [MatchingLoss(), NTXentLoss(), TripletLoss(), WeightedTripletLoss()]


@pytest.mark.parametrize("loss_fn", LOSSES)
@pytest.mark.parametrize(
    ("audio", "text", "clips", "message"),
    [
        (torch.zeros(3), torch.zeros(3), None, r"audio has shape \(3,\) .*; expected .*\(B, D\)"),
        (torch.zeros(3, 5), torch.zeros(5), None, r"text has shape \(5,\)"),
        (torch.zeros(0, 5), torch.zeros(0, 5), None, r"audio has shape \(0, 5\)"),
        (torch.zeros(3, 5), torch.zeros(4, 5), None, r"audio has shape \(3, 5\) and text \(4, 5\)"),
        (torch.zeros(3, 5).long(), torch.zeros(3, 5), None, "dtype torch.int64; expected float"),
        ([[0.0]], torch.zeros(3, 5), None, "audio is a list; expected a torch"),
        (torch.zeros(3, 4), torch.zeros(3, 4), None, r"x has shape \(3, 4\); expected \(rows, 5\)"),
        (torch.full((3, 5), math.nan), torch.zeros(3, 5), None, r"audio\[0, 0\] is nan; expected"),
        (torch.zeros(3, 5), torch.full((3, 5), math.inf), None, r"text\[0, 0\] is inf; expected"),
        (
            torch.zeros(3, 5),
            torch.zeros(3, 5),
            [1, 2],
            r"clip_ids has shape \(2,\); expected \(3,\)",
        ),
        (torch.zeros(3, 5), torch.zeros(3, 5), torch.zeros(3, 1), r"clip_ids has shape \(3, 1\)"),
    ],
)
def test_bad_input_is_refused_by_name_and_value(loss_fn, audio, text, clips, message):
    with pytest.raises(InvalidInputError, match=message):
        loss_fn(audio, text, Identity(5), clips)


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_a_broken_metric_is_named_as_the_cause(loss_fn):
    metric = Mahalanobis(5)
    with torch.no_grad():
        metric.weight[0, 0] = math.nan
    with pytest.raises(InvalidInputError, match="the metric returned NaN or infinite distances"):
        loss_fn(*batch(dtype=torch.float32), metric)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatchingLoss(epsilon=0), "epsilon is 0; expected a finite number > 0"),
        (lambda: MatchingLoss(epsilon=math.nan), "epsilon is nan"),
        (lambda: MatchingLoss(mass=0.0), r"mass is 0.0; expected a number in \(0, 1\]"),
        (lambda: MatchingLoss(mass=1.1), "mass is 1.1"),
        (lambda: MatchingLoss(target="half"), "target is 'half'; expected one of full, trimmed"),
        (lambda: MatchingLoss(scale="mean"), "scale is 'mean'; expected .max. or a finite"),
        (lambda: MatchingLoss(gradient="x"), "gradient is 'x'; expected one of implicit, unrolled"),
        (lambda: TripletLoss(margin=-0.1), "margin is -0.1; expected a finite number >= 0"),
        (lambda: WeightedTripletLoss(math.inf), "margin is inf; expected a finite number >= 0"),
        (lambda: TripletLoss(negatives="all"), "negatives is 'all'; expected one of sum, hardest"),
        (lambda: NTXentLoss(temperature=0.0), "temperature is 0.0; expected a finite number > 0"),
        (lambda: NTXentLoss(entropy=-1.0), "entropy is -1.0; expected a finite number >= 0"),
    ],
)
def test_bad_options_are_refused_at_once(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
