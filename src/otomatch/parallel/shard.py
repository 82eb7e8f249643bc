"""One batch held by several processes: which rows each of them has, and what they exchange.

The B rows of a global batch lie in blocks, one on each of W processes, in rank order. Blocks may
differ in size (the last batch of an epoch) and be empty. `Shard` is what one process knows of this.
With one process each of its operations gives back what it got, so that code written for blocks is
also the code for whole batches.

Convention of gradients, that of `DistributedDataParallel`: the loss is the global batch's, the same
number on every process, and the *mean* over the processes of a parameter's gradients is the loss's
gradient. So what a process holds alone carries W times its slope.

Processes must agree on every decision, or one waits for ever: decide on reduced values only, which
have the same bits everywhere, and check input within `Shard.together`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from otomatch.errors import InvalidInputError

T = TypeVar("T")


def processes() -> int:
    """How many processes `torch.distributed` joins; 1 where it is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def exchange(value: T) -> list[T]:
    """What each process passes, in rank order; any value that can be pickled, of any size."""
    if processes() == 1:
        return [value]
    found: list[Any] = [None] * processes()
    dist.all_gather_object(found, value)
    return found


def raise_alike(own: InvalidInputError | None, messages: Iterable[str | None]) -> None:
    """Raise the own error, or else the first one that a process reports in an exchange."""
    if own is not None:
        raise own
    for rank, message in enumerate(messages):
        if message is not None:
            raise InvalidInputError(f"on process {rank}: {message}")


@dataclass(frozen=True)
class Shard:
    """The block of rows of a global batch that this process holds.

    Operations are collective: every process calls them, in the same order, with tensors on the
    device that the process group's backend serves (gloo: CPU; NCCL: GPU).

    Attributes:
        sizes: rows on each process, in rank order; a single one stands for a whole batch that no
            other process has a part in, whether or not `torch.distributed` runs.
    """

    sizes: tuple[int, ...]

    @classmethod
    def whole(cls, rows: int) -> "Shard":
        """All rows are here."""
        return cls((rows,))

    @classmethod
    def of(cls, rows: int) -> "Shard":
        """This process holds so many rows, and asks the others how many they hold."""
        return cls(tuple(exchange(rows)))

    def resized(self, rows: int) -> "Shard":
        """The same processes with another number of rows on each."""
        return Shard.whole(rows) if self.alone else Shard.of(rows)

    @property
    def processes(self) -> int:
        """W, the number of blocks."""
        return len(self.sizes)

    @property
    def alone(self) -> bool:
        """Whether there is a single block."""
        return len(self.sizes) == 1

    @cached_property
    def rank(self) -> int:
        """The block that is here."""
        return 0 if self.alone else dist.get_rank()

    @property
    def rows(self) -> int:
        """Rows held here."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """B, rows of all blocks."""
        return sum(self.sizes)

    @cached_property
    def own(self) -> slice:
        """Where the block lies in the global batch."""
        start = sum(self.sizes[: self.rank])
        return slice(start, start + self.rows)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Check input: an InvalidInputError within is raised on every process, and none waits."""
        problem = None
        try:
            yield
        except InvalidInputError as error:
            problem = error
        message = None if problem is None else str(problem)
        raise_alike(problem, [message] if self.alone else exchange(message))

    def sum(self, x: Tensor) -> Tensor:
        """Sum over the processes of tensors of one shape; with several, without a gradient."""
        return x if self.alone else _reduced(x, dist.ReduceOp.SUM)

    def max(self, x: Tensor) -> Tensor:
        """Largest over the processes, entry by entry; with several, without a gradient."""
        return x if self.alone else _reduced(x, dist.ReduceOp.MAX)

    def gather(self, x: Tensor) -> Tensor:
        """The rows (B_r, ...) of all processes in rank order, (B, ...); differentiable."""
        if self.alone:
            return x
        rows: Tensor = _Gather.apply(x, self)  # type: ignore[no-untyped-call]
        return rows

    def logsumexp(self, x: Tensor) -> Tensor:
        """Log of the sum of exp over the rows of all processes, (B_r, ...) to (...).

        Differentiable; costs two reductions.
        """
        if self.alone:
            return torch.logsumexp(x, 0)
        result: Tensor = _LogSumExp.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def largest(self, x: Tensor) -> Tensor:
        """Largest over the rows of all processes, (B_r, ...) to (...).

        Differentiable; equal entries share the slope.
        """
        result: Tensor = _Largest.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def total_of(self, x: Tensor) -> Tensor:
        """Sum over the processes of their parts of a loss; differentiable, each with slope W."""
        if self.alone:
            return x
        total: Tensor = _Total.apply(x, self)  # type: ignore[no-untyped-call]
        return total


def _reduced(x: Tensor, operation: Any) -> Tensor:
    out = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(out, operation)
    return out


class _Gather(torch.autograd.Function):
    """Blocks in rank order. Backward adds up what all processes did with this one's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        padded = x.new_zeros(max(shard.sizes), *x.shape[1:])  # gloo wants equal shapes
        padded[: shard.rows] = x
        blocks = [torch.empty_like(padded) for _ in shard.sizes]
        dist.all_gather(blocks, padded)
        return torch.cat([block[:rows] for block, rows in zip(blocks, shard.sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.shard.sum(gradient)[ctx.shard.own], None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        ctx.processes = shard.processes
        return shard.sum(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.processes, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        here = torch.logsumexp(x, 0)
        top = shard.max(here)
        result = shard.sum((here - top).exp()).log() + top
        ctx.shard = shard
        ctx.save_for_backward(x, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, result = ctx.saved_tensors
        return (x - result).exp_() * ctx.shard.sum(gradient), None


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shard: Shard) -> Tensor:
        here = x.amax(0) if len(x) else x.new_full(x.shape[1:], -torch.inf)
        largest = shard.max(here)
        ctx.shard = shard
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, largest = ctx.saved_tensors
        hit = x == largest
        slope, hits = ctx.shard.sum(torch.stack([gradient, hit.sum(0).to(gradient)]))
        return hit * (slope / hits), None
