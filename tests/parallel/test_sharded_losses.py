"""Losses and training in 2 and 4 processes equal those in one, on the same global batch."""

import math

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from otomatch.errors import InvalidInputError
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.parallel.batch_norm import convert_batch_norm
from otomatch.parallel.process_group import world_size
from otomatch.transport.ground_metrics import GROUND_METRICS, Identity
from tests.support.processes import Failure
from tests.support.sharding import BATCH, CLIPS, EMPTY, EXACT, SIZES, Pair, blocks, features, mean


def loss_and_gradients(loss_fn, ground, sounds, words, clips=None, weights=None):
    """Return this process's loss, plan status, and gradients of embeddings and parameters."""
    model = Pair(ground)
    audio, text = model(sounds, words)
    audio.retain_grad()
    text.retain_grad()
    more = {} if weights is None else {"weights": weights}
    loss = loss_fn(audio, text, model.ground, clips, **more)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return loss.detach(), getattr(loss_fn, "last", None), [audio.grad, text.grad], gradients


def check_against_one_process(group, sizes, loss_fn, ground="full", clips=None, weights=None):
    loss_fn.gather = True
    sounds, words = features()
    one, status, points, parameters = loss_and_gradients(
        loss_fn, ground, sounds, words, clips, weights
    )
    columns = [blocks(sizes, rows) for rows in (sounds, words, clips, weights)]
    jobs = [(loss_fn, ground, *rows) for rows in zip(*columns, strict=True)]
    found = group.run(loss_and_gradients, jobs)
    scale = max(gradient.abs().max() for gradient in parameters)
    assert scale > 1e-3
    for loss, last, _, _ in found:
        assert loss.item() == pytest.approx(one.item(), rel=1e-9)
        if status is not None:
            assert last.converged
            assert last.entropy == pytest.approx(status.entropy, rel=1e-9)
            assert last.diagonal_mass == pytest.approx(status.diagonal_mass, rel=1e-9)
    for side in (0, 1):  # each process's part carries the factor W
        gathered = torch.cat([result[2][side] for result in found]) / len(sizes)
        torch.testing.assert_close(gathered, points[side], rtol=0, atol=1e-9 * scale)
    for gradient, expected in zip(mean([result[3] for result in found]), parameters, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-9 * scale)


WEIGHTS = torch.linspace(0.1, 1, BATCH, dtype=torch.float64)
LOSSES = {
    "balanced": lambda: MatchingLoss(0.1, **EXACT),
    "log domain": lambda: MatchingLoss(1e-3, max_iterations=15, tolerance=10),
    "partial 0.7": lambda: MatchingLoss(0.1, mass=0.7, **EXACT),
    "partial 0.95": lambda: MatchingLoss(0.1, mass=0.95, **EXACT),
    "trimmed": lambda: MatchingLoss(0.1, mass=0.7, target="trimmed", **EXACT),
    "unscaled": lambda: MatchingLoss(0.1, scale=2.0, **EXACT),
    "triplet sum": lambda: TripletLoss(0.3),
    "triplet hardest": lambda: TripletLoss(0.3, "hardest"),
    "weighted triplet": lambda: WeightedTripletLoss(0.3),
    "NT-Xent": lambda: NTXentLoss(0.2),
    "NT-Xent, entropy": lambda: NTXentLoss(0.2, entropy=0.4),
}


