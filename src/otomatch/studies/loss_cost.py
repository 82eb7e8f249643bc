"""Cost of a loss and its backward pass: seconds, and peak memory beyond the inputs."""

import math
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otomatch.errors import at_least, one_of
from otomatch.losses import LOSSES
from otomatch.studies.resources import give_back_freed_memory, median_seconds, memory_growth
from otomatch.transport.ground_metrics import Mahalanobis

_ENDED = (
    "the process that measured batch {batch}, dim {dim} was killed, most likely because it ran out "
    "of memory; choose a smaller batch"
)
_NO_MARK = "peak memory is read from Linux's /proc, which this system ({platform}) does not have"


@dataclass(frozen=True)
class LossCost:
    """Cost of one call of a loss and its backward pass.

    Attributes:
        seconds: Median wall-clock time of repeated calls; nan if the process was killed.
        megabytes: Rise of resident memory above the inputs, including gradients, in units of
            2^20 bytes; nan if it cannot be measured.
        missing: Reason for a nan, or None.
    """

    seconds: float
    megabytes: float
    missing: str | None = None


def measure_loss_cost(
    loss: str | nn.Module,
    batch: int,
    dim: int,
    noise: float = 1.0,
    threads: int = 1,
    budget: float = 1.0,
) -> LossCost:
    """Measure a loss on random pairs (`unit_pairs`) with a full metric, float32, on the CPU.

    Time and memory are each measured in a separate process, so that the peak is that of the loss
    alone. As with all of Python's process pools, a script must call this under
    ``if __name__ == "__main__":``.

    Args:
        loss: Name in `otomatch.losses.LOSSES`, for that loss with its default options; or a
            module that is called like the losses (see `losses.pair_batch`) and can be pickled.
        batch: Number of pairs B, >= 1.
        dim: Embedding dimension D, >= 1.
        noise: Noise of the pairs; more noise means a less sharp plan and fewer iterations.
        threads: Number of threads that torch may use, >= 1.
        budget: Seconds of repeated calls for the time; at least 3 calls are made.

    Raises:
        InvalidInputError: If the name is unknown, or ``batch``, ``dim`` or ``threads`` is below 1.
    """
    for name, value in (("batch", batch), ("dim", dim), ("threads", threads)):
        at_least(name, value, 1)
    module = LOSSES[one_of("loss", loss, tuple(LOSSES))]() if isinstance(loss, str) else loss
    call = (module, batch, dim, noise, threads)
    try:
        seconds, megabytes = _apart(_seconds, *call, budget), _apart(_megabytes, *call)
    except BrokenProcessPool:
        return LossCost(math.nan, math.nan, _ENDED.format(batch=batch, dim=dim))
    missing = _NO_MARK.format(platform=sys.platform) if math.isnan(megabytes) else None
    return LossCost(seconds, megabytes, missing)


def unit_pairs(size: int, dim: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random audio and text embeddings of unit length, (size, dim) each, float32.

    Before normalisation, a caption is its clip plus Gaussian noise, whose standard deviation is
    ``noise`` times that of the clips.
    """
    random = torch.Generator().manual_seed(seed)
    audio = torch.randn(size, dim, generator=random)
    text = audio + noise * torch.randn(size, dim, generator=random)
    return nn.functional.normalize(audio, dim=1), nn.functional.normalize(text, dim=1)


def _apart(job: Callable[..., float], *arguments: object) -> float:
    """Run a function in a separate process and return its result or raise its error."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(job, *arguments).result()


def _seconds(
    loss: nn.Module, batch: int, dim: int, noise: float, threads: int, budget: float
) -> float:
    torch.set_num_threads(threads)
    return median_seconds(_step(loss, batch, dim, noise), budget)


def _megabytes(loss: nn.Module, batch: int, dim: int, noise: float, threads: int) -> float:
    give_back_freed_memory()
    torch.set_num_threads(threads)
    _step(loss, 8, 8, noise)()  # first calls load code
    return memory_growth(_step(loss, batch, dim, noise))


def _step(loss: nn.Module, batch: int, dim: int, noise: float) -> Callable[[], None]:
    audio, text = (x.requires_grad_() for x in unit_pairs(batch, dim, noise))
    metric = Mahalanobis(dim)
    return lambda: loss(audio, text, metric).backward()
