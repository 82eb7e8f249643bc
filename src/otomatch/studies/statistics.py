"""How sure a study's figures are: spread over seeds, paired bootstrap intervals, power laws.

A figure is a mean over trainings (seeds) and over the clips of several test sets, and both are
samples: another seed or other clips would give another figure. So both are resampled, independently
of each other because every training is scored on the same clips (Owen, The pigeonhole bootstrap,
Annals of Applied Statistics 2007), and clips within their test set. Of S seeds, S - 1 are drawn: S
draws would give a variance too small by (S - 1)/S, which for few seeds is much (Rao and Wu,
Resampling inference with complex survey data, JASA 1988). Two arms are compared on the same seeds
and clips, so that what is hard for both cancels.

An interval is the estimate plus and minus the standard deviation of its resamples, times the
quantile of a t distribution. Percentiles would not do: those of two seeds reach from the one to the
other and hold the truth half of the time. The degrees of freedom are those of Satterthwaite (An
approximate distribution of estimates of variance components, 1946): as few as S - 1 where the
seeds decide, as many as there are clips where the clips do.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from otomatch.errors import InvalidInputError
from otomatch.studies.results import Floats, Outcome, Results

RESAMPLES = 2000
LEVEL = 0.95

Cell = tuple[int, str]
"""A seed and a test set."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; all nan where nothing was measured.

    Attributes:
        value: the estimate.
        low: lower end; nan where the data give no interval.
        high: upper end; likewise.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """An arm minus its reference, or an arm alone; in units of the metric.

    Attributes:
        seeds: trainings that both have; with 1, only clips (or test sets) were resampled.
        tests: test sets that both have.
        left_out: pairs of a seed and a test set for which only one of the two has a value.
    """

    seeds: int
    tests: int
    left_out: int


@dataclass(frozen=True)
class Exponent(Interval):
    """The exponent of y = scale x^value.

    Attributes:
        scale: y at x = 1.
        points: how many were fitted.
    """

    scale: float
    points: int


@dataclass(frozen=True)
class Spread:
    """A mean, and how far trainings lie from one another.

    Attributes:
        mean: over seeds and test sets.
        deviation: standard deviation over seeds (S - 1 in the denominator) of the mean over test
            sets; nan for one seed.
        seeds: how many there are.
    """

    mean: float
    deviation: float
    seeds: int


def mean_and_spread(outcomes: Iterable[Outcome], metric: str) -> Spread:
    """Mean of a metric, and its standard deviation over seeds.

    Args:
        outcomes: of one arm; those without the metric, or with nan, do not count.
        metric: a name in their values.
    """
    by_seed = list(seed_means(outcomes, metric).values())
    if not by_seed:
        return Spread(math.nan, math.nan, 0)
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else math.nan
    return Spread(float(np.mean(by_seed)), deviation, len(by_seed))


def seed_means(outcomes: Iterable[Outcome], metric: str) -> dict[int, float]:
    """Mean of a metric over the test sets, by seed, in order; seeds without it are left out."""
    values: dict[int, list[float]] = {}
    for outcome in outcomes:
        value = outcome.values.get(metric, math.nan)
        if not math.isnan(value):
            values.setdefault(outcome.seed, []).append(value)
    return {seed: float(np.mean(sorted(values[seed]))) for seed in sorted(values)}


def paired_difference(results: Results, arm: str, reference: str, metric: str) -> Difference:
    """How much an arm is above its reference, on the seeds and test sets that both have.

    Clips are resampled where both have values by clip for them, else test sets. Test sets with the
    same values throughout, as where the same clips are classified for each, count as one.

    Args:
        results: of a study, complete or not.
        arm: label of an arm.
        reference: label of another; the same gives exactly 0.
        metric: a name in the outcomes' values.
    """
    first, second = (_by_cell(results, label, metric) for label in (arm, reference))
    pairs = {key: (first[key], second[key]) for key in sorted(first.keys() & second.keys())}
    return _estimate(pairs, metric, len(first.keys() ^ second.keys()))


