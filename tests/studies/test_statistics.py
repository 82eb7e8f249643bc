"""Intervals of studies: coverage of a known truth, closed forms, other implementations."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.studies.catalogue import Arm
from otomatch.studies.power_laws import fit_power_law
from otomatch.studies.results import Results
from otomatch.studies.statistics import mean_and_spread, mean_interval, paired_difference
from tests.support.study_results import results

A, B = Arm("a", {"loss": "a"}), Arm("b", {"loss": "b"})


def difference(found: Results, metric: str = "t2a_r1"):
    return paired_difference(found, "a", "b", metric)


def simulated(rng, seeds=3, tests=3, clips=60, truth=3.0, of_seed=1.0, of_clip=20.0, noise=20.0):
    """Differences with an effect of the seed, of the clip and of both; returns a study."""
    names = [f"scenes-{i}" for i in range(tests)]
    by_seed = rng.normal(0, of_seed, seeds)
    by_clip = {name: rng.normal(0, of_clip, clips) for name in names}
    shared = {(s, name): rng.normal(50, 30, clips) for s in range(seeds) for name in names}

    def values(arm, seed, test):
        apart = truth + by_seed[seed] + by_clip[test] + rng.normal(0, noise, clips)
        return shared[seed, test] + (apart if arm is A else 0)

    return results([A, B], values, range(seeds), names)


def covered(rng, trials=250, truth=3.0, **effects):
    found = [difference(simulated(rng, truth=truth, **effects)) for _ in range(trials)]
    return np.mean([d.low <= truth <= d.high for d in found])


# --- coverage --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_interval_covers_the_truth_where_clips_decide_as_often_as_it_says(seeds):
    assert 0.91 <= covered(np.random.default_rng(seeds), seeds=seeds) <= 1


def test_the_interval_covers_where_a_single_seed_has_no_effect_of_its_own():
    rng = np.random.default_rng(0)
    assert 0.91 <= covered(rng, seeds=1, of_seed=0, clips=120) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 25])
def test_the_interval_covers_the_truth_where_seeds_decide_however_few_they_are(seeds):
    rng = np.random.default_rng(seeds)
    share = covered(rng, 300, seeds=seeds, of_seed=20.0, of_clip=0.0, noise=0.0)
    assert share == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize("seeds", [2, 4])
def test_the_interval_covers_where_both_seeds_and_clips_matter(seeds):
    rng = np.random.default_rng(seeds)
    assert covered(rng, 300, seeds=seeds, of_seed=3.0, clips=40) >= 0.92


def test_where_seeds_decide_the_interval_is_the_t_interval_of_their_means():
    rng = np.random.default_rng(0)
    found = simulated(rng, seeds=4, of_seed=20.0, of_clip=0.0, noise=0.0)
    by_seed = [
        np.mean(
            [o.values["t2a_r1"] * (1 if o.arm is A else -1) for o in found.outcomes if o.seed == s]
        )
        * 2
        for s in range(4)
    ]
    peer = scipy.stats.t.interval(0.95, 3, np.mean(by_seed), scipy.stats.sem(by_seed))
    ours = difference(found)
    assert (ours.low, ours.high) == pytest.approx(peer, abs=0.05 * (peer[1] - peer[0]))


# --- other implementations -------------------------------------------------------------------


def test_one_seed_and_test_set_agree_with_the_standard_error_of_scipys_bootstrap():
    rng = np.random.default_rng(0)
    found = simulated(rng, seeds=1, tests=1, clips=80)
    apart = found.outcomes[0].per_clip["t2a_r1"] - found.outcomes[1].per_clip["t2a_r1"]
    peer = scipy.stats.bootstrap((apart,), np.mean, n_resamples=20_000, rng=rng).standard_error
    half = peer * scipy.stats.t.ppf(0.975, 79)
    ours = difference(found)
    assert ours.value == pytest.approx(apart.mean())
    assert (ours.low, ours.high) == pytest.approx((ours.value - half, ours.value + half), rel=0.06)


def test_crossed_resampling_agrees_with_a_loop_that_draws_seeds_and_clips():
    rng = np.random.default_rng(1)
    found = simulated(rng, seeds=4, tests=2, clips=30, of_seed=4.0)
    cube = np.array([o.per_clip["t2a_r1"] for o in found.outcomes]).reshape(2, 4, 2, 30)
    apart, drawn = cube[0] - cube[1], []
    for _ in range(4000):
        seeds = rng.integers(4, size=3)
        clips = [rng.integers(30, size=30) for _ in range(2)]
        drawn.append(np.mean([apart[s, t, clips[t]].mean() for s in seeds for t in range(2)]))
    variance, of_seeds = np.var(drawn), np.var(apart.mean(axis=(1, 2)), ddof=1) / 4
    freedom = variance**2 / (of_seeds**2 / 3 + (variance - of_seeds) ** 2 / 58)
    half = scipy.stats.t.ppf(0.975, freedom) * variance**0.5
    ours = difference(found)
    assert ours.value == pytest.approx(apart.mean())
    assert ours.high - ours.value == pytest.approx(half, rel=0.06)
    assert ours.value - ours.low == pytest.approx(half, rel=0.06)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.floats(-2, 2), st.integers(0, 99))
def test_power_laws_agree_with_the_regression_of_scipy(points, slope, seed):
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.geomspace(10, 5000, points))
    y = 3 * x**slope * np.exp(rng.normal(size=points))
    peer = scipy.stats.linregress(np.log(x), np.log(y))
    half = scipy.stats.t.ppf(0.975, len(x) - 2) * peer.stderr
    ours = fit_power_law(x, y)
    assert ours.value == pytest.approx(peer.slope, abs=1e-9)
    assert ours.high - ours.low == pytest.approx(2 * half, abs=1e-6)
    assert np.log(ours.scale) == pytest.approx(peer.intercept, abs=1e-8)


# --- closed forms ----------------------------------------------------------------------------


def test_equal_arms_differ_by_exactly_nothing():
    shared = np.random.default_rng(0).normal(50, 30, (3, 40))
    found = difference(results([A, B], lambda _arm, seed, _test: shared[seed]))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert (found.seeds, found.tests, found.left_out) == (3, 2, 0)


def test_a_constant_difference_is_found_without_uncertainty():
    base = np.random.default_rng(0).integers(0, 2, (3, 40)) * 100.0
    found = difference(results([A, B], lambda arm, seed, _test: base[seed] + 2.5 * (arm is A)))
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5, 2.5))


def test_swapping_the_arms_turns_the_sign():
    found = simulated(np.random.default_rng(0))
    there, back = difference(found), paired_difference(found, "b", "a", "t2a_r1")
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_outcomes_does_not_matter(shuffle: random.Random):
    found = simulated(np.random.default_rng(0), clips=15)
    mixed = list(found.outcomes)
    shuffle.shuffle(mixed)
    other = replace(found, outcomes=tuple(mixed))
    assert difference(other) == difference(found)
    assert mean_interval(other, "a", "t2a_r1") == mean_interval(found, "a", "t2a_r1")
    assert mean_and_spread(mixed, "t2a_r1") == mean_and_spread(found.outcomes, "t2a_r1")


def test_means_and_spreads_are_those_of_seeds_and_not_of_test_sets():
    level = {0: 10.0, 1: 14.0, 2: 12.0}
    offset = {"recordings-0": -5.0, "recordings-1": 5.0}
    found = results([A], lambda _arm, seed, test: np.full(4, level[seed] + offset[test]))
    spread = mean_and_spread(found.outcomes, "t2a_r1")
    assert (spread.mean, spread.deviation, spread.seeds) == pytest.approx((12, 2, 3))


def test_a_power_law_without_noise_is_found_exactly():
    found = fit_power_law([1, 10, 100], [5, 50**0.5 * 5**0.5, 50])
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5), abs=1e-6)
    assert found.scale == pytest.approx(5)


# --- what is missing -------------------------------------------------------------------------


def test_one_seed_resamples_clips_only_and_says_so():
    found = difference(simulated(np.random.default_rng(0), seeds=1))
    assert found.seeds == 1
    assert found.low < found.value < found.high
    assert math.isnan(mean_and_spread(simulated(np.random.default_rng(0), seeds=1).outcomes,
                                      "t2a_r1").deviation)  # fmt: skip


def test_pairs_that_only_one_arm_has_are_left_out_and_counted():
    found = simulated(np.random.default_rng(0))
    gone = [o for o in found.outcomes if not (o.arm is A and o.seed == 1)]
    nan = replace(gone[0], values={"t2a_r1": math.nan})
    partial = difference(replace(found, outcomes=(nan, *gone[1:])))
    assert (partial.seeds, partial.tests, partial.left_out) == (2, 3, 3 + 1)
    kept = [o for o in gone[1:] if o.seed != 1 and (o.seed, o.test) != (gone[0].seed, gone[0].test)]
    apart = [o.values["t2a_r1"] * (1 if o.arm is A else -1) for o in kept]
    assert partial.value == pytest.approx(sum(apart) / 5)
    assert partial.low < partial.value < partial.high


def test_arms_without_anything_in_common_have_no_difference():
    found = simulated(np.random.default_rng(0))
    alone = difference(replace(found, outcomes=tuple(o for o in found.outcomes if o.arm is A)))
    assert math.isnan(alone.value)
    assert math.isnan(alone.low)
    assert (alone.seeds, alone.tests, alone.left_out) == (0, 0, 9)


def test_without_values_by_clip_seeds_and_test_sets_are_resampled():
    found = simulated(np.random.default_rng(0), clips=1, seeds=4)
    bare = replace(found, outcomes=tuple(replace(o, per_clip={}) for o in found.outcomes))
    apart = difference(bare)
    means = [difference(replace(bare, outcomes=tuple(o for o in bare.outcomes if o.test == t)))
             for t in ("scenes-0", "scenes-1", "scenes-2")]  # fmt: skip
    assert apart.value == pytest.approx(np.mean([m.value for m in means]))
    assert apart.low < apart.value < apart.high


def test_test_sets_of_several_lengths_are_strata_but_seeds_of_several_are_not():
    rng = np.random.default_rng(0)
    size = {"recordings-0": 10, "recordings-1": 30}
    strata = results([A, B], lambda _arm, _seed, test: rng.normal(0, 1, size[test]))
    assert difference(strata).low < difference(strata).high
    ragged = results([A, B], lambda _arm, seed, _test: rng.normal(0, 1, 10 + seed))
    bare = replace(ragged, outcomes=tuple(replace(o, per_clip={}) for o in ragged.outcomes))
    assert difference(ragged) == difference(bare)


def test_the_same_clips_under_several_names_do_not_count_several_times():
    values = np.random.default_rng(0).normal(0, 1, (2, 40))
    once = results([A, B], lambda arm, _seed, _test: values[int(arm is A)], [0], ["x-0"])
    often = results([A, B], lambda arm, _seed, _test: values[int(arm is A)], [0], ["x-0", "x-1"])
    assert difference(often).tests == 2
    assert (difference(often).low, difference(often).high) == pytest.approx(
        (difference(once).low, difference(once).high)
    )


def test_a_single_figure_has_no_interval():
    one = results([A, B], lambda arm, _seed, _test: np.array([float(arm is A)]), [0], ["x-0"])
    bare = replace(one, outcomes=tuple(replace(o, per_clip={}) for o in one.outcomes))
    for found in (difference(one), difference(bare)):
        assert found.value == 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("x", "y", "points"),
    [
        ([], [], 0),
        ([5], [1], 1),
        ([5, 5], [1, 2], 2),
        ([1, 2], [0, 1], 1),
        ([1, 2], [math.nan] * 2, 0),
    ],
)
def test_a_power_law_needs_two_sizes_with_positive_values(x, y, points):
    found = fit_power_law(x, y)
    assert math.isnan(found.value)
    assert found.points == points


def test_two_points_give_an_exponent_without_an_interval():
    found = fit_power_law([1, 100], [1, 10])
    assert found.value == pytest.approx(0.5)
    assert math.isnan(found.low)


def test_points_without_a_partner_are_an_error():
    with pytest.raises(InvalidInputError, match="2 points and y has 3"):
        fit_power_law([1, 2], [1, 2, 3])
