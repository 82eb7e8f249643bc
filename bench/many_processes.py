"""Measure memory and time of a loss shared by 1, 2 and 4 processes (gloo, on the CPU; Linux only).

    python bench/many_processes.py [batch] [dim]

Runs forward and backward on one global batch of float32 embeddings (4096 of width 256 by default;
captions with as much noise as signal) with the full metric. Memory is the rise of resident memory
of the process where it is largest, in units of 2^20 bytes, measured in fresh processes. Times are
wall-clock with one thread per process; they cannot decrease with fewer free cores than processes.
"""

import multiprocessing
import sys
import tempfile
import time

import torch
import torch.distributed as dist

from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss
from otomatch.studies.loss_cost import unit_pairs
from otomatch.studies.resources import give_back_freed_memory, memory_growth
from otomatch.transport.ground_metrics import Mahalanobis

LOSSES = {
    "matching, balanced": MatchingLoss(0.05, gather=True),
    "matching, mass 0.9": MatchingLoss(0.05, mass=0.9, gather=True),
    "matching, trimmed 0.9": MatchingLoss(0.05, mass=0.9, target="trimmed", gather=True),
    "NT-Xent": NTXentLoss(gather=True),
    "triplet": TripletLoss(gather=True),
}
PROCESSES = (1, 2, 4)


def measure(rank, world, store, name, batch, dim, results):
    give_back_freed_memory()  # otherwise freed matrices below 32 MB still count
    torch.set_num_threads(1)
    place = {"init_method": f"file://{store}", "rank": rank, "world_size": world}
    dist.init_process_group("gloo", **place)

    def step(batch, dim):
        own = [x.chunk(world)[rank].clone().requires_grad_() for x in unit_pairs(batch, dim, 1.0)]
        metric = Mahalanobis(dim)
        return lambda: LOSSES[name](*own, metric).backward()

    step(8 * world, 8)()  # first calls load code
    run = step(batch, dim)
    dist.barrier()
    start = time.perf_counter()
    rise = memory_growth(run)
    seconds = time.perf_counter() - start
    iterations = getattr(LOSSES[name], "last", None) and LOSSES[name].last.iterations
    results.put((rise, seconds, iterations or 0))
    dist.destroy_process_group()


def figures(world, name, batch, dim):
    """Return MB, seconds and iterations, each the maximum over the processes."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        fixed = (world, f"{folder}/store", name, batch, dim, results)
        workers = [context.Process(target=measure, args=(rank, *fixed)) for rank in range(world)]
        for worker in workers:
            worker.start()
        found = [results.get(timeout=600) for _ in workers]
        for worker in workers:
            worker.join()
    return [max(column) for column in zip(*found, strict=True)]


def main():
    batch, dim = (int(x) for x in sys.argv[1:] or (4096, 256))
    print(f"batch {batch}, dim {dim}, full metric, float32, gloo on the CPU")
    print(f"{'':24}{'processes':>10}{'MB each':>10}{'share':>7}{'seconds':>9}{'iterations':>12}")
    for name in LOSSES:
        alone = 0.0
        for world in PROCESSES:
            rise, seconds, iterations = figures(world, name, batch, dim)
            alone = alone or rise
            line = f"{rise:10.0f}{rise / alone:7.2f}{seconds:9.1f}{iterations:12}"
            print(f"{name:24}{world:10}{line}", flush=True)


if __name__ == "__main__":
    main()
