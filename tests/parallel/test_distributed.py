"""Losses and batch norm in 2 and 4 processes equal those in one, on the same global batch."""

import copy
import math
from itertools import accumulate

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from otomatch import partial_sinkhorn, sinkhorn
from otomatch.errors import InvalidInputError
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.parallel.batch_norm import GlobalBatchNorm, convert_batch_norm
from otomatch.parallel.process_group import world_size
from otomatch.parallel.shard import Shard
from otomatch.transport.ground_metrics import GROUND_METRICS, Identity
from tests.support.processes import Failure, Group

EXACT = {"tolerance": 1e-12, "max_iterations": 5000}
SIZES = {2: (6, 7), 4: (5, 3, 4, 1)}
EMPTY = {2: (13, 0), 4: (0, 6, 0, 7)}
CLIPS = [
    "rain",
    "dog",
    "rain",
    "car",
    "dog",
    "rain",
    "bell",
    "car",
    "bird",
    "cat",
    "rain",
    3,
    "dog",
]
BATCH, FEATURES, DIM = 13, 6, 5


@pytest.fixture(scope="module", params=[2, 4], ids=["2 processes", "4 processes"])
def group(request, tmp_path_factory):
    group = Group(request.param, tmp_path_factory.mktemp("store"))
    yield group
    group.stop()


def blocks(sizes, rows):
    """The rows of a tensor or list that each process holds; None stays None."""
    ends = list(accumulate(sizes))
    spans = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [None if rows is None else rows[span] for span in spans]


class Pair(nn.Module):
    """Two small encoders and a ground metric that is not the identity."""

    def __init__(self, ground="full", norm=False):
        super().__init__()
        torch.manual_seed(1)
        self.audio = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, DIM))
        if norm:
            self.audio.insert(1, nn.BatchNorm1d(8))
        self.text = nn.Linear(FEATURES, DIM)
        self.ground = GROUND_METRICS[ground](DIM)
        with torch.no_grad():
            for parameter in self.ground.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
        self.ground.project_()
        self.double()

    def forward(self, sounds, words):
        unit = nn.functional.normalize
        return unit(self.audio(sounds), dim=1), unit(self.text(words), dim=1)


def features():
    random = torch.Generator().manual_seed(0)
    sounds = torch.randn(BATCH, FEATURES, generator=random, dtype=torch.float64)
    noise = torch.randn(BATCH, FEATURES, generator=random, dtype=torch.float64)
    return sounds, sounds + noise


def loss_and_gradients(loss_fn, ground, sounds, words, clips=None, weights=None):
    """Loss, its status, and the gradients of embeddings and parameters, of this process."""
    model = Pair(ground)
    audio, text = model(sounds, words)
    audio.retain_grad()
    text.retain_grad()
    more = {} if weights is None else {"weights": weights}
    loss = loss_fn(audio, text, model.ground, clips, **more)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return loss.detach(), getattr(loss_fn, "last", None), [audio.grad, text.grad], gradients


def mean(lists):
    return [torch.stack(same).mean(0) for same in zip(*lists, strict=True)]


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
    """Gradients where the largest distance occurs many times, on every process."""
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


# --- plans -------------------------------------------------------------------------------------


def plan_of_block(solver, cost, a, options):
    return solver(cost, a=a, shard=Shard.distributed(len(cost)), **options)


def uneven(rows=BATCH, columns=9):
    random = torch.Generator().manual_seed(0)
    cost = torch.rand(rows, columns, generator=random, dtype=torch.float64)
    a, b = (torch.rand(n, generator=random, dtype=torch.float64) + 0.1 for n in (rows, columns))
    return cost, a / a.sum(), b / b.sum()


