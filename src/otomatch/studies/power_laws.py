"""Power laws fitted to the trainings of a study."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otomatch.errors import InvalidInputError
from otomatch.studies.bootstrap import t_quantile
from otomatch.studies.catalogue.definition import PowerFit
from otomatch.studies.results import Results, arms_of, outcomes_of
from otomatch.studies.statistics import Interval, seed_means


@dataclass(frozen=True)
class Exponent(Interval):
    """Exponent of a power law y = scale x^value, with its interval.

    Attributes:
        scale: Value of y at x = 1.
        points: Number of points fitted.
    """

    scale: float
    points: int


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """Fit y = scale x^value by least squares of log y on log x, with a 95 % t interval.

    The interval assumes independent points whose errors in log y have equal variance, so it does
    not reveal that a curve bends: look at the plot. It is a t interval because there are too few
    points to resample.

    Args:
        x: Values of x, one for each training.
        y: Values of y, one for each training. Points where x or y is not finite and positive are
            left out.

    Returns:
        The fit; nan for fewer than two different x, without an interval for fewer than 3 points.

    Raises:
        InvalidInputError: If x and y differ in length.
    """
    if len(x) != len(y):
        raise InvalidInputError(f"x has {len(x)} points and y has {len(y)}; expected equally many")
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
        half = t_quantile(n - 2) * error
    return Exponent(slope, slope - half, slope + half, math.exp(intercept), n)


def power_points(
    results: Results, power: PowerFit, value: str | float | None, metric: str
) -> tuple[list[float], list[float]]:
    """Return the factor and the metric of every training of the arms with ``by`` = ``value``."""
    x, y = [], []
    for arm in arms_of(results):
        size = arm.factor(power.factor)
        if arm.factor(power.by) == value and size is not None:
            scores = list(seed_means(outcomes_of(results, arm), metric).values())
            x += [float(size)] * len(scores)
            y += scores
    return x, y
