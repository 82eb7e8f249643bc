"""Training runs: configuration, data, objective, the loop, the run folder."""

from otomatch.training.config import Config, dump_toml, load_config
from otomatch.training.trainer import TrainingResult, train

__all__ = ["Config", "TrainingResult", "dump_toml", "load_config", "train"]
