"""otomatch: match sounds and descriptions with optimal transport.

Public names are imported on first use, so that ``import otomatch`` stays fast and loads no
optional dependency.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otomatch import datasets as datasets
    from otomatch.datasets import open_dataset as open_dataset
    from otomatch.evaluation import evaluate as evaluate
    from otomatch.evaluation import retrieval as retrieval
    from otomatch.evaluation import zeroshot as zeroshot
    from otomatch.library import SoundLibrary as SoundLibrary
    from otomatch.losses import MatchingLoss as MatchingLoss
    from otomatch.losses import NTXentLoss as NTXentLoss
    from otomatch.losses import TripletLoss as TripletLoss
    from otomatch.losses import WeightedTripletLoss as WeightedTripletLoss
    from otomatch.models import AudioTextModel as AudioTextModel
    from otomatch.models import encoders as encoders
    from otomatch.training import train as train
    from otomatch.transport import Diagonal as Diagonal
    from otomatch.transport import Identity as Identity
    from otomatch.transport import LowRank as LowRank
    from otomatch.transport import Mahalanobis as Mahalanobis
    from otomatch.transport import Plan as Plan
    from otomatch.transport import partial_sinkhorn as partial_sinkhorn
    from otomatch.transport import sinkhorn as sinkhorn

__version__ = "0.1.0"

_ROOM = {
    "AudioTextModel": "models",
    "Diagonal": "transport",
    "Identity": "transport",
    "LowRank": "transport",
    "Mahalanobis": "transport",
    "MatchingLoss": "losses",
    "NTXentLoss": "losses",
    "Plan": "transport",
    "SoundLibrary": "library",
    "TripletLoss": "losses",
    "WeightedTripletLoss": "losses",
    "evaluate": "evaluation",
    "open_dataset": "datasets",
    "partial_sinkhorn": "transport",
    "sinkhorn": "transport",
    "train": "training",
    "zeroshot": "evaluation",
}
_MODULES = {
    "datasets": "datasets",
    "encoders": "models.encoders",
    "retrieval": "evaluation.retrieval",
}

__all__ = [*_ROOM, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _ROOM:
        value = getattr(importlib.import_module(f"otomatch.{_ROOM[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"otomatch.{_MODULES[name]}")
    else:
        raise AttributeError(f"module 'otomatch' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