def mean_interval(results: Results, arm: str, metric: str) -> Difference:
    """The mean of a metric over an arm's seeds and test sets, resampled as differences are.

    Args:
        results: of a study, complete or not.
        arm: label of an arm.
        metric: a name in the outcomes' values.
    """
    cells = {key: (outcome,) for key, outcome in _by_cell(results, arm, metric).items()}
    return _estimate(dict(sorted(cells.items())), metric, 0)


def power_law(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """Fit y = scale x^value: least squares of log y on log x, with a 95 % t interval.

    The interval takes the points as independent, with errors in log y of equal variance, so it does
    not see that a curve bends: look at the plot. A t interval, since few points are too few to
    resample.

    Args:
        x: one value for each point, a training.
        y: likewise. Points where x or y is not finite and positive have no logarithm and are left
            out.

    Returns:
        The fit; nan for fewer than two different x, without an interval for fewer than 3 points.

    Raises:
        InvalidInputError: x and y differ in length.
    """
    if len(x) != len(y):
        raise InvalidInputError(f"x has {len(x)} points and y {len(y)}; expected as many of both")
    points = np.array([x, y], np.float64)
    log_x, log_y = np.log(points[:, np.all(np.isfinite(points) & (points > 0), axis=0)])
    n = len(log_x)
    if len(np.unique(log_x)) < 2:
        return Exponent(math.nan, math.nan, math.nan, math.nan, n)
    centred = log_x - log_x.mean()
    slope = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - slope * log_x.mean())
    half = math.nan
    if n > 2:
        residual = log_y - intercept - slope * log_x
        error = math.sqrt(float(residual @ residual) / (n - 2) / float(centred @ centred))
        half = _quantile(n - 2) * error
    return Exponent(slope, slope - half, slope + half, math.exp(intercept), n)


def _by_cell(results: Results, label: str, metric: str) -> dict[Cell, Outcome]:
    """Outcomes of an arm that have the metric."""
    return {
        (outcome.seed, outcome.test): outcome
        for outcome in results.outcomes
        if outcome.arm.label == label and not math.isnan(outcome.values.get(metric, math.nan))
    }


def _estimate(cells: Mapping[Cell, tuple[Outcome, ...]], metric: str, left_out: int) -> Difference:
    """Of an arm alone, or of the first of two minus the second."""
    if not cells:
        return Difference(math.nan, math.nan, math.nan, 0, 0, left_out)
    seeds, tests = sorted({seed for seed, _ in cells}), sorted({test for _, test in cells})
    values = [_stratum(cells, seeds, test, lambda o: _one(o, metric)) for test in tests]
    clips = [_stratum(cells, seeds, test, lambda o: o.per_clip.get(metric)) for test in tests]
    known, missing = [s for s in values if s is not None], any(c is None for c in clips)
    strata = known if missing else [c for c in clips if c is not None]
    value = float(np.nanmean(np.concatenate([_minus(stratum) for stratum in known], axis=1)))
    half = _half_width(strata, by_clip=not missing)
    return Difference(value, value - half, value + half, len(seeds), len(tests), left_out)


def _stratum(
    cells: Mapping[Cell, tuple[Outcome, ...]],
    seeds: Sequence[int],
    test: str,
    read: Callable[[Outcome], Floats | None],
) -> Floats | None:
    """Values on a test set, (seeds, 1 or 2 arms, clips), nan where a seed lacks it.

    None where there are no such values, or not as many for all.
    """
    found = {s: [read(o) for o in cells[s, test]] for s in seeds if (s, test) in cells}
    lengths = {None if v is None else len(v) for row in found.values() for v in row}
    if None in lengths or len(lengths) > 1:
        return None
    empty = np.full_like(next(iter(found.values())), np.nan, dtype=np.float64)
    return np.stack([np.asarray(found.get(seed, empty), np.float64) for seed in seeds])


