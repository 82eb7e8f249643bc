"""How weights are updated: learning rates, weight decay, precision."""

import math
from typing import Any

import torch
from torch import nn

from otomatch.errors import RunError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.training.sections import OptimConfig


def schedule(step: int, total: int, warmup: float) -> float:
    """Factor of the peak learning rate at a step: linear warm-up, then half a cosine to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, total - rising)))


def precision(wanted: str) -> str:
    """The mixed precision to train with, as accelerate names it.

    Raises:
        RunError: fp16 is wanted without a GPU.
    """
    if wanted == "fp16" and not torch.cuda.is_available():
        raise RunError("run.precision = 'fp16' needs a GPU; use 'auto', 'bf16' or 'no'")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # Emulated bfloat16 is slower than float32; older torch cannot tell, and then float32 it is.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "no"


def parameter_groups(model: AudioTextModel, optim: OptimConfig) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay; vectors and the metric have none."""
    rates = {
        "text_encoder": optim.lr / 10 if optim.text_encoder_lr is None else optim.text_encoder_lr,
        "audio_encoder": optim.lr if optim.audio_encoder_lr is None else optim.audio_encoder_lr,
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = rates.get(name.partition(".")[0], optim.lr)
        plain = parameter.ndim < 2 or name.startswith("ground.")
        groups.setdefault((rate, 0.0 if plain else optim.weight_decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
