"""Indexing runs that are killed, stopped or interrupted, or that happen at the same time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from otomatch.library import SoundLibrary
from otomatch.library import store as stores
from otomatch.library.indexing import embedding, writing
from otomatch.models.audio_text_model import AudioTextModel
from tests.support.commands import run
from tests.support.index_runs import COLUMNS, FILES, check_whole, expected, rows, write_tones
from tests.support.indexing import kill_after, start, wait
from tests.support.sounds import hiss, tone, write_audio

pytestmark = pytest.mark.slow


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path) -> Path:
    SoundLibrary.create(tmp_path / "library", small_model)
    return tmp_path / "library"


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.8, 0.97])
def test_a_first_run_that_is_killed_leaves_whole_files_and_goes_on(
    library, sounds, tmp_path, small_model, share, duration
):
    code = kill_after(start(library, sounds), share * duration)
    assert code in (0, -signal.SIGKILL)
    before = check_whole(rows(library))
    report = SoundLibrary.open(library).index(sounds)
    assert (report.added, report.unchanged) == (FILES - len(before), len(before))
    assert rows(library) == expected(sounds, tmp_path / "fresh", small_model)


@pytest.fixture(scope="module")
def duration(tmp_path_factory, small_model) -> float:
    """Seconds that an undisturbed run takes."""
    base = tmp_path_factory.mktemp("undisturbed")
    SoundLibrary.create(base / "library", small_model)
    process, begun = start(base / "library", write_tones(base / "sounds"))
    assert begun.wait(180)
    began = time.monotonic()
    assert wait(process) == 0
    return time.monotonic() - began


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.75])
def test_a_later_run_that_is_killed_neither_loses_nor_mixes_up_anything(
    library, sounds, tmp_path, small_model, share, duration
):
    SoundLibrary.open(library).index(sounds)
    for path in sorted((sounds / "0").iterdir()):
        path.rename(sounds / "1" / f"moved-{path.name}")
    for i, path in enumerate(sorted((sounds / "2").iterdir())):
        write_audio(path, hiss(0.4 + 0.3 * i, seed=i))
    (sounds / "1" / "01.wav").unlink()
    shutil.copy(sounds / "1" / "04.wav", sounds / "1" / "copy.wav")
    kill_after(start(library, sounds), share * duration)
    check_whole(rows(library))
    SoundLibrary.open(library).index(sounds)
    assert rows(library) == expected(sounds, tmp_path / "fresh", small_model)


def test_two_runs_at_once_store_each_file_once_and_readers_see_whole_files(
    library, sounds, tmp_path, small_model
):
    runs = [start(library, sounds), start(library, sounds / "1", sounds)]
    for _, begun in runs:
        assert begun.wait(180)
    reader = SoundLibrary.open(library)
    seen = set()
    while any(process.is_alive() for process, _ in runs):
        table = reader.store.rows(COLUMNS)
        seen.add(len(check_whole(table.to_pylist())))
        assert len(reader.search("rain", k=5)) <= 5
    assert [wait(process) for process, _ in runs] == [0, 0]
    assert len(seen) > 1
    assert rows(library) == expected(sounds, tmp_path / "fresh", small_model)


def test_two_first_runs_at_once_make_one_library(tmp_path, small_model):
    sounds = write_tones(tmp_path / "sounds")
    place = tmp_path / "library"
    arguments = ["index", sounds, "--library", place, "--model", small_model, "--json"]
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: run(*arguments), range(3)))
    reports = [json.loads(run.stdout) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sum(report["added"] for report in reports) == FILES
    assert all(report["added"] + report["unchanged"] == FILES for report in reports)
    assert rows(place) == expected(sounds, tmp_path / "fresh", small_model)


SCRIPT = """
import sys
from otomatch.library.indexing import embedding, writing
embedding._BATCH, writing._WRITE_WINDOWS = 2, 1
from otomatch.cli import main
sys.argv = ["otomatch", *sys.argv[1:]]
main()
"""


def test_control_c_keeps_what_is_done_says_how_to_go_on_and_exits_with_130(library, sounds):
    for i in range(200):
        write_audio(sounds / "more" / f"{i}.wav", tone(100.0 + i, 0.5))
    command = [sys.executable, "-c", SCRIPT, "index", sounds, "--library", library]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store = stores.Store.open(library)
    while len(store) < 5 and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command continues" in err
    assert "Traceback" not in err
    done = len(check_whole(rows(library)))
    assert f"{done} files added" in out
    assert 0 < done < FILES + 200
    report = SoundLibrary.open(library).index(sounds)
    assert (report.added, report.unchanged) == (FILES + 200 - done, done)


def test_an_interruption_in_python_keeps_what_is_whole(library, sounds, monkeypatch):
    monkeypatch.setattr(embedding, "_BATCH", 4)
    monkeypatch.setattr(writing, "_WRITE_WINDOWS", 10_000)
    real, calls = AudioTextModel.embed_features, []

    def interrupted(model, clips):
        calls.append(clips)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(model, clips)

    monkeypatch.setattr(AudioTextModel, "embed_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        SoundLibrary.open(library).index(sounds)
    assert 0 < len(check_whole(rows(library))) < FILES


def test_a_stopped_run_removes_nothing(library, sounds):
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    (sounds / "0" / "00.wav").unlink()
    report = opened.index(sounds, stop=lambda: True)
    assert report.interrupted
    assert report.removed == 0
    assert len(opened.sounds()) == FILES


def test_waiting_for_the_lock_of_a_dead_process_is_not_needed(library, sounds):
    """The lock is the system's: it ends with the process that holds it, however it ends."""
    code = f"""
import os, signal
from otomatch.library.store import Store
with Store.open({str(library)!r}).writing():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.path.exists(library / "write.lock")
    assert SoundLibrary.open(library).index(sounds).added == FILES


def test_distances_do_not_depend_on_batches(library, sounds, tmp_path, small_model, monkeypatch):
    SoundLibrary.open(library).index(sounds)
    monkeypatch.setattr(embedding, "_BATCH", 3)
    monkeypatch.setattr(writing, "_WRITE_WINDOWS", 2)
    other = SoundLibrary.create(tmp_path / "other", small_model)
    other.index(sounds)
    mine, theirs = (
        np.array(made.store.rows().sort_by("id")["vector"].to_pylist())
        for made in (SoundLibrary.open(library), other)
    )
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
