"""Run blocking work in a fixed number of threads behind a queue of limited length."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from otomatch.web.api_errors import ApiError

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Job:
    future: Future[Any]
    result: "asyncio.Future[Any]"
    waiting: int = 0


class BoundedPool:
    """Threads for one kind of work; if its queue is full, it refuses a job at once with 503.

    All methods must be called from the event loop.

    Args:
        name: Name of the kind of work, for the error message.
        workers: Number of threads.
        queue: Maximum number of waiting jobs.
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
            request: Request whose client waits. If the client disconnects, the job is dropped
                unless it has started.
            function: Function to call.
            arguments: Arguments of the function.
            key: Key of the job; concurrent calls with the same key share one job.

        Raises:
            ApiError: 503 if the queue is full, 499 if the client disconnected.
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
                job.future.cancel()  # no effect once the job has started

    def _start(self, function: Callable[..., Any], arguments: Any, key: Hashable | None) -> _Job:
        if self._taken >= self._places:
            raise ApiError(
                503,
                f"the server is overloaded ({self.name}); try again in a second",
                {"Retry-After": "1"},
            )
        loop = asyncio.get_running_loop()
        future = self._threads.submit(function, *arguments)
        self._taken += 1
        job = _Job(future, asyncio.wrap_future(future))
        job.result.add_done_callback(_retrieve)
        if key is not None:
            self._shared[key] = job

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed because the server has stopped
                loop.call_soon_threadsafe(self._release, key, job)

        future.add_done_callback(done)
        return job

    def _release(self, key: Hashable | None, job: _Job) -> None:
        self._taken -= 1
        if key is not None and self._shared.get(key) is job:
            del self._shared[key]

    def close(self) -> None:
        """Cancel the waiting jobs, without waiting for those that have started."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _retrieve(result: "asyncio.Future[Any]") -> None:
    # asyncio would otherwise log the error of a job that nobody waits for any more.
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
        raise ApiError(499, "the client disconnected")
    return result.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
