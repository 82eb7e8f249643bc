import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.evaluation.minibatch_plans import _batches, plan_approximation
from otomatch.transport.solvers import sinkhorn
from tests.support.transport_oracles import naive_kl, naive_plan_approximation


def costs(size, seed=0, noise=1.0, dim=8):
    """Distances of noisy pairs over their largest, in float64."""
    random = torch.Generator().manual_seed(seed)
    audio = torch.randn(size, dim, generator=random, dtype=torch.float64)
    text = audio + noise * torch.randn(size, dim, generator=random, dtype=torch.float64)
    distances = torch.cdist(audio, text)
    return distances / distances.max()


@pytest.mark.parametrize(("size", "batch", "drawn"), [(6, 2, 4), (7, 3, 3), (5, 5, 2), (4, 1, 2)])
def test_all_figures_equal_the_naive_loops(size, batch, drawn):
    cost = costs(size)
    flat = [rows.tolist() for rows in _batches(size, batch, drawn, seed=3)]
    per = size // batch
    partitions = [flat[i : i + per] for i in range(0, len(flat), per)]
    found = plan_approximation(cost, 0.1, batch, drawn, seed=3, tolerance=1e-13)
    restricted, averaged, _ = naive_plan_approximation(cost.tolist(), 0.1, partitions)
    assert found.restricted == pytest.approx(restricted, abs=1e-10)
    assert found.averaged == pytest.approx(averaged, abs=1e-10)
    assert (found.batches, found.converged) == (per, True)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_the_mass_outside_is_its_mean_over_every_partition_there_is(batch):
    cost, per = costs(5), 5 // batch
    every = [
        [list(order[i * batch : (i + 1) * batch]) for i in range(per)]
        for order in itertools.permutations(range(5))
    ]
    _, _, outside = naive_plan_approximation(cost.tolist(), 0.2, every)
    found = plan_approximation(cost, 0.2, batch, partitions=1, tolerance=1e-13)
    assert found.outside == pytest.approx(outside, abs=1e-10)


@pytest.mark.parametrize(("size", "batch"), [(12, 4), (12, 1), (13, 4), (1, 1)])
def test_a_uniform_plan_lies_outside_a_batch_by_the_share_of_the_pairs_that_do(size, batch):
    found = plan_approximation(torch.zeros(size, size), 0.1, batch)
    assert found.outside == pytest.approx((size - batch) / size, abs=1e-12)
    assert found.restricted == pytest.approx(0, abs=1e-12)


def test_a_perfect_matching_lies_in_the_batches_and_is_seen_as_it_is():
    found = plan_approximation(1 - torch.eye(12), 0.01, 4)
    assert (found.restricted, found.averaged, found.outside) == pytest.approx((0, 0, 0), abs=1e-12)


