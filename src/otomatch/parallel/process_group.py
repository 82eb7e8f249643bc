"""Work shared by the processes of one run (torchrun); with one process, all of this does nothing.

The i-th of W processes takes the i-th of W nearly equal stretches of whatever is shared, so what is
gathered in rank order is in the order of one process.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from otomatch.parallel.shard import exchange, processes

T = TypeVar("T")


def count() -> int:
    """Number of processes W."""
    return processes()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def join() -> None:
    """Join the other processes, where torchrun has started some and nobody has joined them yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def share(total: int) -> slice:
    """This process's stretch of ``total`` things."""
    return slice(total * rank() // count(), total * (rank() + 1) // count())


def spread(items: Sequence[T], work: Callable[[Sequence[T]], Any]) -> list[Any]:
    """Let each process work on its share of the items; returns all results, in rank order."""
    return exchange(work(items[share(len(items))]))


def agree(value: T) -> T:
    """The first process's value, for all."""
    if count() > 1:
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, src=0)
        value = box[0]
    return value


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        distributed.barrier()


def first_before_others(work: Callable[[], T]) -> T:
    """Let the first process work before the others, which find what it left on disk.

    An error of the first one is raised in all.
    """
    result, error = None, None
    if rank() == 0:
        try:
            result = work()
        except Exception as found:
            error = found
    error = agree(error)
    if error is not None:
        raise error
    return work() if rank() else result  # type: ignore[return-value]


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes.

    As DistributedDataParallel does, but also for parameters that are used outside of one module's
    forward pass (the ground metric) or not at all (a text encoder's pooler).
    """
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    pending = [distributed.all_reduce(gradient, async_op=True) for gradient in gradients]
    for work in pending:
        if work is not None:
            work.wait()
    torch._foreach_div_(gradients, count())


def collect(rows: Tensor, device: torch.device) -> Tensor:
    """Sum of the processes' tensors on the first one, which holds what each has written; CPU."""
    if count() == 1:
        return rows
    on_device = rows.to(device)
    distributed.reduce(on_device, dst=0)
    return on_device.cpu()
