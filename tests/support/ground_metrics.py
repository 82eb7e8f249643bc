"""Ground metrics and points that the tests of metrics share."""

import torch

from otomatch.transport.ground_metrics import (
    GROUND_METRICS,
)

NAMES = ["identity", "diagonal", "low-rank", "full"]


def trained(name, dim, seed=0, dtype=torch.float64):
    """Return a metric as after some training: away from its start, and projected."""
    torch.manual_seed(seed)
    metric = GROUND_METRICS[name](dim).to(dtype)
    with torch.no_grad():
        for parameter in metric.parameters():
            parameter.add_(torch.randn_like(parameter))
    metric.project_()
    return metric


def points(n, dim, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=random, dtype=dtype)
