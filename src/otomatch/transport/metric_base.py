"""The base class of the ground metrics."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from otomatch.errors import InvalidInputError


class GroundMetric(nn.Module):
    """Base class of ground metrics d_M(x, y) = sqrt((x - y)^T M (x - y)).

    Attributes:
        dim: Width D of the embeddings; None if any width is accepted.
    """

    dim: int | None

    @property
    def matrix(self) -> Tensor:
        """M, symmetric, shape (D, D)."""
        raise NotImplementedError

    def project_(self) -> None:
        """Project the parameters so that M is positive semi-definite; call it after each step."""

    def whiten(self, x: Tensor) -> Tensor:
        """Map points so that their Euclidean distance is d_M.

        Meant for search and evaluation: gradients flow to x, but not to the metric's parameters.

        Args:
            x: Points (n, D).

        Returns:
            Tensor of shape (n, D), or (n, r) for `LowRank`; float32 at least.

        Raises:
            InvalidInputError: x does not have shape (n, D).
        """
        x = self._checked_points("x", x, self.dim)
        with torch.autocast(x.device.type, enabled=False):
            return self._whitened(x)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distances d_M between all rows of x and all rows of y.

        Distances that rounding cannot tell from 0 are exactly 0, with gradient 0 (that of the bare
        square root is infinite). Computed in float32 at least, also under autocast, and without an
        (n, m, D) tensor.

        Args:
            x: Points (n, D).
            y: Points (m, D).

        Returns:
            Tensor of shape (n, m), non-negative.

        Raises:
            InvalidInputError: x or y does not have shape (rows, D).
        """
        x = self._checked_points("x", x, self.dim)
        y = self._checked_points("y", y, x.shape[1])
        with torch.autocast(x.device.type, enabled=False):
            left_x, right_x = self._factors(x)
            left_y, right_y = self._factors(y)
            norms = (left_x * right_x).sum(1)[:, None] + (left_y * right_y).sum(1)
            # d^2 = diag(X M X^T) 1^T + 1 diag(Y M Y^T)^T - 2 X M Y^T
            squared = torch.addmm(norms, left_x, right_y.T, alpha=-2)
            noise = (4 + math.sqrt(x.shape[1]) / 2) * torch.finfo(x.dtype).eps
            distances: Tensor = _SquareRoot.apply(squared, noise * norms.detach())  # type: ignore[no-untyped-call]
            return distances

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return two matrices L, R such that L(x) R(y)^T = X M Y^T."""
        raise NotImplementedError

    def _whitened(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _checked_points(self, name: str, points: Tensor, width: int | None) -> Tensor:
        if not isinstance(points, Tensor):
            raise InvalidInputError(f"{name} is a {type(points).__name__}; expected a torch.Tensor")
        if points.ndim != 2 or points.shape[1] != (width or points.shape[1]):
            raise InvalidInputError(
                f"{name} has shape {tuple(points.shape)}; expected (rows, {width or 'D'})"
            )
        dtype = torch.promote_types(points.dtype, torch.float32)
        for parameter in self.parameters():
            dtype = torch.promote_types(dtype, parameter.dtype)
        return points.to(dtype)

    def extra_repr(self) -> str:
        """Return the width for the printed module."""
        return f"dim={self.dim}"


class _SquareRoot(torch.autograd.Function):
    """Square root that is 0, with gradient 0, up to `noise`."""

    @staticmethod
    def forward(ctx: Any, squared: Tensor, noise: Tensor) -> Tensor:
        root = squared.masked_fill(squared <= noise, 0).sqrt_()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (root,) = ctx.saved_tensors
        return (gradient / (2 * root)).masked_fill_(root == 0, 0), None
