"""A batch whose rows are sharded over several processes, and the collectives on its rows.

A global batch of B rows is split into blocks, one for each of W processes, in rank order. Blocks
may differ in size (the last batch of an epoch) and may be empty. With one process every operation
returns its argument, so code written for blocks also works on whole batches.

Gradients follow the convention of `DistributedDataParallel`: the loss is that of the global batch
and has the same value on every process, and the *mean* over the processes of a parameter's
gradients is the gradient of the loss. The gradient of a tensor that only one process holds is
therefore W times the derivative of the loss.

A collective hangs unless all processes call it. Base every decision on reduced values, which have
the same bits on all processes, and validate input inside `Shard.raise_together`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from otomatch.errors import InvalidInputError
from otomatch.parallel import process_group


def raise_first(own: InvalidInputError | None, messages: Iterable[str | None]) -> None:
    """Raise this process's error if there is one, else the first of all processes' messages.

    Args:
        own: Error raised on this process, or None.
        messages: Error message of each process in rank order, or None where there is no error.

    Raises:
        InvalidInputError: Some process reports an error.
    """
    if own is not None:
        raise own
    for rank, message in enumerate(messages):
        if message is not None:
            raise InvalidInputError(f"on process {rank}: {message}")


@dataclass(frozen=True)
class Shard:
    """The block of a global batch's rows that this process holds.

    Every process must call the collective operations in the same order, with tensors on a device
    that the process group's backend supports (gloo: CPU; NCCL: GPU).

    Attributes:
        sizes: Number of rows on each process, in rank order. A single entry means that this process
            holds the whole batch, whether or not `torch.distributed` is initialized.
    """

    sizes: tuple[int, ...]

    @classmethod
    def local(cls, rows: int) -> "Shard":
        """Return the shard of a batch that this process holds alone."""
        return cls((rows,))

    @classmethod
    def distributed(cls, rows: int) -> "Shard":
        """Return the shard of a process that holds ``rows`` rows; all-gathers the sizes."""
        return cls(tuple(process_group.all_gather(rows)))

    @property
    def world_size(self) -> int:
        """W, the number of blocks."""
        return len(self.sizes)

    @cached_property
    def rank(self) -> int:
        """Index of this process's block, from 0."""
        return 0 if self.world_size == 1 else dist.get_rank()

    @property
    def rows(self) -> int:
        """B_r, the number of rows on this process."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """B, the number of rows of the global batch."""
        return sum(self.sizes)

    @cached_property
    def own(self) -> slice:
        """Slice of the global batch that this process holds."""
        start = sum(self.sizes[: self.rank])
        return slice(start, start + self.rows)

    @contextmanager
    def raise_together(self) -> Iterator[None]:
        """Raise an InvalidInputError of the ``with`` block on every process, so that none hangs."""
        own = None
        try:
            yield
        except InvalidInputError as error:
            own = error
        message = None if own is None else str(own)
        raise_first(own, [message] if self.world_size == 1 else process_group.all_gather(message))

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, which must have the same shape.

        Detached if there are several processes.
        """
        return x if self.world_size == 1 else _all_reduce(x, dist.ReduceOp.SUM)

    def all_reduce_max(self, x: Tensor) -> Tensor:
        """Return the elementwise maximum of the processes' tensors of the same shape.

        Detached if there are several processes.
        """
        return x if self.world_size == 1 else _all_reduce(x, dist.ReduceOp.MAX)

    def all_gather(self, x: Tensor) -> Tensor:
        """Concatenate the rows (B_r, ...) of all processes in rank order; differentiable.

        Returns:
            Tensor of shape (B, ...).
        """
        if self.world_size == 1:
            return x
        rows: Tensor = _AllGather.apply(x, self)  # type: ignore[no-untyped-call]
        return rows

    def logsumexp(self, x: Tensor) -> Tensor:
        """Return the log-sum-exp over the rows of all processes, (B_r, ...) -> (...).

        Differentiable. Costs two all-reduces.
        """
        if self.world_size == 1:
            return torch.logsumexp(x, 0)
        result: Tensor = _LogSumExp.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def amax(self, x: Tensor) -> Tensor:
        """Return the maximum over the rows of all processes, (B_r, ...) -> (...).

        Differentiable; equal maxima share the gradient.
        """
        result: Tensor = _AMax.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def sum_of_parts(self, x: Tensor) -> Tensor:
        """Return the sum of the processes' parts of a loss.

        Differentiable; the gradient of each part is W times that of the sum (see the module).
        """
        if self.world_size == 1:
            return x
        total: Tensor = _SumOfParts.apply(x, self)  # type: ignore[no-untyped-call]
        return total


def _all_reduce(x: Tensor, operation: Any) -> Tensor:
    out = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(out, operation)
    return out


class _AllGather(torch.autograd.Function):
    """Blocks in rank order; backward sums what all processes did with this process's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        padded = x.new_zeros(max(shard.sizes), *x.shape[1:])  # gloo requires equal shapes
        padded[: shard.rows] = x
        blocks = [torch.empty_like(padded) for _ in shard.sizes]
        dist.all_gather(blocks, padded)
        return torch.cat([block[:rows] for block, rows in zip(blocks, shard.sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.shard.all_reduce_sum(gradient)[ctx.shard.own], None


class _SumOfParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        ctx.world_size = shard.world_size
        return shard.all_reduce_sum(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.world_size, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        here = torch.logsumexp(x, 0)
        top = shard.all_reduce_max(here)
        result = shard.all_reduce_sum((here - top).exp()).log() + top
        ctx.shard = shard
        ctx.save_for_backward(x, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, result = ctx.saved_tensors
        return (x - result).exp_() * ctx.shard.all_reduce_sum(gradient), None


class _AMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        here = x.amax(0) if len(x) else x.new_full(x.shape[1:], -torch.inf)
        largest = shard.all_reduce_max(here)
        ctx.shard = shard
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, largest = ctx.saved_tensors
        hit = x == largest
        slope, hits = ctx.shard.all_reduce_sum(torch.stack([gradient, hit.sum(0).to(gradient)]))
        return hit * (slope / hits), None
