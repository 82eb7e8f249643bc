"""Bootstrap intervals of means over seeds, test sets and clips.

A mean is taken over trainings (seeds) and over the clips of several test sets, and both are
samples: another seed or other clips would give another mean. Seeds and clips are therefore
resampled independently of each other, because every training is scored on the same clips (Owen, The
pigeonhole bootstrap, Annals of Applied Statistics 2007), and clips within their test set. Of S
seeds, S - 1 are drawn: S draws would give a variance too small by the factor (S - 1)/S, which
matters for few seeds (Rao and Wu, Resampling inference with complex survey data, JASA 1988).

An interval is the estimate plus and minus the standard deviation of its resamples, multiplied by a
quantile of a t distribution. Percentiles do not work here: those of two seeds span the two values
and contain the truth half of the time. The degrees of freedom follow Satterthwaite (An approximate
distribution of estimates of variance components, 1946): as few as S - 1 if the variance comes from
the seeds, as many as there are clips if it comes from the clips.

A stratum is an array (seeds, arms, clips) of the values on one test set, with one arm or two; for
two, the statistic is the first minus the second. Values of a seed without this test set are nan.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from otomatch.studies.results import Floats

RESAMPLES = 2000
LEVEL = 0.95


def mean_of(strata: Sequence[Floats]) -> float:
    """Return the mean over seeds, test sets and clips."""
    return float(np.nanmean(np.concatenate([_difference(s) for s in strata], axis=1)))


def half_width(strata: Sequence[Floats], by_clip: bool) -> float:
    """Return half the width of the interval of `mean_of`; nan if there is nothing to resample.

    Args:
        strata: Values on each test set, as described above; a single value each unless by clip.
        by_clip: True to resample clips within test sets, False to resample test sets.
    """
    distinct = _distinct(strata)
    seeds = len(strata[0])
    others = sum(s.shape[-1] - 1 for s, _ in distinct) if by_clip else len(distinct) - 1
    if seeds == 1 and others == 0:
        return math.nan
    variance = float(np.var(_resampled(distinct, by_clip)))
    by_seed = np.nanmean(np.concatenate([_difference(s) for s in strata], axis=1), axis=1)
    of_seeds = float(np.var(by_seed, ddof=1)) / seeds if seeds > 1 else 0.0
    of_others = max(0.0, variance - of_seeds)
    spread = of_seeds**2 / max(seeds - 1, 1) + of_others**2 / max(others, 1)
    freedom = (of_seeds + of_others) ** 2 / spread if spread > 0 else math.inf
    return t_quantile(freedom) * math.sqrt(variance)


def t_quantile(freedom: float) -> float:
    """Return the t quantile for a two-sided interval of `LEVEL`; the normal one for inf."""
    from scipy.special import ndtri, stdtrit

    at = (1 + LEVEL) / 2
    return float(ndtri(at) if math.isinf(freedom) else stdtrit(freedom, at))


def _difference(stratum: Floats) -> Floats:
    """Return the first arm minus the second, or the only arm, (seeds, clips)."""
    return stratum[:, 0] - stratum[:, 1] if stratum.shape[1] == 2 else stratum[:, 0]


def _resampled(distinct: Sequence[tuple[Floats, int]], by_clip: bool) -> Floats:
    """Return the means of the resamples, without resamples that drew no value."""
    seeds, tests = len(distinct[0][0]), len(distinct)
    of_seeds = _weights(seeds, seeds - 1, 0)
    of_tests = _weights(1 if by_clip else tests, tests - 1, 1)
    total: Floats = np.zeros(RESAMPLES)
    weight: Floats = np.zeros(RESAMPLES)
    for place, (stratum, copies) in enumerate(distinct):
        difference = _difference(stratum)
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
    """Return the distinct strata and their counts."""
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
    """Return how often each of ``size`` items is drawn, (resamples, size), with a fixed seed."""
    if size == 1:
        return np.ones((1, 1), np.float32)
    rng = np.random.default_rng((stream, size))
    drawn = rng.integers(size, size=(RESAMPLES, draws)) + size * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * size)
    return counts.reshape(RESAMPLES, size).astype(np.float32)
