"""Run a function in a separate process that can be killed when a file hangs or crashes a decoder.

The process is started once and reused. It receives pickled arguments from the server and answers
with JSON and plain bytes only, so that the answer of a compromised decoder is never unpickled.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from otomatch.errors import OtomatchError

Result = tuple[Any, bytes]

_START_SECONDS = 120.0
_MAX_BYTES = 1 << 30
_ERROR = {"error", "message"}
_RUN = "from otomatch.web.worker import _run; _run()"


class WorkerTimeoutError(OtomatchError):
    """The work took too long and was killed."""


class WorkerCrashError(OtomatchError):
    """The process died while it worked, or could not be used."""


class WorkerJobError(OtomatchError):
    """The work raised one of otomatch's errors.

    Attributes:
        kind: Name of the error's class.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class WorkerProcess:
    """Process that calls one function repeatedly; safe to use from several threads.

    Args:
        target: Function to call, as ``module:function``. It takes one picklable argument and
            returns a JSON-serializable value and bytes.
        memory: Maximum memory that the function may allocate, in bytes; None for no limit.
        niceness: Niceness of the process, 0 to 19.
    """

    def __init__(self, target: str, memory: int | None = None, niceness: int = 0) -> None:
        self._arguments = (target, str(memory or 0), str(niceness))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id; None if no process is running."""
        return None if self._process is None else self._process.pid

    def warm(self) -> None:
        """Start the process, so that the first call does not wait for its imports."""
        with self._lock:
            self._started()

    def call(self, argument: Any, timeout: float) -> Result:
        """Call the function in the process.

        Args:
            argument: Argument of the function.
            timeout: Maximum duration of the call in seconds, not counting the start of the process.

        Returns:
            The value and the bytes that the function returned.

        Raises:
            WorkerTimeoutError: The call took longer than ``timeout``; the process was killed.
            WorkerCrashError: The process died, or its answer was malformed and it was killed.
            WorkerJobError: The function raised one of otomatch's errors.
        """
        with self._lock:
            connection = self._started()
            end = time.monotonic() + timeout
            try:
                connection.send(argument)
                head = _parsed(self._receive(connection, end))
                payload = self._receive(connection, end)
            except (EOFError, OSError) as error:
                code = self._kill()
                raise WorkerCrashError(f"the worker process died (exit code {code})") from error
            except (ValueError, RecursionError) as error:
                self._kill()  # the rest of its answer would be taken for that of the next call
                raise WorkerCrashError("the worker process sent a malformed answer") from error
            except WorkerTimeoutError:
                self._kill()
                raise
        if "error" in head:
            raise WorkerJobError(head["error"], head["message"])
        return head["result"], payload

    def close(self) -> None:
        """Kill the process, even during a call."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # a call in progress raises WorkerCrashError
        with self._lock:
            self._kill()

    def _started(self) -> "Connection[Any, Any]":
        if self._closed:
            raise WorkerCrashError("the worker process was closed because the server is stopping")
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        if self._connection is None:
            self._start()
        connection = self._connection
        assert connection is not None  # noqa: S101
        return connection

    def _start(self) -> None:
        ours, theirs = Pipe()
        package = str(Path(__file__).parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        handle = theirs.fileno()
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", _RUN, str(handle), *self._arguments, str(os.getpid())],
            pass_fds=[handle],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches only the server, which ends this process
        )
        theirs.close()
        self._connection = ours
        try:
            self._receive(ours, time.monotonic() + _START_SECONDS)
        except (EOFError, OSError, WorkerTimeoutError) as error:
            code = self._kill()
            raise WorkerCrashError(
                f"the worker process could not be started (exit code {code})"
            ) from error

    def _receive(self, connection: "Connection[Any, Any]", end: float) -> bytes:
        if not connection.poll(max(0.0, end - time.monotonic())):
            raise WorkerTimeoutError("the worker process took too long")
        return connection.recv_bytes(_MAX_BYTES)

    def _kill(self) -> int | None:
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        process.kill()
        return process.wait()


def _parsed(head: bytes) -> dict[str, Any]:
    """Parse the first part of an answer; raise ValueError unless `_answer` may have sent it."""
    found = json.loads(head)
    if not isinstance(found, dict) or not ("result" in found or found.keys() >= _ERROR):
        raise ValueError("neither a result nor an error")
    return found


def _run() -> None:
    """Answer calls until the server closes its end of the connection; runs in the process."""
    handle, target, memory, niceness, parent = sys.argv[1:]
    threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    connection: Connection[Any, Any] = Connection(int(handle))
    module, _, name = target.partition(":")
    function: Callable[[Any], Result] = getattr(import_module(module), name)
    os.nice(int(niceness))
    if int(memory):
        _limit_memory(int(memory))
    connection.send_bytes(b"ready")
    with suppress(EOFError):  # the server closed its end or died
        while True:
            head, payload = _answer(function, connection.recv())
            connection.send_bytes(json.dumps(head).encode())
            connection.send_bytes(payload)


def _answer(function: Callable[[Any], Result], argument: Any) -> Result:
    try:
        result, payload = function(argument)
    except (OtomatchError, MemoryError) as error:
        return {"error": type(error).__name__, "message": str(error)}, b""
    return {"result": result}, payload


def _watch(parent: int) -> None:
    """Kill this process when its parent ends, even if a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _limit_memory(memory: int) -> None:
    with suppress(OSError):  # without /proc, the memory in use is unknown
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
