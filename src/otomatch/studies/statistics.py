"""Means and paired differences of a study, with their 95 % intervals.

Two arms are compared on the same seeds and clips, so that what is hard for both cancels. Intervals
come from `otomatch.studies.bootstrap`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otomatch.studies.bootstrap import half_width, mean_of
from otomatch.studies.results import Floats, Outcome, Results

SeedAndTest = tuple[int, str]
"""Seed of a training run and name of a test set."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; all nan if nothing was measured.

    Attributes:
        value: Estimate.
        low: Lower end; nan if the data give no interval.
        high: Upper end; nan if the data give no interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """Difference between an arm and its reference, or the mean of one arm, in the metric's unit.

    Attributes:
        seeds: Number of seeds that both arms have; with 1, only clips or test sets are resampled.
        tests: Number of test sets that both arms have.
        left_out: Number of pairs of seed and test set that only one of the arms has.
    """

    seeds: int
    tests: int
    left_out: int


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over trainings.

    Attributes:
        mean: Mean over seeds and test sets.
        deviation: Standard deviation over seeds (S - 1 in the denominator) of the mean over test
            sets; nan for one seed.
        seeds: Number of seeds.
    """

    mean: float
    deviation: float
    seeds: int


def mean_and_spread(outcomes: Iterable[Outcome], metric: str) -> Spread:
    """Return the mean of a metric and its standard deviation over seeds.

    Args:
        outcomes: Outcomes of one arm; those without the metric, or with nan, are ignored.
        metric: Name of the metric in their values.
    """
    by_seed = list(seed_means(outcomes, metric).values())
    if not by_seed:
        return Spread(math.nan, math.nan, 0)
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else math.nan
    return Spread(float(np.mean(by_seed)), deviation, len(by_seed))


def seed_means(outcomes: Iterable[Outcome], metric: str) -> dict[int, float]:
    """Return the mean of a metric over test sets by seed, in order, without seeds that lack it."""
    values: dict[int, list[float]] = {}
    for outcome in outcomes:
        value = outcome.values.get(metric, math.nan)
        if not math.isnan(value):
            values.setdefault(outcome.seed, []).append(value)
    return {seed: float(np.mean(sorted(values[seed]))) for seed in sorted(values)}


def paired_difference(results: Results, arm: str, reference: str, metric: str) -> Difference:
    """Return an arm's metric minus its reference's, on the seeds and test sets that both have.

    Clips are resampled if both arms have values for every clip, otherwise test sets. Test sets with
    identical values count once, such as those that share the clips for zero-shot classification.

    Args:
        results: Results of a study, complete or not.
        arm: Label of an arm.
        reference: Label of the reference; the label of the arm itself gives exactly 0.
        metric: Name of the metric in the outcomes' values.
    """
    first, second = (_by_run(results, label, metric) for label in (arm, reference))
    pairs = {key: (first[key], second[key]) for key in sorted(first.keys() & second.keys())}
    return _estimate(pairs, metric, len(first.keys() ^ second.keys()))


def mean_interval(results: Results, arm: str, metric: str) -> Difference:
    """Return the mean of a metric over an arm's seeds and test sets, with its interval.

    Args:
        results: Results of a study, complete or not.
        arm: Label of an arm.
        metric: Name of the metric in the outcomes' values.
    """
    runs = {key: (outcome,) for key, outcome in _by_run(results, arm, metric).items()}
    return _estimate(dict(sorted(runs.items())), metric, 0)


def _by_run(results: Results, label: str, metric: str) -> dict[SeedAndTest, Outcome]:
    """Return the outcomes of an arm that have the metric."""
    return {
        (outcome.seed, outcome.test): outcome
        for outcome in results.outcomes
        if outcome.arm.label == label and not math.isnan(outcome.values.get(metric, math.nan))
    }


def _estimate(
    runs: Mapping[SeedAndTest, tuple[Outcome, ...]], metric: str, left_out: int
) -> Difference:
    """Return the estimate for one arm, or for the first of two minus the second."""
    if not runs:
        return Difference(math.nan, math.nan, math.nan, 0, 0, left_out)
    seeds, tests = sorted({seed for seed, _ in runs}), sorted({test for _, test in runs})
    values = [_stratum(runs, seeds, test, lambda o: _value(o, metric)) for test in tests]
    clips = [_stratum(runs, seeds, test, lambda o: o.per_clip.get(metric)) for test in tests]
    known, missing = [s for s in values if s is not None], any(c is None for c in clips)
    strata = known if missing else [c for c in clips if c is not None]
    value = mean_of(known)
    half = half_width(strata, by_clip=not missing)
    return Difference(value, value - half, value + half, len(seeds), len(tests), left_out)


def _stratum(
    runs: Mapping[SeedAndTest, tuple[Outcome, ...]],
    seeds: Sequence[int],
    test: str,
    read: Callable[[Outcome], Floats | None],
) -> Floats | None:
    """Return the values on a test set as a stratum, None if some are missing or differ in length.

    Values of a seed without the test set are nan.
    """
    found = {s: [read(o) for o in runs[s, test]] for s in seeds if (s, test) in runs}
    lengths = {None if v is None else len(v) for row in found.values() for v in row}
    if None in lengths or len(lengths) > 1:
        return None
    empty = np.full_like(next(iter(found.values())), np.nan, dtype=np.float64)
    return np.stack([np.asarray(found.get(seed, empty), np.float64) for seed in seeds])


def _value(outcome: Outcome, metric: str) -> Floats:
    return np.array([outcome.values[metric]], np.float64)