def test_partitions_are_disjoint_batches_that_drop_a_rest_of_less_than_one():
    rows = torch.stack(list(_batches(11, 3, 40, seed=0))).reshape(40, 9)
    assert all(len(set(partition.tolist())) == 9 for partition in rows)
    assert set(rows.flatten().tolist()) == set(range(11))  # another rest each time


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 12),
    st.floats(0.03, 1),
    st.integers(0, 2**32),
    st.sampled_from(["full", "batch"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_a_batch_of_everything_sees_the_whole_plan(size, epsilon, seed, scale, dtype):
    cost = 3 * costs(size, seed).to(dtype)
    found = plan_approximation(cost, epsilon, size, partitions=3, seed=seed, scale=scale)
    assert found.restricted == 0
    assert found.averaged < 1e-12
    assert found.outside < 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_no_figure_is_negative_and_no_share_above_one(size, batch, seed):
    found = plan_approximation(costs(size, seed), 0.1, min(batch, size), 2, seed)
    assert 0 <= found.restricted < math.inf
    assert 0 <= found.averaged < math.inf
    assert 0 <= found.outside <= 1


def test_larger_batches_approximate_the_whole_plan_better():
    cost = costs(96, noise=0.5)
    found = [plan_approximation(cost, 0.1, batch, 6) for batch in (4, 12, 32, 96)]
    for figure in ("restricted", "averaged", "outside"):
        values = [getattr(x, figure) for x in found]
        assert values == sorted(values, reverse=True)
        assert values[0] > 1.3 * values[2]


@pytest.mark.slow
def test_more_partitions_come_nearer_to_the_whole_plan_but_not_to_it():
    cost = costs(24)
    few, many, more = (plan_approximation(cost, 0.1, 6, n).averaged for n in (2, 40, 150))
    assert few > 2 * many
    assert more == pytest.approx(many, rel=0.5)
    assert more > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["full", "batch"])
def test_the_order_of_the_pairs_does_not_matter(scale):
    cost = costs(24)
    order = torch.randperm(24)
    one, other = (
        plan_approximation(c, 0.1, 8, 100, scale=scale) for c in (cost, cost[order][:, order])
    )
    assert other.restricted == pytest.approx(one.restricted, rel=0.05)
    assert other.averaged == pytest.approx(one.averaged, rel=0.05)
    assert other.outside == pytest.approx(one.outside, abs=1e-6)


def test_figures_do_not_change_with_the_scale_of_cost_and_epsilon():
    cost = costs(20)
    one, other = plan_approximation(cost, 0.1, 5), plan_approximation(8 * cost, 0.8, 5)
    assert one == other


def test_seeds_give_the_same_partitions_again():
    cost = costs(20)
    assert plan_approximation(cost, 0.1, 5, seed=1) == plan_approximation(cost, 0.1, 5, seed=1)
    assert plan_approximation(cost, 0.1, 5, seed=1) != plan_approximation(cost, 0.1, 5, seed=2)


def test_scaling_batches_changes_nothing_where_all_have_the_same_largest_distance():
    cost = 0.5 * costs(12)
    cost.fill_diagonal_(0.5)
    full, batch = (plan_approximation(cost, 0.1, 4, scale=scale) for scale in ("full", "batch"))
    assert full == batch
    cost[0, 1] = 1.0  # now in few batches only
    assert plan_approximation(cost, 0.1, 4, scale="batch") != full


def test_a_batch_scaled_to_its_own_largest_is_what_training_solves():
    cost = costs(3)
    (rows,) = _batches(3, 2, 1, seed=0)
    block = (rows[:, None], rows)
    seen = sinkhorn(cost[block] / cost[block].max(), 0.1, tolerance=1e-13).plan
    whole = sinkhorn(cost, 0.1, tolerance=1e-13).plan[block]
    whole = whole / whole.sum()
    found = plan_approximation(cost, 0.1, 2, 1, seed=0, scale="batch", tolerance=1e-13)
    assert found.restricted == pytest.approx(naive_kl(whole.tolist(), seen.tolist()), abs=1e-10)


def test_sharp_plans_give_finite_figures():
    found = plan_approximation(costs(12), 0.001, 4, 2)
    assert math.isfinite(found.restricted)
    assert math.isfinite(found.averaged)


def test_a_plan_that_has_not_converged_is_told():
    assert not plan_approximation(costs(30), 0.005, 6, 2, max_iterations=1).converged
    assert not plan_approximation(costs(30), 0.005, 1, 2, max_iterations=1).converged  # the whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": [[0.0]]}, "cost is a list"),
        ({"cost": torch.zeros(2, 3)}, r"\(2, 3\); expected \(N, N\)"),
        ({"cost": torch.zeros(0, 0)}, r"\(0, 0\); expected \(N, N\)"),
        ({"cost": torch.full((4, 4), math.nan)}, r"cost\[0, 0\] is nan"),
        ({"batch": 5}, "batch is 5; expected at most 4"),
        ({"batch": 0}, "batch is 0; expected a whole number"),
        ({"batch": 1.5}, "batch is 1.5; expected a whole number"),
        ({"partitions": 0}, "partitions is 0"),
        ({"epsilon": 0}, "epsilon is 0"),
        ({"scale": "max"}, "scale is 'max'; expected one of full, batch"),
        ({"cost": -torch.ones(4, 4), "scale": "batch"}, "contains -1.0 and scale is 'batch'"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"cost": costs(4), "epsilon": 0.1, "batch": 2, **change}
    with pytest.raises(InvalidInputError, match=message):
        plan_approximation(**arguments)
