"""Blocking work in a bounded number of threads, with a bounded queue before them."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from otomatch.web.problems import Problem

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Job:
    future: Future[Any]
    result: "asyncio.Future[Any]"
    waiting: int = 0


class Pool:
    """Threads for one kind of work; where all places are taken, the answer is 503 at once.

    All methods are called from the event loop.

    Args:
        name: what the work is, for the error.
        workers: threads.
        queue: jobs that may wait for one.
    """

    def __init__(self, name: str, workers: int, queue: int) -> None:
        self.name, self._places = name, workers + queue
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"otomatch-{name}")
        self._taken = 0
        self._shared: dict[Hashable, _Job] = {}

    async def run(
        self,
        request: Request,
        function: Callable[..., T],
        *arguments: Any,
        key: Hashable | None = None,
    ) -> T:
        """Call a function in a thread.

        Args:
            request: whose client waits; if it leaves, a job that has not begun is dropped.
            function: what to call.
            arguments: of the function.
            key: jobs of one key at one time are one job.

        Raises:
            Problem: 503, no place is free; or the client has left.
        """
        job = self._shared.get(key) if key is not None else None
        if job is None or job.future.cancelled():
            job = self._start(function, arguments, key)
        job.waiting += 1
        try:
            return await _while_connected(request, job.result)
        finally:
            job.waiting -= 1
            if not job.waiting:
                job.future.cancel()  # does nothing once it has begun

    def _start(self, function: Callable[..., Any], arguments: Any, key: Hashable | None) -> _Job:
        if self._taken >= self._places:
            raise Problem(
                503,
                f"the server has too much to do ({self.name}); try again in a second",
                {"Retry-After": "1"},
            )
        loop = asyncio.get_running_loop()
        future = self._threads.submit(function, *arguments)
        self._taken += 1
        job = _Job(future, asyncio.wrap_future(future))
        job.result.add_done_callback(_look_at)
        if key is not None:
            self._shared[key] = job

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                loop.call_soon_threadsafe(self._release, key, job)

        future.add_done_callback(done)
        return job

    def _release(self, key: Hashable | None, job: _Job) -> None:
        self._taken -= 1
        if key is not None and self._shared.get(key) is job:
            del self._shared[key]

    def close(self) -> None:
        """Drop what has not begun; what has is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_at(result: "asyncio.Future[Any]") -> None:
    # An error that nobody waits for any more is not worth a message.
    if not result.cancelled():
        result.exception()


async def _while_connected(request: Request, result: "asyncio.Future[T]") -> T:
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        waited: set[asyncio.Future[Any]] = {result, gone}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        await asyncio.wait({gone})
    if not result.done():
        raise Problem(499, "the client has left")
    return result.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
