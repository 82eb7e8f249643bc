"""Numbers, differences and exponents as text in tables and plots."""

import math
from typing import Any

from otomatch.studies.power_laws import Exponent
from otomatch.studies.statistics import Difference

NOTHING = "-"
"""Text of a value that does not exist."""


def number(value: float, digits: int, sign: str = "") -> str:
    """Format a number; ``sign`` is that of a format specification, "+" to always write it."""
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else str(value)
    text = f"{value:{sign},.{digits}f}" if abs(value) >= 10_000 else f"{value:{sign}.{digits}f}"
    zero = f"{0:.{digits}f}"
    return zero if text.lstrip("+-") == zero else text


def difference_text(found: Difference, digits: int) -> str:
    """Format a difference and its interval."""
    if math.isnan(found.value):
        return NOTHING
    return number(found.value, digits, "+") + _interval(found.low, found.high, digits, "+")


def exponent_text(found: Exponent) -> str:
    """Format an exponent and its interval."""
    return number(found.value, 2) + _interval(found.low, found.high, 2)


def plain_value(value: Any) -> str:
    """Format a value of an extra table."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval(low: float, high: float, digits: int, sign: str = "") -> str:
    if math.isnan(low):
        return ""
    return f" [{number(low, digits, sign)}, {number(high, digits, sign)}]"
