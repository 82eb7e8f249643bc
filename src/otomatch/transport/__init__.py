"""Entropic optimal transport: ground metrics give costs, solvers give plans."""

from otomatch.transport.ground_metrics import (
    GROUND_METRICS,
    Diagonal,
    Identity,
    LowRank,
    Mahalanobis,
)
from otomatch.transport.metric_base import GroundMetric
from otomatch.transport.solvers import Plan, partial_sinkhorn, sinkhorn

__all__ = [
    "GROUND_METRICS",
    "Diagonal",
    "GroundMetric",
    "Identity",
    "LowRank",
    "Mahalanobis",
    "Plan",
    "partial_sinkhorn",
    "sinkhorn",
]
