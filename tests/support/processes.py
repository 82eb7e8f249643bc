"""Process groups for tests of distributed code: started once, then given jobs.

Starting a process costs seconds; a job costs milliseconds. A job is a function of a module that
the tests can import, with arguments and a result that can be pickled.
"""

import multiprocessing
import os
import pickle
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

PRELOAD = ["otomatch.training.trainer", "transformers.models.bert.modeling_bert"]
"""Modules that the fork server of all test processes imports once."""

PATIENCE = 180
"""Seconds before a job that hangs fails."""


class Failure:
    """Error that a job raised, with its traceback as text."""

    def __init__(self, error):
        self.error = error
        self.text = traceback.format_exc()


class Group:
    """W processes joined by gloo; `group.run(job, [arguments of each])` returns their results."""

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.pipes, self.workers = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            args = (rank, size, str(folder / f"store{size}"), theirs)
            worker = context.Process(target=_serve, args=args, daemon=True)
            worker.start()
            self.pipes.append(ours)
            self.workers.append(worker)

    def run(self, job, arguments):
        """Call job(*arguments[rank]) on each process; raise what a job raised."""
        found = self.attempt(job, arguments)
        for rank, result in enumerate(found):
            if isinstance(result, Failure):
                raise AssertionError(f"process {rank} failed:\n{result.text}")
        return found

    def attempt(self, job, arguments):
        """Do the same, but return a `Failure` for a job that raised."""
        for pipe, args in zip(self.pipes, arguments, strict=True):
            pipe.send_bytes(pickle.dumps((job, args)))  # send() would share tensors' memory
        found = []
        for rank, pipe in enumerate(self.pipes):
            if not pipe.poll(PATIENCE):
                self.stop()
                raise AssertionError(f"process {rank} did not answer within {PATIENCE} s")
            found.append(pickle.loads(pipe.recv_bytes()))  # noqa: S301
        return found

    def stop(self):
        for worker in self.workers:
            worker.kill()
            worker.join()


def _serve(rank, size, store, pipe):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=PATIENCE / 2),
    )
    while True:
        job, args = pickle.loads(pipe.recv_bytes())  # noqa: S301
        try:
            result = pickle.dumps(job(*args))
        except Exception as error:
            result = pickle.dumps(Failure(error))
        pipe.send_bytes(result)
