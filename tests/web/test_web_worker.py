"""The decoder process: reused, killed if it hangs, never trusted."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from otomatch.web.worker import WorkerCrashError, WorkerJobError, WorkerProcess, WorkerTimeoutError
from tests.support.web import eventually


@pytest.mark.slow
def test_a_process_is_kept_from_call_to_call():
    worker = WorkerProcess("tests.support.worker_fakes:echo")
    try:
        worker.warm()
        first, payload = worker.call({"a": 1}, 10)
        assert (first, payload) == ({"pid": worker.pid, "job": {"a": 1}}, b"bytes")
        assert worker.call(2, 10)[0]["pid"] == first["pid"]
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: worker._process.poll() is not None)
        assert worker.call(3, 10)[0]["pid"] != first["pid"]
    finally:
        worker.close()
    with pytest.raises(WorkerCrashError, match="stopping"):
        worker.call(4, 10)


@pytest.mark.slow
@pytest.mark.parametrize("head", [b"\xff{", b"[]", b"7", b"{}", b'{"error": 1}', b"[" * 100_000])
def test_an_answer_that_makes_no_sense_ends_the_process(head):
    worker = WorkerProcess("tests.support.worker_fakes:babble")
    try:
        with pytest.raises(WorkerCrashError, match="malformed"):
            worker.call(head, 10)
        assert worker.pid is None
        assert worker.call(b'{"result": 1}', 10) == (1, b"the answer to what was asked before")
    finally:
        worker.close()


@pytest.mark.slow
def test_errors_of_otomatch_come_through_with_their_class():
    worker = WorkerProcess("tests.support.worker_fakes:refuse")
    try:
        with pytest.raises(WorkerJobError, match="no luck") as caught:
            worker.call("luck", 10)
        assert caught.value.kind == "AudioError"
    finally:
        worker.close()


@pytest.mark.slow
def test_a_process_that_hangs_is_killed_in_time_or_at_the_end(tmp_path):
    worker = WorkerProcess("tests.support.worker_fakes:hang")
    worker.warm()
    pid = worker.pid
    began = time.monotonic()
    with pytest.raises(WorkerTimeoutError):
        worker.call(None, 0.5)
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{pid}").exists()
    worker.warm()
    pid = worker.pid
    at_work = tmp_path / "at work"

    def end() -> None:
        eventually(at_work.exists)
        worker.close()

    threading.Thread(target=end).start()
    with pytest.raises(WorkerCrashError):
        worker.call(str(at_work), 30)
    assert not Path(f"/proc/{pid}").exists()
