"""Checkpoints of a training run: one safetensors file, replaced atomically, never a pickle."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from otomatch.errors import RunError
from otomatch.files import replacing
from otomatch.models.encoders import trainable_parameters

_FILE = "state.safetensors"
_EXTRA = "extra."


@dataclass(frozen=True)
class Checkpoint:
    """State that a run needs to continue exactly as if it had never stopped.

    Attributes:
        tensors: Weights, and the states of the optimiser and the random generators.
        progress: JSON values: epoch, step, log.
        extra: Other tensors of the run.
    """

    tensors: dict[str, Tensor]
    progress: dict[str, Any]
    extra: dict[str, Tensor] = field(default_factory=dict)


def capture(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    extra: dict[str, Tensor] | None = None,
) -> Checkpoint:
    """Capture model, optimiser and random generators, without frozen weights."""
    weights = model.state_dict().items()
    frozen = _frozen(model)
    tensors = {f"model.{key}": value for key, value in weights if key not in frozen}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(tensors, progress, extra or {})


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Restore a captured state into a model and an optimiser built as they were then.

    Raises:
        RunError: The model has weights that the checkpoint lacks, or the reverse.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "random": {}}
    for key, value in checkpoint.tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    missing, unexpected = model.load_state_dict(parts["model"], strict=False)
    differing = {*missing, *unexpected} - _frozen(model)
    if differing:
        raise RunError(
            f"the checkpoint is of another model: it differs in {sorted(differing)[:3]}; resume "
            "with the encoders that the run was started with"
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["random"]["cuda"])


def _frozen(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters()} - trainable_parameters(model).keys()


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint; a kill at any moment leaves the old one or the new one."""
    extra = {f"{_EXTRA}{key}": value for key, value in checkpoint.extra.items()}
    tensors = {
        key: value.detach().cpu().contiguous()
        for key, value in (checkpoint.tensors | extra).items()
    }
    with replacing(folder / _FILE, durable=True) as partial:
        save_file(tensors, partial, metadata={"progress": json.dumps(checkpoint.progress)})


def read(folder: Path) -> Checkpoint | None:
    """Return the folder's checkpoint, or None if there is none.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            extra = {
                key.removeprefix(_EXTRA): tensors.pop(key)
                for key in list(tensors)
                if key.startswith(_EXTRA)
            }
            return Checkpoint(tensors, json.loads(file.metadata()["progress"]), extra)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged ({error}); delete the folder {folder} to start the run again"
        ) from error
