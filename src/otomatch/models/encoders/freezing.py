"""Frozen and trainable: the one place that defines both, for encoders and for whole models."""

from typing import Any, Self

from torch import nn


class Freezable(nn.Module):
    """A network that can be frozen: training then leaves it unchanged.

    Attributes:
        trainable: True unless `freeze` was called.
    """

    trainable = True

    def freeze(self) -> Self:
        """Turn off all gradients, and stay in evaluation mode from now on."""
        self.trainable = False
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, unless frozen: no dropout, and no updates of batch norm then."""
        return super().train(mode and self.trainable)


def is_frozen(encoder: Any) -> bool:
    """Return True if training leaves an audio or text encoder unchanged.

    The outputs of a frozen encoder can be computed once and cached.
    """
    return not encoder.trainable


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training updates, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
