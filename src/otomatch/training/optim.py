"""The optimiser: learning rates, weight decay, gradient accumulation, precision."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from otomatch.errors import RunError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import trainable_parameters
from otomatch.training.sections import OptimConfig


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Return the factor of the peak learning rate: linear warm-up, then half a cosine to 0.

    Args:
        step: Number of steps done.
        total: Number of steps of the run.
        warmup: Share of the steps in which the rate rises, [0, 1).
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, total - rising)))


@dataclass(frozen=True)
class Accumulation:
    """Gradient accumulation: one update for every few batches, and for the rest of an epoch.

    Attributes:
        every: Number of batches per update.
        steps: Number of batches per epoch.
    """

    every: int
    steps: int

    def updates_after(self, step: int) -> bool:
        """Return True if the weights are updated after a batch, counted from 0 in its epoch."""
        return (step + 1) % self.every == 0 or step + 1 == self.steps

    def batches(self, step: int) -> int:
        """Return the number of batches in the update that a batch belongs to."""
        first = step // self.every * self.every
        return min(self.every, self.steps - first)

    @property
    def updates(self) -> int:
        """Number of updates per epoch."""
        return math.ceil(self.steps / self.every)


def resolve_precision(precision: str) -> str:
    """Return the mixed precision to train with: "no", "bf16" or "fp16".

    Args:
        precision: One of these, or "auto" for the best that the hardware computes natively.

    Raises:
        RunError: ``precision`` is "fp16" and there is no GPU.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise RunError(
            "precision 'fp16' needs a GPU, and there is none; use 'auto', 'bf16' or 'no'"
        )
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # Emulated bfloat16 is slower than float32. Older versions of torch cannot tell; use float32.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "no"


def parameter_groups(model: AudioTextModel, optim: OptimConfig) -> list[dict[str, Any]]:
    """Group trainable parameters by learning rate and weight decay, for a torch optimizer.

    Vectors and the ground metric have no weight decay. Encoders can have rates of their own.
    """
    rates = {
        "text_encoder": optim.lr / 10 if optim.text_encoder_lr is None else optim.text_encoder_lr,
        "audio_encoder": optim.lr if optim.audio_encoder_lr is None else optim.audio_encoder_lr,
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable_parameters(model).items():
        rate = rates.get(name.partition(".")[0], optim.lr)
        without_decay = parameter.ndim < 2 or name.startswith("ground.")
        decay = 0.0 if without_decay else optim.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
