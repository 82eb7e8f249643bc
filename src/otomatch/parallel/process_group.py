"""Collectives over the processes that `torch.distributed` joins, such as those torchrun starts.

With one process, or where `torch.distributed` is not initialized, every function here returns what
the only process passed. Shared work is split into contiguous parts, one for each rank, so that
results concatenated in rank order are in the order of a single process.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def initialize() -> None:
    """Join the process group if torchrun started several processes and none has joined yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def world_size() -> int:
    """Return the number of processes W; 1 if `torch.distributed` is not initialized."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the index of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def barrier() -> None:
    """Wait until all processes have reached this call."""
    if world_size() > 1:
        dist.barrier()


def broadcast(value: T) -> T:
    """Return the value that rank 0 passed, on every process; any picklable object."""
    if world_size() > 1:
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        value = box[0]
    return value


def all_gather(value: T) -> list[T]:
    """Return the values of all processes in rank order; any picklable objects, of any size."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def reduce_sum(x: Tensor, device: torch.device) -> Tensor:
    """Return the sum of the processes' tensors, on the CPU; it is valid on rank 0 only.

    Args:
        x: Tensor of the same shape on every process.
        device: Device that the process group's backend reduces on.
    """
    if world_size() == 1:
        return x
    on_device = x.to(device)
    dist.reduce(on_device, dst=0)
    return on_device.cpu()


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes.

    Unlike `DistributedDataParallel`, this includes parameters that are used outside of a module's
    forward pass (the ground metric) or not at all (a text encoder's pooler).
    """
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    pending = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
    for work in pending:
        if work is not None:
            work.wait()
    torch._foreach_div_(gradients, world_size())


def own_part(total: int) -> slice:
    """Return this process's part of ``range(total)``; parts differ in length by at most 1."""
    return slice(total * rank() // world_size(), total * (rank() + 1) // world_size())


def map_parts(function: Callable[[Sequence[T]], Any], items: Sequence[T]) -> list[Any]:
    """Apply a function to this process's part of the items; return all results in rank order."""
    return all_gather(function(items[own_part(len(items))]))


def rank_zero_first(function: Callable[[], T]) -> T:
    """Call a function on rank 0, then on the other ranks, which find what it left on disk.

    An exception on rank 0 is raised on every process.
    """
    result, error = None, None
    if rank() == 0:
        try:
            result = function()
        except Exception as raised:
            error = raised
    error = broadcast(error)
    if error is not None:
        raise error
    return function() if rank() else result  # type: ignore[return-value]
