"""Training runs: configuration, data, objective, the loop, the run folder.

Names are imported on first use, so that the configuration can be read without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otomatch.training.config import Config as Config
    from otomatch.training.config import dump_toml as dump_toml
    from otomatch.training.config import load_config as load_config
    from otomatch.training.trainer import TrainingResult as TrainingResult
    from otomatch.training.trainer import train as train

_MODULE = {
    "Config": "config",
    "TrainingResult": "trainer",
    "dump_toml": "config",
    "load_config": "config",
    "train": "trainer",
}

__all__ = ["Config", "TrainingResult", "dump_toml", "load_config", "train"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'otomatch.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"otomatch.training.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
