"""Batches of pairs, metrics and losses that the tests of losses share."""

import torch

from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.transport.ground_metrics import Mahalanobis
from tests.support.transport_oracles import (
    naive_target,
)

EXACT = {"tolerance": 1e-13, "max_iterations": 5000}
KINDS = {
    "balanced": {},
    "partial": {"mass": 0.7},
    "partial, near 1": {"mass": 0.95},
    "trimmed": {"mass": 0.7, "target": "trimmed"},
    "unscaled": {"scale": 0.5},
}
BASELINES = [
    NTXentLoss(),
    NTXentLoss(entropy=0.3),
    TripletLoss(),
    TripletLoss(negatives="hardest"),
    WeightedTripletLoss(),
]
CLIPS = ["rain", "dog", "rain", "car", "dog", "rain", "bell"]


def batch(size=7, dim=5, seed=0, noise=1.5, dtype=torch.float64):
    """Return unit embeddings (size, dim) of pairs that agree up to noise."""
    random = torch.Generator().manual_seed(seed)
    audio = torch.randn(size, dim, generator=random, dtype=torch.float64)
    text = audio + noise * torch.randn(size, dim, generator=random, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    return unit(audio, dim=1).to(dtype), unit(text, dim=1).to(dtype)


def full_metric(dim=5, seed=1, dtype=torch.float64):
    """Return a Mahalanobis metric with large off-diagonal entries."""
    random = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=random, dtype=torch.float64)
    metric = Mahalanobis(dim).to(dtype)
    metric.matrix = (root @ root.T / dim + 0.2 * torch.eye(dim)).to(dtype)
    return metric


def scaled_cost(audio, text, metric):
    distances = metric(audio, text)
    return distances / distances.max()


def matching_target(clips):
    return torch.tensor(naive_target(clips), dtype=torch.float64)