@pytest.mark.parametrize("mass", [None, 0.6, 1.0])
@pytest.mark.parametrize("epsilon", [0.05, 0.002], ids=["kernel", "log domain"])
def test_a_plan_in_blocks_is_the_whole_plan(group, mass, epsilon):
    cost, a, b = uneven()
    options = {"epsilon": epsilon, "b": b, "tolerance": 1e-9, "max_iterations": 30}
    solver = sinkhorn
    if mass is not None:
        solver, options["mass"] = partial_sinkhorn, mass
    whole = solver(cost, a=a, **options)
    rows = zip(*(blocks(SIZES[len(group.workers)], x) for x in (cost, a)), strict=True)
    plans = group.run(plan_of_block, [(solver, *row, options) for row in rows])
    for name, tolerance in (("plan", 1e-9), ("f", 1e-7)):
        stacked = torch.cat([getattr(plan, name) for plan in plans])
        torch.testing.assert_close(stacked, getattr(whole, name), rtol=0, atol=tolerance)
    for plan in plans:
        assert plan.converged == whole.converged
        torch.testing.assert_close(plan.g, whole.g, rtol=0, atol=1e-7)


def collectives_of_a_plan(mass, epsilon, iterations, columns):
    """How often each collective moved a vector of one number per column, or per row."""
    calls = {"all_reduce": 0, "all_gather": 0}
    kept = {name: getattr(dist, name) for name in calls}

    def counted(name):
        def call(*args, **options):
            tensor = args[0] if name == "all_reduce" else args[1]
            calls[name] += tensor.numel() > 3
            return kept[name](*args, **options)

        return call

    cost = torch.rand(5, columns, dtype=torch.float64)
    shard = Shard.distributed(5)
    try:
        for name in calls:
            setattr(dist, name, counted(name))
        options = {"tolerance": 0.0, "max_iterations": iterations, "shard": shard}
        if mass is None:
            sinkhorn(cost, epsilon, **options)
        else:
            partial_sinkhorn(cost, epsilon, mass, **options)
    finally:
        for name in calls:
            setattr(dist, name, kept[name])
    return calls["all_reduce"], calls["all_gather"]


@pytest.mark.parametrize(
    ("mass", "epsilon", "expected"),
    [(None, 0.1, (1, 0)), (None, 1e-3, (2, 0)), (0.7, 0.1, (1, 1)), (0.7, 1e-3, (2, 1))],
)
def test_an_iteration_reduces_one_vector_and_a_partial_one_gathers_another(
    group, mass, epsilon, expected
):
    few, more = (
        group.run(collectives_of_a_plan, [(mass, epsilon, n, 10)] * len(group.workers))
        for n in (3, 8)
    )
    for first, second in zip(few, more, strict=True):
        assert tuple((b - a) / 5 for a, b in zip(first, second, strict=True)) == expected


# --- errors: raised on all processes, or one waits for the others for ever ---------------------


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


def unrolled_loss():
    points = torch.eye(3).requires_grad_()
    MatchingLoss(gradient="unrolled", gather=True)(points, torch.eye(3), Identity())


def recorded_plan():
    sinkhorn(torch.rand(2, 4).requires_grad_(), 0.1, shard=Shard.distributed(2))


@pytest.mark.parametrize(
    ("job", "message"),
    [(unrolled_loss, "gradient is 'unrolled' with"), (recorded_plan, "cost requires a gradient")],
)
def test_iterations_are_not_recorded_over_several_processes(group, job, message):
    for result in group.attempt(job, [()] * len(group.workers)):
        assert isinstance(result.error, InvalidInputError)
        assert message in str(result.error)


def plan_of_bad_block(spoiled):
    cost = torch.rand(2, 4)
    if dist.get_rank() == 1:
        cost = spoiled
    sinkhorn(cost, 0.1, shard=Shard.distributed(2))


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [(torch.full((2, 4), math.nan), r"cost\[0, 0\] is nan"), (torch.rand(3, 4), "cost has 3 rows")],
)
def test_a_bad_block_is_refused_on_all_processes(group, spoiled, message):
    for result in group.attempt(plan_of_bad_block, [(spoiled,)] * len(group.workers)):
        with pytest.raises(InvalidInputError, match=message):
            raise result.error


# --- batch norm --------------------------------------------------------------------------------


def normalised(norm, x, slope):
    """Output, gradients and buffers after two passes, of this process."""
    norm = convert_batch_norm(copy.deepcopy(norm))
    norm(x + 1)
    x.requires_grad_()
    out = norm(x)
    out.backward(slope * world_size())
    parts = [parameter.grad for parameter in norm.parameters()]
    return type(norm), out.detach(), x.grad, parts, norm.state_dict()


