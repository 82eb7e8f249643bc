"""Losses on a batch of audio-text pairs."""

from torch import nn

from otomatch.losses.gradient_rules import GradientRule, ImplicitGradient, UnrolledGradient
from otomatch.losses.matching import MatchingLoss, PlanStatus
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss

LOSSES: dict[str, type[nn.Module]] = {
    "matching": MatchingLoss,
    "ntxent": NTXentLoss,
    "triplet": TripletLoss,
    "weighted-triplet": WeightedTripletLoss,
}
"""Losses by the name used in configurations."""

__all__ = [
    "LOSSES",
    "GradientRule",
    "ImplicitGradient",
    "MatchingLoss",
    "NTXentLoss",
    "PlanStatus",
    "TripletLoss",
    "UnrolledGradient",
    "WeightedTripletLoss",
]
