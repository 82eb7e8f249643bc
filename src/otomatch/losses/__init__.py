"""Losses on a batch of audio-text pairs, and their names."""

from torch import nn

from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss

LOSSES: dict[str, type[nn.Module]] = {
    "matching": MatchingLoss,
    "ntxent": NTXentLoss,
    "triplet": TripletLoss,
    "weighted-triplet": WeightedTripletLoss,
}

__all__ = ["LOSSES", "MatchingLoss", "NTXentLoss", "TripletLoss", "WeightedTripletLoss"]