def _one(outcome: Outcome, metric: str) -> Floats:
    return np.array([outcome.values[metric]], np.float64)


def _minus(stratum: Floats) -> Floats:
    """(seeds, clips): the first arm minus the second, or the only one."""
    return stratum[:, 0] - stratum[:, 1] if stratum.shape[1] == 2 else stratum[:, 0]


def _half_width(strata: Sequence[Floats], by_clip: bool) -> float:
    """Half of the interval of the mean over seeds, test sets and clips; nan if nothing varies."""
    distinct = _distinct(strata)
    seeds = len(strata[0])
    others = sum(s.shape[-1] - 1 for s, _ in distinct) if by_clip else len(distinct) - 1
    if seeds == 1 and others == 0:
        return math.nan  # there is nothing to resample
    variance = float(np.var(_resampled(distinct, by_clip)))
    by_seed = np.nanmean(np.concatenate([_minus(stratum) for stratum in strata], axis=1), axis=1)
    of_seeds = float(np.var(by_seed, ddof=1)) / seeds if seeds > 1 else 0.0
    of_others = max(0.0, variance - of_seeds)
    spread = of_seeds**2 / max(seeds - 1, 1) + of_others**2 / max(others, 1)
    freedom = (of_seeds + of_others) ** 2 / spread if spread > 0 else math.inf
    return _quantile(freedom) * math.sqrt(variance)


def _quantile(freedom: float) -> float:
    """Of the t distribution, for an interval of `LEVEL`; of the normal one for inf."""
    from scipy.special import ndtri, stdtrit

    at = (1 + LEVEL) / 2
    return float(ndtri(at) if math.isinf(freedom) else stdtrit(freedom, at))


def _resampled(distinct: Sequence[tuple[Floats, int]], by_clip: bool) -> Floats:
    """Means of resamples; those that drew nothing are left out."""
    seeds, tests = len(distinct[0][0]), len(distinct)
    of_seeds = _weights(seeds, seeds - 1, 0)
    of_tests = _weights(1 if by_clip else tests, tests - 1, 1)
    total: Floats = np.zeros(RESAMPLES)
    weight: Floats = np.zeros(RESAMPLES)
    for place, (stratum, copies) in enumerate(distinct):
        difference = _minus(stratum)
        size = difference.shape[1]
        clips = _weights(size, size, 2 + place) if by_clip else np.ones((1, 1))
        means = clips @ np.nan_to_num(difference).T / size
        share = copies * of_seeds * ~np.isnan(difference[:, 0])
        if not by_clip:
            share = share * of_tests[:, [place if tests > 1 else 0]]
        total += (share * means).sum(axis=1)
        weight += np.broadcast_to(share, (RESAMPLES, seeds)).sum(axis=1)
    drawn: Floats = total[weight > 0] / weight[weight > 0]
    return drawn


def _distinct(strata: Sequence[Floats]) -> list[tuple[Floats, int]]:
    """Those that differ, and how often each occurs."""
    found: list[tuple[Floats, int]] = []
    for stratum in strata:
        for place, (other, copies) in enumerate(found):
            if np.array_equal(stratum, other, equal_nan=True):
                found[place] = (other, copies + 1)
                break
        else:
            found.append((stratum, 1))
    return found


@lru_cache(maxsize=64)
def _weights(size: int, draws: int, stream: int) -> npt.NDArray[np.float32]:
    """How often each of ``size`` is drawn, (resamples, size); the same for every comparison.

    Ones for a single one, which there is no choice of.
    """
    if size == 1:
        return np.ones((1, 1), np.float32)
    rng = np.random.default_rng((stream, size))
    drawn = rng.integers(size, size=(RESAMPLES, draws)) + size * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * size)
    return counts.reshape(RESAMPLES, size).astype(np.float32)
