"""Runs that are killed, stopped, or go on at the same time; what many of them leave on the disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from otomatch.errors import LibraryError
from otomatch.library import SoundLibrary, connection, table_indexes
from otomatch.library import store as stores
from otomatch.library.indexing import embedding, writing
from otomatch.models.audio_text_model import AudioTextModel
from tests.support.indexing import kill_after, start, wait
from tests.support.sounds import hiss, tone, write_audio

FILES = 24


def write_sounds(folder: Path) -> Path:
    for i in range(FILES):
        write_audio(
            folder / f"{i % 3}" / f"{i:02d}.wav", tone(150.0 + 90 * i, 0.3 + 0.25 * (i % 9))
        )
    return folder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_sounds(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path) -> Path:
    SoundLibrary.create(tmp_path / "library", small_model)
    return tmp_path / "library"


def check_whole(rows: list[dict]) -> set[str]:
    """Every file has all its windows, each once; returns the files' names."""
    assert max(Counter(row["id"] for row in rows).values(), default=1) == 1
    by_path: dict[str, list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["start"]):
        by_path.setdefault(row["path"], []).append(row)
    for windows in by_path.values():
        assert windows[0]["start"] == 0
        assert windows[-1]["end"] == windows[0]["duration"]
        assert len({row["digest"] for row in windows}) == 1
        assert all(b["start"] - a["start"] <= 0.5 for a, b in pairwise(windows))
        assert [bool(row["words"]) for row in windows] == [True] + [False] * (len(windows) - 1)
    return {Path(path).name for path in by_path}


COLUMNS = ["id", "path", "start", "end", "duration", "digest", "words", "stamp", "root"]


def rows(library: Path) -> list[dict]:
    table = SoundLibrary.open(library).store.rows(COLUMNS)
    return table.sort_by("id").to_pylist()


def expected(folder: Path, place: Path, model: Path) -> list[dict]:
    SoundLibrary.create(place, model).index(folder)
    return rows(place)


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
    process, begun = start(base / "library", write_sounds(base / "sounds"))
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
    sounds = write_sounds(tmp_path / "sounds")
    place = tmp_path / "library"
    arguments = ["index", sounds, "--library", place, "--model", small_model, "--json"]
    command = [sys.executable, "-m", "otomatch", *arguments]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    reports = [json.loads(run.communicate(timeout=300)[0]) for run in runs]
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
    assert "the same command goes on" in err
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


def test_many_small_runs_do_not_grow_the_folder_without_bound(
    library, sounds, tmp_path, small_model, monkeypatch
):
    monkeypatch.setattr(table_indexes, "_KEPT_SECONDS", 0.0)
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    for i in range(20):
        write_audio(sounds / "0" / "00.wav", hiss(0.5, seed=i))
        assert opened.index(sounds).changed == 1
    expected(sounds, tmp_path / "fresh", small_model)
    once = SoundLibrary.open(tmp_path / "fresh").store
    assert len(opened.store.table.list_versions()) <= 4
    table, fresh = (connection.disk_size(store.uri) for store in (opened.store, once))
    assert table < 1.5 * fresh


def test_a_version_stays_readable_for_a_while_after_it_was_replaced(library, sounds):
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    old = opened.store.version
    write_audio(sounds / "0" / "00.wav", hiss(0.5))
    opened.index(sounds)
    table = connection.connect(library).open_table(connection.TABLE)
    table.checkout(old)
    assert table.count_rows() > FILES
    assert len(table.search().limit(None).to_arrow()) == table.count_rows()


def test_versions_are_dropped_only_when_replaced_for_a_minute():
    from datetime import datetime, timedelta

    def versions(*ages: float) -> list[dict]:
        now = datetime.now()
        return [{"timestamp": now - timedelta(seconds=age)} for age in ages]

    # Replaced 3000 s ago; replaced 10 s ago; the latest.
    kept = table_indexes._unread_age(versions(4000, 3000, 10)).total_seconds()
    assert 3000 <= kept < 3001
    assert table_indexes._unread_age(versions(30, 20, 10)).total_seconds() >= 60
    assert 4000 <= table_indexes._unread_age(versions(4000)).total_seconds() < 4001


def test_a_vector_index_appears_stays_up_to_date_and_finds_what_filters_leave(
    library, sounds, monkeypatch
):
    monkeypatch.setattr(table_indexes, "VECTOR_INDEX_WINDOWS", 45)
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    assert len(opened) >= 45
    table = opened.store.table
    (found,) = (index for index in table.list_indices() if index.columns == ["vector"])
    assert (found.columns, found.index_type) == (["vector"], "IvfFlat")
    write_audio(sounds / "0" / "new.wav", hiss(0.5))
    opened.index(sounds)
    stats = table.index_stats(found.name)
    assert (stats.num_indexed_rows, stats.num_unindexed_rows) == (len(opened), 0)
    everything = {hit.path: hit.distance for hit in opened.search("rain", k=100)}
    assert len(everything) == FILES + 1
    for folder in ("0", "1", "2"):
        inside = {p: d for p, d in everything.items() if Path(p).parent.name == folder}
        hits = opened.search("rain", folder=sounds / folder, k=100)
        assert {hit.path: hit.distance for hit in hits} == pytest.approx(inside, abs=1e-5)


def test_a_small_library_has_an_index_of_its_words_and_none_of_vectors(library, sounds):
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    assert [index.columns for index in opened.store.table.list_indices()] == [["words"]]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("lance error: IO: No space left on device (os error 28)"), "disk is full"),
        (PermissionError(13, "Permission denied"), "read-only"),
        (RuntimeError("lance error: something else\nmore"), "something else"),
    ],
)
def test_a_library_that_cannot_be_written_is_a_clear_error(
    library, sounds, monkeypatch, error, message
):
    def fail(*_):
        raise error

    monkeypatch.setattr(stores.Store, "write", fail)
    with pytest.raises(LibraryError, match=f"cannot be written.*{message}"):
        SoundLibrary.open(library).index(sounds)


def test_an_error_of_lancedb_is_known_as_such_and_one_of_the_model_stays_what_it_is(
    library, sounds, monkeypatch
):
    opened = SoundLibrary.open(library)

    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "new_rows", fail)
        with pytest.raises(RuntimeError, match="CUDA error"):
            opened.index(sounds)
    opened.index(sounds)
    shutil.rmtree(library / "sounds.lance" / "data")
    rows = opened.store.table.schema.empty_table()
    for write in (lambda: opened.store.delete(["x"]), lambda: opened.store.write(rows)):
        with pytest.raises(LibraryError, match="cannot be written"), opened.store.writing():
            write()


def test_a_library_of_another_format_is_a_clear_error(library):
    store = stores.Store.open(library)
    changed = {**store.metadata, "format": "otomatch-library/1"}
    about = {stores._METADATA_KEY: json.dumps(changed).encode()}
    schema = store.table.schema.with_metadata(about)
    connection.connect(library).create_table(connection.TABLE, schema=schema, mode="overwrite")
    with pytest.raises(LibraryError, match=r"format otomatch-library/1.*new library"):
        SoundLibrary.open(library)


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
