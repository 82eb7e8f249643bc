"""Transport plans in blocks of rows equal whole plans, at a known number of collectives."""

import math

import pytest
import torch
import torch.distributed as dist

from otomatch import partial_sinkhorn, sinkhorn
from otomatch.errors import InvalidInputError
from otomatch.losses.matching import MatchingLoss
from otomatch.parallel.shard import Shard
from otomatch.transport.ground_metrics import Identity
from tests.support.sharding import (
    BATCH,
    SIZES,
    blocks,
)


def plan_of_block(solver, cost, a, options):
    return solver(cost, a=a, shard=Shard.distributed(len(cost)), **options)


def uneven(rows=BATCH, columns=9):
    random = torch.Generator().manual_seed(0)
    cost = torch.rand(rows, columns, generator=random, dtype=torch.float64)
    a, b = (torch.rand(n, generator=random, dtype=torch.float64) + 0.1 for n in (rows, columns))
    return cost, a / a.sum(), b / b.sum()


@pytest.mark.slow
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
    """Count the collectives that move a vector of one number per column or per row."""
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