NORMS = {
    "1d": (nn.BatchNorm1d(3), (BATCH, 3)),
    "2d": (nn.BatchNorm2d(3), (BATCH, 3, 4, 2)),
    "3d": (nn.BatchNorm3d(3), (BATCH, 3, 2, 2, 2)),
    "cumulative": (nn.BatchNorm2d(3, momentum=None), (BATCH, 3, 4, 2)),
    "plain": (nn.BatchNorm2d(3, affine=False), (BATCH, 3, 4, 2)),
    "stateless": (nn.BatchNorm2d(3, track_running_stats=False), (BATCH, 3, 4, 2)),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("sizes", [SIZES, EMPTY], ids=["uneven", "empty"])
def test_global_batch_norm_is_batch_norm_of_the_global_batch(group, name, sizes):
    norm, shape = NORMS[name]
    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter += torch.randn(3)
    x = 5 + torch.randn(shape, dtype=torch.float64)
    slope = torch.randn(shape, dtype=torch.float64)
    kind, out, by_x, parts, state = normalised(norm, x.clone(), slope)
    sizes = sizes[len(group.workers)]
    jobs = zip(blocks(sizes, x), blocks(sizes, slope), strict=True)
    found = group.run(normalised, [(norm, *job) for job in jobs])
    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(torch.cat([result[1] for result in found]), out, **exact)
    by_rows = torch.cat([result[2] for result in found]) / len(sizes)
    torch.testing.assert_close(by_rows, by_x, **exact)
    for part, expected in zip(mean([result[3] for result in found]), parts, strict=True):
        torch.testing.assert_close(part, expected, **exact)
    for result in found:
        assert result[0] is kind is GlobalBatchNorm
        assert result[4].keys() == norm.state_dict().keys()
        torch.testing.assert_close(result[4], state, **exact)


def evaluated(norm, x):
    return convert_batch_norm(norm).eval()(x).detach()


def test_evaluation_uses_the_running_statistics(group):
    norm = nn.BatchNorm2d(3).double()
    norm(5 + torch.randn(9, 3, 2, 2, dtype=torch.float64))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    found = group.run(evaluated, [(norm, x)] * len(group.workers))
    for out in found:
        torch.testing.assert_close(out, norm.eval()(x).detach())


def one_value_in_all():
    GlobalBatchNorm(3)(torch.ones(int(dist.get_rank() == 0), 3))


def test_a_single_value_per_channel_cannot_be_normalised(group):
    for result in group.attempt(one_value_in_all, [()] * len(group.workers)):
        assert "batch norm got 1 values per channel" in str(result.error)
        assert isinstance(result.error, InvalidInputError)


def test_global_batch_norm_keeps_small_precision_of_large_values(group):
    x = (1e4 + torch.randn(BATCH, 3)).float()
    slope = torch.randn(BATCH, 3)
    expected = normalised(nn.BatchNorm1d(3), x.clone(), slope)[1]
    sizes = SIZES[len(group.workers)]
    jobs = zip(blocks(sizes, x), blocks(sizes, slope), strict=True)
    found = group.run(normalised, [(nn.BatchNorm1d(3), *job) for job in jobs])
    torch.testing.assert_close(
        torch.cat([result[1] for result in found]), expected, rtol=0, atol=5e-3
    )


def test_converting_replaces_every_batch_norm_and_shares_its_tensors():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())).eval()
    before = dict(model.named_parameters())
    assert convert_batch_norm(model) is model
    assert isinstance(model[1][0], GlobalBatchNorm)
    assert not model[1][0].training
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    single = convert_batch_norm(nn.BatchNorm2d(3, eps=0.5, momentum=0.3))
    assert (single.eps, single.momentum) == (0.5, 0.3)


# --- training ----------------------------------------------------------------------------------


def trained(loss_fn, sounds, words, wrap):
    """Parameters and buffers after 20 steps of Adam with projection."""
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
