"""otomatch: match sounds and descriptions with optimal transport.

Public names are imported on first use, so that ``import otomatch`` stays fast and loads no
optional dependency.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otomatch import datasets as datasets
    from otomatch import encoders as encoders
    from otomatch import retrieval as retrieval
    from otomatch.contrastive import NTXentLoss as NTXentLoss
    from otomatch.contrastive import TripletLoss as TripletLoss
    from otomatch.contrastive import WeightedTripletLoss as WeightedTripletLoss
    from otomatch.datasets import open_dataset as open_dataset
    from otomatch.evaluate import evaluate as evaluate
    from otomatch.ground import Diagonal as Diagonal
    from otomatch.ground import Identity as Identity
    from otomatch.ground import LowRank as LowRank
    from otomatch.ground import Mahalanobis as Mahalanobis
    from otomatch.library import SoundLibrary as SoundLibrary
    from otomatch.losses import MatchingLoss as MatchingLoss
    from otomatch.model import AudioTextModel as AudioTextModel
    from otomatch.train import train as train
    from otomatch.transport import Plan as Plan
    from otomatch.transport import partial_sinkhorn as partial_sinkhorn
    from otomatch.transport import sinkhorn as sinkhorn
    from otomatch.zeroshot import zeroshot as zeroshot

__version__ = "0.1.0"

_HOME = {
    "AudioTextModel": "model",
    "Diagonal": "ground",
    "Identity": "ground",
    "LowRank": "ground",
    "Mahalanobis": "ground",
    "MatchingLoss": "losses",
    "NTXentLoss": "contrastive",
    "Plan": "transport",
    "SoundLibrary": "library",
    "TripletLoss": "contrastive",
    "WeightedTripletLoss": "contrastive",
    "evaluate": "evaluate",
    "open_dataset": "datasets",
    "partial_sinkhorn": "transport",
    "sinkhorn": "transport",
    "train": "train",
    "zeroshot": "zeroshot",
}
_MODULES = ("datasets", "encoders", "retrieval")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"otomatch.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"otomatch.{name}")
    else:
        raise AttributeError(f"module 'otomatch' has no attribute {name!r}")
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps ``otomatch.train`` the function when ``import otomatch.train`` binds the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
