"""Ground metrics: how far apart an audio and a text embedding are.

Every metric is a distance d_M(x, y) = sqrt((x - y)^T M (x - y)) with a symmetric positive
semi-definite M (arXiv 2405.10084), from least to most complex: `Identity`,
`Diagonal`, `LowRank`, `Mahalanobis` (M in full). All start at, or at the scale of, M = I, the
plain Euclidean distance.

Training is projected gradient descent: after every optimiser step, `project_` puts the metric's
parameters back where M is positive semi-definite. For search and storage, `whiten` maps points to
where their plain Euclidean distance is d_M.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from otomatch.errors import InvalidInputError

DEFAULT_RANK = 64


class GroundMetric(nn.Module):
    """What the four ground metrics share. A metric is any module with these methods."""

    dim: int | None

    @property
    def matrix(self) -> Tensor:
        """M, shape (D, D), symmetric."""
        raise NotImplementedError

    def project_(self) -> None:
        """Put the parameters back where M is positive semi-definite; call it after each step."""

    def whiten(self, x: Tensor) -> Tensor:
        """Map points to where their plain Euclidean distance is d_M.

        Meant for search and evaluation: gradients reach x, not the metric's own parameters.

        Args:
            x: (n, D).

        Returns:
            (n, D), or (n, r) for `LowRank`; float32 at least.

        Raises:
            InvalidInputError: x is not of shape (n, D).
        """
        x = self._points("x", x, self.dim)
        with torch.autocast(x.device.type, enabled=False):
            return self._whitened(x)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances d_M between the rows of x and the rows of y.

        Distances too small to be told from rounding errors are exactly 0, with gradient 0 (that
        of a bare square root is infinite). Computed in float32 at least, also under autocast,
        and never through an (n, m, D) tensor.

        Args:
            x: (n, D).
            y: (m, D).

        Returns:
            (n, m), non-negative.

        Raises:
            InvalidInputError: x or y is not of shape (rows, D).
        """
        x = self._points("x", x, self.dim)
        y = self._points("y", y, x.shape[1])
        with torch.autocast(x.device.type, enabled=False):
            left_x, right_x = self._sides(x)
            left_y, right_y = self._sides(y)
            norms = (left_x * right_x).sum(1)[:, None] + (left_y * right_y).sum(1)
            # d^2 = diag(X M X^T) 1^T + 1 diag(Y M Y^T)^T - 2 X M Y^T
            squared = torch.addmm(norms, left_x, right_y.T, alpha=-2)
            noise = (4 + math.sqrt(x.shape[1]) / 2) * torch.finfo(x.dtype).eps
            distances: Tensor = _Root.apply(squared, noise * norms.detach())  # type: ignore[no-untyped-call]
            return distances

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two matrices L, R with L(x) R(y)^T = X M Y^T."""
        raise NotImplementedError

    def _whitened(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _points(self, name: str, points: Tensor, width: int | None) -> Tensor:
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
        """Say the width in the module's printed form."""
        return f"dim={self.dim}"


class Identity(GroundMetric):
    """The Euclidean distance, M = I: nothing to learn.

    Args:
        dim: width D of the embeddings; None accepts any (but then `matrix` is unknown).

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else _checked("dim", dim)

    @property
    def matrix(self) -> Tensor:
        """M = I, shape (D, D)."""
        if self.dim is None:
            raise InvalidInputError("Identity() has no width; expected Identity(dim) for a matrix")
        return torch.eye(self.dim)

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def _whitened(self, x: Tensor) -> Tensor:
        return x


class Diagonal(GroundMetric):
    """One weight per dimension, M = diag(w) with w >= 0. Starts at w = 1.

    Args:
        dim: width D of the embeddings.

    Attributes:
        weight: parameter (D,), the diagonal.

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = _checked("dim", dim)
        self.weight = nn.Parameter(torch.ones(dim))

    @property
    def matrix(self) -> Tensor:
        """M = diag(w), shape (D, D)."""
        return torch.diag(self.weight)

    @torch.no_grad()
    def project_(self) -> None:
        """Set negative weights to 0."""
        self.weight.clamp_(min=0)

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.weight, x

    def _whitened(self, x: Tensor) -> Tensor:
        return x * self.weight.detach().clamp(min=0).sqrt()


