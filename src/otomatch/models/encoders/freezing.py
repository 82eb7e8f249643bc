"""What frozen means, in one place for every encoder."""

from typing import Self

from torch import nn


class Freezable(nn.Module):
    """A network that training leaves alone once it is frozen.

    Attributes:
        trainable: whether training updates it; set by `freeze`.
    """

    trainable = True

    def freeze(self) -> Self:
        """Give no weight a gradient, and stay in evaluation mode from now on."""
        self.trainable = False
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen network has no dropout and updates no batch norm."""
        return super().train(mode and self.trainable)
