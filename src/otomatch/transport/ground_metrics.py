"""Ground metrics: learned distances between audio and text embeddings.

Every metric is a distance d_M(x, y) = sqrt((x - y)^T M (x - y)) with a symmetric positive
semi-definite matrix M (arXiv 2405.10084). From least to most complex: `Identity`, `Diagonal`,
`LowRank` and `Mahalanobis` (full M). All start at the Euclidean distance M = I, or at its scale.

Training is projected gradient descent: after every optimizer step, `project_` projects the
parameters so that M is positive semi-definite. For search and storage, `whiten` maps points so that
their Euclidean distance is d_M.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from otomatch.errors import InvalidInputError, at_least
from otomatch.transport.metric_base import GroundMetric

DEFAULT_RANK = 64


class Identity(GroundMetric):
    """The Euclidean distance, M = I; no parameters.

    Args:
        dim: Width D of the embeddings; None accepts any width, but then `matrix` is undefined.

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else at_least("dim", dim, 1)

    @property
    def matrix(self) -> Tensor:
        """M = I, shape (D, D)."""
        if self.dim is None:
            raise InvalidInputError("Identity() has no width; expected Identity(dim) for a matrix")
        return torch.eye(self.dim)

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def _whitened(self, x: Tensor) -> Tensor:
        return x


class Diagonal(GroundMetric):
    """One weight per dimension, M = diag(w) with w >= 0; starts at w = 1.

    Args:
        dim: Width D of the embeddings.

    Attributes:
        weight: Diagonal w, a parameter (D,).

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = at_least("dim", dim, 1)
        self.weight = nn.Parameter(torch.ones(dim))

    @property
    def matrix(self) -> Tensor:
        """M = diag(w), shape (D, D)."""
        return torch.diag(self.weight)

    @torch.no_grad()
    def project_(self) -> None:
        """Set negative weights to 0."""
        self.weight.clamp_(min=0)

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.weight, x

    def _whitened(self, x: Tensor) -> Tensor:
        return x * self.weight.detach().clamp(min=0).sqrt()


class LowRank(GroundMetric):
    """M = L^T L with L of shape (r, D): the Euclidean distance after a linear map to r dimensions.

    Starts at r random orthogonal rows scaled by sqrt(D/r), so that distances have the scale of
    Euclidean ones. Positive semi-definite by construction: `project_` does nothing.

    Args:
        dim: Width D of the embeddings.
        rank: Rank r, from 1 to D; 64 by default, or D if that is less.

    Attributes:
        weight: Linear map L, a parameter (r, D).

    Raises:
        InvalidInputError: dim is below 1, or rank is not in 1 to D.
    """

    def __init__(self, dim: int, rank: int | None = None) -> None:
        super().__init__()
        self.dim = at_least("dim", dim, 1)
        self.rank = min(dim, DEFAULT_RANK) if rank is None else at_least("rank", rank, 1)
        if self.rank > dim:
            raise InvalidInputError(f"rank is {rank}; expected at most dim = {dim}")
        self.weight = nn.Parameter(torch.empty(self.rank, dim))
        nn.init.orthogonal_(self.weight, gain=math.sqrt(dim / self.rank))

    @property
    def matrix(self) -> Tensor:
        """M = L^T L, shape (D, D)."""
        return self.weight.T @ self.weight

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mapped = x @ self.weight.T.to(x.dtype)
        return mapped, mapped

    def _whitened(self, x: Tensor) -> Tensor:
        return x @ self.weight.detach().T.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the width and the rank for the printed module."""
        return f"dim={self.dim}, rank={self.rank}"


class Mahalanobis(GroundMetric):
    """Full positive semi-definite matrix M (D, D); starts at M = I.

    An optimizer step leaves the parameter asymmetric and possibly indefinite until `project_` is
    called. Until then M is its symmetric part, and negative squared distances count as 0.

    Args:
        dim: Width D of the embeddings.
        project: True if `project_` projects. If False, M may become indefinite, and `whiten` uses
            its nearest positive semi-definite matrix.

    Attributes:
        weight: Parameter (D, D) with symmetric part M.

    Raises:
        InvalidInputError: dim is below 1.
    """

    def __init__(self, dim: int, project: bool = True) -> None:
        super().__init__()
        self.dim = at_least("dim", dim, 1)
        self.project = project
        self.weight = nn.Parameter(torch.eye(dim))
        self._root: tuple[Tensor, Tensor] | None = None

    @property
    def matrix(self) -> Tensor:
        """M, symmetric, shape (D, D). Assign a tensor to set M to its symmetric part.

        Raises:
            InvalidInputError: On assignment, if the shape is not (D, D) or a value is not finite.
        """
        return (self.weight + self.weight.T) / 2

    @matrix.setter
    def matrix(self, value: Tensor) -> None:
        if not isinstance(value, Tensor) or value.shape != self.weight.shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidInputError(f"matrix is {found}; expected {tuple(self.weight.shape)}")
        if not bool(torch.isfinite(value).all()):
            raise InvalidInputError("matrix contains NaN or infinity; expected finite numbers")
        with torch.no_grad():
            self.weight.copy_((value + value.T) / 2)

    @torch.no_grad()
    def project_(self) -> None:
        """Project M on the positive semi-definite cone: symmetrise, clamp eigenvalues at 0."""
        if not self.project:
            return
        matrix = self.matrix
        # A matrix with a Cholesky factor is its own projection, at a tenth of the cost.
        if int(torch.linalg.cholesky_ex(matrix).info.item()) != 0:
            values, vectors = torch.linalg.eigh(matrix)
            matrix = (vectors * values.clamp(min=0)) @ vectors.T
            matrix = (matrix + matrix.T) / 2
        self.weight.copy_(matrix)

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.to(x.dtype), x

    @torch.no_grad()
    def _square_root(self) -> Tensor:
        # Searches whiten one query at a time: compute the eigenvectors once per M.
        if self._root is None or not _equal(self._root[0], self.weight):
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
"""Ground metrics by the name used in configurations; each is called with the width D."""


def _equal(x: Tensor, y: Tensor) -> bool:
    return x.dtype == y.dtype and x.device == y.device and torch.equal(x, y)