class LowRank(GroundMetric):
    """M = L^T L with L of shape (r, D): distances after a learnt linear map to r dimensions.

    Starts at r random orthogonal rows scaled by sqrt(D/r), so that distances have the Euclidean
    ones' scale. Positive semi-definite by construction: `project_` has nothing to do.

    Args:
        dim: width D of the embeddings.
        rank: r, from 1 to D; default 64, or D if that is less.

    Attributes:
        weight: parameter (r, D), the map L.

    Raises:
        InvalidInputError: dim is below 1, or rank not in 1 to D.
    """

    def __init__(self, dim: int, rank: int | None = None) -> None:
        super().__init__()
        self.dim = _checked("dim", dim)
        self.rank = min(dim, DEFAULT_RANK) if rank is None else _checked("rank", rank)
        if self.rank > dim:
            raise InvalidInputError(f"rank is {rank}; expected at most dim = {dim}")
        self.weight = nn.Parameter(torch.empty(self.rank, dim))
        nn.init.orthogonal_(self.weight, gain=math.sqrt(dim / self.rank))

    @property
    def matrix(self) -> Tensor:
        """M = L^T L, shape (D, D)."""
        return self.weight.T @ self.weight

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mapped = x @ self.weight.T.to(x.dtype)
        return mapped, mapped

    def _whitened(self, x: Tensor) -> Tensor:
        return x @ self.weight.detach().T.to(x.dtype)

    def extra_repr(self) -> str:
        """Say the width and the rank in the module's printed form."""
        return f"dim={self.dim}, rank={self.rank}"


class Mahalanobis(GroundMetric):
    """M in full: a (D, D) positive semi-definite matrix. Starts at M = I.

    An optimiser step leaves the parameter unsymmetric and possibly indefinite until `project_`.
    Until then its symmetric part counts, and negative squared distances count as 0.

    Args:
        dim: width D of the embeddings.
        project: whether `project_` projects. If not, M may become indefinite, and `whiten` is that
            of its nearest positive semi-definite matrix.

    Attributes:
        weight: parameter (D, D), whose symmetric part is M.

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int, project: bool = True) -> None:
        super().__init__()
        self.dim = _checked("dim", dim)
        self.project = project
        self.weight = nn.Parameter(torch.eye(dim))
        self._root: tuple[Tensor, Tensor] | None = None

    @property
    def matrix(self) -> Tensor:
        """M, shape (D, D), symmetric. Assign a tensor to replace it by its symmetric part.

        Raises:
            InvalidInputError: on assignment, if the shape is not (D, D) or a value not finite.
        """
        return (self.weight + self.weight.T) / 2

    @matrix.setter
    def matrix(self, value: Tensor) -> None:
        if not isinstance(value, Tensor) or value.shape != self.weight.shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidInputError(f"matrix is {found}; expected {tuple(self.weight.shape)}")
        if not bool(torch.isfinite(value).all()):
            raise InvalidInputError("matrix holds NaN or infinity; expected finite numbers")
        with torch.no_grad():
            self.weight.copy_((value + value.T) / 2)

    @torch.no_grad()
    def project_(self) -> None:
        """Project on the positive semi-definite cone: symmetrise, clamp eigenvalues at 0."""
        if not self.project:
            return
        matrix = self.matrix
        # A matrix with a Cholesky factor is its own projection, at a tenth of the cost.
        if int(torch.linalg.cholesky_ex(matrix).info.item()) != 0:
            values, vectors = torch.linalg.eigh(matrix)
            matrix = (vectors * values.clamp(min=0)) @ vectors.T
            matrix = (matrix + matrix.T) / 2
        self.weight.copy_(matrix)

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.to(x.dtype), x

    @torch.no_grad()
    def _square_root(self) -> Tensor:
        # Searches whiten one query at a time: compute the eigenvectors once per M.
        if self._root is None or not _same(self._root[0], self.weight):
            values, vectors = torch.linalg.eigh(self.matrix)
            root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
            self._root = (self.weight.detach().clone(), root)
        return self._root[1]

    def _whitened(self, x: Tensor) -> Tensor:
        return x @ self._square_root().to(x.dtype)


GROUND_METRICS: dict[str, Callable[..., GroundMetric]] = {
    "identity": Identity,
    "diagonal": Diagonal,
    "low-rank": LowRank,
    "full": Mahalanobis,
}
"""The ground metrics by the name used in configurations; each is called with the width D."""


class _Root(torch.autograd.Function):
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


def _checked(name: str, number: int) -> int:
    if number < 1:
        raise InvalidInputError(f"{name} is {number}; expected at least 1")
    return number


def _same(x: Tensor, y: Tensor) -> bool:
    return x.dtype == y.dtype and x.device == y.device and torch.equal(x, y)