@pytest.mark.parametrize("clips", [None, CLIPS], ids=["all differ", "shared clips"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_equal_those_of_one_process(group, name, clips):
    sizes = SIZES[len(group.workers)]
    check_against_one_process(group, sizes, LOSSES[name](), clips=clips)


@pytest.mark.parametrize("name", [*LOSSES])
def test_a_process_may_hold_no_rows(group, name):
    sizes = EMPTY[len(group.workers)]
    check_against_one_process(group, sizes, LOSSES[name](), clips=CLIPS)


@pytest.mark.parametrize("clips", [None, CLIPS], ids=["all differ", "shared clips"])
def test_a_weighted_loss_equals_that_of_one_process(group, clips):
    loss_fn = MatchingLoss(0.1, mass="auto", target="trimmed", **EXACT)
    check_against_one_process(
        group, SIZES[len(group.workers)], loss_fn, clips=clips, weights=WEIGHTS
    )


@pytest.mark.parametrize("ground", GROUND_METRICS)
@pytest.mark.parametrize("name", ["partial 0.7", "NT-Xent"])
def test_every_ground_metric_has_the_gradient_of_one_process(group, name, ground):
    check_against_one_process(group, SIZES[len(group.workers)], LOSSES[name](), ground)


def test_clips_may_be_numbered_by_tensors(group):
    numbers = {clip: number for number, clip in enumerate(dict.fromkeys(CLIPS))}
    clips = torch.tensor([numbers[clip] for clip in CLIPS])
    sizes = SIZES[len(group.workers)]
    check_against_one_process(group, sizes, LOSSES["balanced"](), clips=clips)


def of_tied_embeddings(points):
    """Return gradients where the largest distance occurs many times, on every process."""
    audio = points.clone().requires_grad_()
    text = -points
    loss = MatchingLoss(0.1, gather=True, **EXACT)(audio, text.requires_grad_(), Identity())
    loss.backward()
    return audio.grad / world_size(), text.grad / world_size()


def test_equally_large_distances_share_the_slope_of_the_scale(group):
    points = torch.eye(4, dtype=torch.float64).repeat(2, 1)
    expected = of_tied_embeddings(points)
    found = group.run(of_tied_embeddings, [(p,) for p in points.chunk(len(group.workers))])
    for side in (0, 1):
        gathered = torch.cat([result[side] for result in found])
        torch.testing.assert_close(gathered, expected[side], rtol=0, atol=1e-10)


def test_without_gather_each_process_has_a_loss_of_its_own(group):
    sounds, words = features()
    loss_fn = MatchingLoss(0.1, **EXACT)
    columns = [blocks(SIZES[len(group.workers)], rows) for rows in (sounds, words)]
    jobs = [(loss_fn, "full", *rows) for rows in zip(*columns, strict=True)]
    found = group.run(loss_and_gradients, jobs)
    for job, (loss, *_) in zip(jobs, found, strict=True):
        assert loss.item() == pytest.approx(loss_and_gradients(*job)[0].item(), rel=1e-12)


def change(values, value):
    values = values.clone()
    values[0, 0] = value
    return values


BAD = {
    "nan in audio": (lambda x, y: (change(x, math.nan), y, None), r"audio\[0, 0\] is nan"),
    "infinite text": (lambda x, y: (x, change(y, math.inf), None), r"text\[0, 0\] is inf"),
    "a list": (lambda x, y: (x.tolist(), y, None), "audio is a list"),
    "width": (lambda x, y: (x[:, 1:], y[:, 1:], None), "width: 6, process 1: 5"),
    "dtype": (lambda x, y: (x.float(), y, None), "dtype: torch.float64, process 1: torch.float32"),
    "clip_ids": (lambda x, y: (x, y, list(range(len(x)))), "has clip_ids: False, process 1: True"),
    "too few clip_ids": (lambda x, y: (x, y, []), r"clip_ids has shape \(0,\)"),
    "gradient": (
        lambda x, y: (x.clone().requires_grad_(), y, None),
        "audio that requires a gradient: False, process 1: True",
    ),
}


def loss_of(loss_fn, audio, text, clips):
    return loss_fn(audio, text, Identity(), clips).item()


@pytest.mark.parametrize("loss_fn", [MatchingLoss(gather=True), NTXentLoss(gather=True)])
@pytest.mark.parametrize("kind", BAD)
def test_bad_input_on_one_process_is_refused_on_all(group, kind, loss_fn):
    spoil, message = BAD[kind]
    sizes = SIZES[len(group.workers)]
    rows = [*zip(*(blocks(sizes, x) for x in features()), strict=True)]
    jobs = [(loss_fn, *row, None) for row in rows]
    jobs[1] = (loss_fn, *spoil(*rows[1]))
    found = group.attempt(loss_of, jobs)
    for result in found:
        assert isinstance(result, Failure)
        with pytest.raises(InvalidInputError, match=message):
            raise result.error
    assert all(math.isfinite(x) for x in group.run(loss_of, [(loss_fn, *r, None) for r in rows]))


def loss_with_a_broken_metric(rank_of_it):
    metric = GROUND_METRICS["full"](4)
    if dist.get_rank() == rank_of_it:
        with torch.no_grad():
            metric.weight[0, 0] = math.nan
    NTXentLoss(gather=True)(torch.eye(4), torch.eye(4), metric)


def test_a_metric_that_breaks_on_one_process_is_named_on_all(group):
    for result in group.attempt(loss_with_a_broken_metric, [(1,)] * len(group.workers)):
        assert isinstance(result.error, InvalidInputError)
        assert "the metric returned NaN" in str(result.error)


def trained(loss_fn, sounds, words, wrap):
    """Return the loss and the state after 20 steps of Adam with projection."""
    model = convert_batch_norm(Pair(norm=True))
    joined = DistributedDataParallel(model) if wrap and world_size() > 1 else model
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        audio, text = joined(sounds, words)
        loss = loss_fn(audio, text, model.ground)
        optimiser.zero_grad()
        loss.backward()
        if not wrap and world_size() > 1:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= world_size()
        optimiser.step()
        model.ground.project_()
    return loss.item(), model.state_dict()


MATCHING = MatchingLoss(0.3, 0.7, "trimmed", tolerance=1e-10, gather=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss_fn", "wrap"),
    [(MATCHING, True), (MATCHING, False), (NTXentLoss(gather=True), True)],
    ids=["matching, DDP", "matching, averaged by hand", "NT-Xent, DDP"],
)
def test_twenty_steps_end_where_those_of_one_process_end(group, loss_fn, wrap):
    loss, state = trained(loss_fn, *features(), wrap)
    sizes = SIZES[len(group.workers)]
    rows = zip(*(blocks(sizes, x) for x in features()), strict=True)
    for found, parameters in group.run(trained, [(loss_fn, *row, wrap) for row in rows]):
        assert found == pytest.approx(loss, rel=1e-6)
        torch.testing.assert_close(parameters, state, rtol=0, atol=1e-5)
    untrained = Pair(norm=True).state_dict()
    assert max((state[name] - untrained[name]).abs().max() for name in untrained) > 0.05
