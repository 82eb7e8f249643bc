"""What a loss and its backward pass cost: seconds, and peak memory beyond the inputs."""

import math
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otomatch.evaluation.ranks import at_least_one
from otomatch.losses import LOSSES
from otomatch.losses.pair_batch import one_of
from otomatch.studies.resources import give_back_freed_memory, median_seconds, memory_growth
from otomatch.transport.ground_metrics import Mahalanobis

_ENDED = (
    "the process that measured batch {batch}, dim {dim} was ended from outside, most likely for "
    "want of memory; take a smaller batch"
)
_NO_MARK = "peak memory is read from Linux's /proc, which on this system ({platform}) is not there"


@dataclass(frozen=True)
class LossCost:
    """What one call of a loss and its backward pass take.

    Attributes:
        seconds: median wall-clock time of repeated calls; nan where the process was killed.
        megabytes: how far resident memory rises above the inputs, gradients included, in units of
            2^20 bytes; nan where it cannot be measured.
        missing: why a figure is nan, else None.
    """

    seconds: float
    megabytes: float
    missing: str | None = None


def loss_cost(
    loss: str | nn.Module,
    batch: int,
    dim: int,
    noise: float = 1.0,
    threads: int = 1,
    budget: float = 1.0,
) -> LossCost:
    """Measure a loss on random pairs (`unit_pairs`) with a full metric, float32, on the CPU.

    Time and memory are measured in a process of its own each, so that the peak is that of the loss
    alone. As with all of Python's process pools, a script that calls this does so
    under ``if __name__ == "__main__":``.

    Args:
        loss: a name of `otomatch.losses.LOSSES`, for that loss with its default options; or a
            module that is called as losses are (see `losses.pair_batch`) and can be pickled.
        batch: B, number of pairs, >= 1.
        dim: D, >= 1.
        noise: of the pairs; the larger, the less sharp a plan and the fewer its iterations.
        threads: that torch may use, >= 1.
        budget: seconds of repeated calls for the time; at least 3 calls are made.

    Raises:
        InvalidInputError: an unknown name, or ``batch``, ``dim`` or ``threads`` below 1.
    """
    for name, value in (("batch", batch), ("dim", dim), ("threads", threads)):
        at_least_one(name, value)
    module = LOSSES[one_of("loss", loss, tuple(LOSSES))]() if isinstance(loss, str) else loss
    call = (module, batch, dim, noise, threads)
    try:
        seconds, megabytes = _apart(_seconds, *call, budget), _apart(_megabytes, *call)
    except BrokenProcessPool:
        return LossCost(math.nan, math.nan, _ENDED.format(batch=batch, dim=dim))
    missing = _NO_MARK.format(platform=sys.platform) if math.isnan(megabytes) else None
    return LossCost(seconds, megabytes, missing)


def unit_pairs(size: int, dim: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random audio and text embeddings, (size, dim) each, float32, of unit length.

    Captions lie where their clips do but for ``noise``, its standard deviation in units of theirs.
    """
    random = torch.Generator().manual_seed(seed)
    audio = torch.randn(size, dim, generator=random)
    text = audio + noise * torch.randn(size, dim, generator=random)
    return nn.functional.normalize(audio, dim=1), nn.functional.normalize(text, dim=1)


def _apart(job: Callable[..., float], *arguments: object) -> float:
    """Run the job in a process of its own; raises what the job raises."""
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
