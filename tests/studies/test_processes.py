"""Studies and cells whose processes are killed, interrupted or run side by side."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from otomatch.studies import cells, runner
from otomatch.studies import worker as cell_process
from otomatch.studies.planning import plan_cells
from otomatch.studies.runner import run_study
from tests.support.study_runs import MATCHING, NTXENT, QUIET, prepared, study_of

pytestmark = pytest.mark.slow


def test_a_cell_whose_process_is_killed_is_a_failure_that_says_so(settings, monkeypatch):
    ended = SimpleNamespace(returncode=-signal.SIGKILL)
    monkeypatch.setattr(cells.subprocess, "run", lambda *_, **__: ended)
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert found.failures[0].error == "its process was ended by SIGKILL (out of memory?)"


def test_a_study_that_is_interrupted_writes_what_is_done(settings, in_process, monkeypatch):
    working = cells.subprocess.run

    def run(command, **options):
        if in_process:
            return SimpleNamespace(returncode=130)
        return working(command, **options)

    monkeypatch.setattr(cells.subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(MATCHING, NTXENT), settings(), QUIET)
    rows = (settings().out / "losses" / "rows.csv").read_text()
    assert len(rows.splitlines()) == 2
    assert "m-LTM" in rows
    assert "NT-Xent" not in rows


def _hold(folder, ready, leave):
    with cells.FileLock(folder / "lock"):
        ready.set()
        leave.wait(60)


def test_a_cell_that_another_process_works_on_is_left_to_it(settings, in_process, monkeypatch):
    study, given = study_of(MATCHING, NTXENT), settings()
    data = prepared(given)
    mine, other = plan_cells(study, given, data)
    other.folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(other.folder, ready, leave))
    process.start()
    assert ready.wait(60)
    asleep = []

    def sleep(seconds):  # once there is nothing else to do, the other process ends
        asleep.append(list(in_process))
        leave.set()
        process.join(60)

    monkeypatch.setattr(runner.time, "sleep", sleep)
    run_study(study, given, QUIET)
    assert asleep == [[mine.key]]
    assert in_process == [mine.key, other.key]  # it left the cell undone


def command_of(given, epochs):
    """Return a command that runs a study of one arm."""
    code = (
        "from rich.console import Console\n"
        "from pathlib import Path\n"
        "from otomatch.studies.catalogue import Arm, Study\n"
        "from otomatch.studies.planning import StudySettings\n"
        "from otomatch.studies.runner import run_study\n"
        f"overrides = ('loss.name=matching', 'optim.epochs={epochs}')\n"
        "arms = [Arm('m-LTM', {'loss': 'm-LTM'}, overrides)]\n"
        "study = Study('losses', 'Which is better?', lambda _: arms)\n"
        f"settings = StudySettings({list(given.data)!r}, Path({str(given.out)!r}), seeds=1,"
        f" config=Path({str(given.config)!r}))\n"
        "run_study(study, settings, Console(quiet=True))\n"
    )
    return [sys.executable, "-c", code]


def started(command, given):
    """Start the command in a session of its own and return once training is under way."""
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(given.out.glob("cells/*/run/checkpoint/*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_killed_study_goes_on_where_it_stopped(settings):
    given = settings()
    command = command_of(given, epochs=3)
    process = started(command, given)
    os.killpg(process.pid, signal.SIGKILL)  # it, and the cell's process
    process.wait()
    assert not list(given.out.glob("cells/*/cost.json"))
    subprocess.run(command, check=True)
    assert len(list(given.out.glob("cells/*/cost.json"))) == 1
    assert "m-LTM" in (given.out / "losses" / "rows.csv").read_text()


def test_the_process_of_a_cell_that_outlives_its_runner_is_left_to_finish(settings, monkeypatch):
    given = settings(overrides=["optim.epochs=60"])
    process = started(command_of(given, epochs=60), given)
    process.kill()  # the runner alone
    process.wait()
    (cell,) = given.out.glob("cells/*")
    with pytest.raises(cells.Timeout), cells.FileLock(cell / "worker.lock", timeout=0):
        pass
    assert cell_process.main(cell, quiet=True) == cells.BUSY
    os.killpg(process.pid, signal.SIGKILL)
