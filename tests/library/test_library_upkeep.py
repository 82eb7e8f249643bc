"""What a library tells of itself, what is taken out of it, and what other programs get of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.cli.tables import print_reasons
from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import SoundLibrary, open_or_create
from tests.support.sounds import hiss, tone, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "my sounds"
    write_audio(folder / "deep" / "hum.wav", tone(200, 2.0))
    write_audio(folder / 'it\'s, "odd"\n.wav', tone(900, 0.5))
    write_audio(folder / "hiss.flac", hiss(1.0))
    return folder


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model, hop=0.25)
    made.index(sounds)
    return made


def invoke(*arguments: object) -> str:
    """Standard output of a command that must succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_info_says_what_is_there(library, sounds, small_model, tmp_path):
    info = library.info()
    assert (info.sounds, info.windows, info.seconds) == (3, 7, pytest.approx(3.5))
    assert info.roots == (str(sounds),)
    assert (info.window, info.hop) == (1.0, 0.25)
    assert (info.model, info.fingerprint) == (str(small_model), library.model.fingerprint)
    files = [path for path in (tmp_path / "library").rglob("*") if path.is_file()]
    assert info.bytes == sum(path.stat().st_size for path in files)
    assert info.created <= info.updated
    json.dumps(info.to_dict())
    assert "T" in info.updated


def test_info_of_an_empty_library_is_all_zeros(tmp_path, small_model):
    info = SoundLibrary.create(tmp_path / "empty", small_model).info()
    assert (info.sounds, info.windows, info.seconds, info.roots) == (0, 0, 0.0, ())


def test_the_info_command_tells_the_same(library, tmp_path, sounds):
    told = json.loads(invoke("info", tmp_path / "library", "--json"))
    assert told == json.loads(json.dumps(library.info().to_dict()))
    shown = invoke("info", tmp_path / "library")
    assert f"folder   {sounds}" in shown
    assert "3, 4 s in all" in shown


def test_parquet_read_back_equals_the_table(library, tmp_path):
    assert library.export(tmp_path / "out.parquet") == 7
    back = pq.read_table(tmp_path / "out.parquet").sort_by("id")
    table = library.store.rows().sort_by("id")
    assert back.column_names == table.column_names
    for name in table.column_names:
        assert back[name].to_pylist() == table[name].to_pylist(), name
    assert json.loads(back.schema.metadata[b"otomatch"])["window"] == 1.0


def test_csv_has_a_row_for_each_window_and_survives_odd_names(library, tmp_path):
    library.export(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 7
    assert "vector" not in found[0]
    assert {row["path"] for row in found} == {sound.path for sound in library.sounds()}
    starts = sorted(float(row["start"]) for row in found if row["path"].endswith("hum.wav"))
    np.testing.assert_allclose(starts, [0, 0.25, 0.5, 0.75, 1.0])


def test_export_replaces_a_file_only_when_all_is_written(library, tmp_path, monkeypatch):
    out = tmp_path / "out.parquet"
    out.write_text("before")

    def fail(columns):
        yield from real(columns)
        raise OSError(28, "No space left on device")

    real = library.store.batches
    monkeypatch.setattr(library.store, "batches", fail)
    with pytest.raises(LibraryError, match=r"out\.parquet: cannot be written \(No space"):
        library.export(out)
    assert out.read_text() == "before"
    assert list(tmp_path.glob(".*")) == []


def test_export_refuses_other_names(library, tmp_path):
    with pytest.raises(InvalidInputError, match=r"ends in \.parquet or \.csv"):
        library.export(tmp_path / "out.json")
    with pytest.raises(LibraryError, match="cannot be written"):
        library.export(tmp_path / "none" / "out.csv")


def test_the_export_command_names_the_file_by_the_library(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "7 rows written to library.parquet" in invoke("export", "library/", "--to", "parquet")
    assert len(pq.read_table("library.parquet")) == 7
    invoke("export", "library", "--to", "csv", "--out", "x.csv")
    assert Path("x.csv").is_file()
    with pytest.raises(LibraryError, match=r"ends in \.csv"):
        invoke("export", "library", "--to", "csv", "--out", "x.parquet")


def test_removing_a_file_or_a_folder_leaves_the_rest_and_the_files(library, sounds):
    assert library.remove(sounds / "hiss.flac") == 1
    assert library.remove(sounds / "de") == 0
    assert library.remove(str(sounds / "deep") + "/") == 1
    assert len(library.sounds()) == 1
    assert (sounds / "deep" / "hum.wav").is_file()
    assert library.remove(sounds.parent) == 1
    assert len(library) == 0


def test_what_is_gone_can_be_removed_by_a_relative_path(library, sounds, tmp_path, monkeypatch):
    (sounds / "hiss.flac").unlink()
    monkeypatch.chdir(tmp_path)
    assert "1 sounds removed" in invoke("remove", "library", "my sounds/hiss.flac")
    with pytest.raises(LibraryError, match=r"holds nothing at or below .*hiss\.flac"):
        invoke("remove", "library", "my sounds/hiss.flac")


def test_everything_that_was_skipped_is_in_a_csv_that_each_run_writes_anew(
    library, sounds, tmp_path
):
    (sounds / 'broken, "really".wav').write_text("no sound")
    (sounds / "empty.wav").touch()
    invoke("index", sounds, "--library", tmp_path / "library")
    with (tmp_path / "library" / "skipped.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in listed] == ['broken, "really".wav', "empty.wav"]
    assert "0 bytes" in listed[1]["reason"]
    for path in sounds.glob("[be]*.wav"):
        path.unlink()
    invoke("index", sounds, "--library", tmp_path / "library", "--skipped", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "file,reason\n"
    invoke("index", sounds, "--library", tmp_path / "library")
    assert (tmp_path / "library" / "skipped.csv").read_text() == "file,reason\n"


def test_reasons_are_grouped_and_only_the_first_twenty_files_are_named(capsys):
    from rich.console import Console

    skipped = [Skipped(f"{i}.wav", "empty") for i in range(30)] + [Skipped("x.mp3", "broken [x]")]
    print_reasons(Console(), skipped, Path("all.csv"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "skipped 30 files: empty"
    assert lines[-1] == "... and 11 more; all are listed in all.csv"
    assert len(lines) == 22
    print_reasons(Console(), skipped[-2:])
    assert capsys.readouterr().out.splitlines() == [
        "skipped 1 file: empty", "    29.wav", "skipped 1 file: broken [x]", "    x.mp3",
    ]  # fmt: skip


def test_the_index_command_counts_what_it_did(library, sounds, tmp_path):
    write_audio(sounds / "hiss.flac", hiss(0.6, seed=1))
    (sounds / "deep" / "hum.wav").rename(sounds / "moved.wav")
    write_audio(sounds / "new.wav", hiss(0.3))
    next(sounds.glob("it's*")).unlink()
    command = ("index", sounds, "--library", tmp_path / "library")
    assert json.loads(invoke(*command, "--keep-deleted", "--json")) == {
        "added": 1, "changed": 1, "moved": 1, "removed": 0, "unchanged": 0, "skipped": [],
    }  # fmt: skip
    shown = invoke(*command)
    assert "0 files added, 0 changed, 0 moved, 1 removed, 3 unchanged, 0 skipped" in shown
    assert "holds 3 sounds" in shown


def test_windows_are_chosen_once_for_a_library(tmp_path, sounds, small_model, tiny_clap):
    place = tmp_path / "short"
    command = ("index", sounds, "--library", place)
    invoke(*command, "--model", small_model, "--window", 0.5, "--hop", 0.1)
    info = SoundLibrary.open(place).info()
    assert (info.window, info.hop, info.windows) == (0.5, 0.1, 16 + 1 + 6)
    invoke(*command, "--window", 0.5)
    with pytest.raises(LibraryError, match=r"a window of 0\.5 s, not 1 s; leave out the window"):
        invoke(*command, "--window", 1)
    with pytest.raises(LibraryError, match=r"a hop of 0\.1 s, not 0\.2 s; leave out the hop"):
        invoke(*command, "--hop", 0.2)
    for wrong in (0, 2, float("nan")):
        with pytest.raises(InvalidInputError, match="expected more than 0 and at most"):
            open_or_create(tmp_path / "other", small_model, window=wrong)
    for wrong in (-1, 0, 0.00001, 0.0199, 1.5, float("nan")):
        with pytest.raises(InvalidInputError, match=r"at least a fiftieth of a window .*0\.02 s"):
            open_or_create(tmp_path / "other", small_model, hop=wrong)
    with pytest.raises(InvalidInputError, match=r"0\.5 s long, but .* exactly 1 s"):
        open_or_create(tmp_path / "other", tiny_clap, window=0.5)
    assert not (tmp_path / "other").exists()
    finest = open_or_create(tmp_path / "finest", small_model, window=0.55, hop=0.011)
    assert finest.info().hop == 0.011


def test_progress_without_a_terminal_is_a_line_now_and_then(library, sounds, monkeypatch, capfd):
    from otomatch.library.indexing import progress

    for i in range(5):
        write_audio(sounds / f"{i}.wav", tone(300.0 * (i + 1), 0.5))
    library.index(sounds, progress=True)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    write_audio(sounds / "0.wav", hiss(0.5))
    library.index(sounds, progress=True)
    err = capfd.readouterr().err
    assert "1 of 1 files" in err
    assert "x real time" in err
    library.index(sounds)
    assert capfd.readouterr().err == ""


def test_overlapping_windows_count_each_second_of_sound_once(library, sounds, monkeypatch):
    from otomatch.library.indexing import embedding, progress

    heard = []
    monkeypatch.setattr(embedding, "_BATCH", 3)
    monkeypatch.setattr(
        progress.IndexProgress, "embedded", lambda _, seconds: heard.append(seconds)
    )
    write_audio(sounds / "long.wav", hiss(4.2, seed=1))
    write_audio(sounds / "short.wav", hiss(0.3, seed=2))
    library.index(sounds)
    assert len(heard) > 3
    assert sum(heard) == pytest.approx(4.5, abs=1e-3)


def test_progress_on_a_terminal_shows_rates_and_what_was_skipped():
    from io import StringIO

    from rich.console import Console

    from otomatch.library.indexing.progress import IndexProgress

    out = StringIO()
    with IndexProgress(True, Console(file=out, force_terminal=True, width=120)) as bar:
        bar.expect(4)
        bar.embedded(100.0)
        bar.finished(skipped=False)
        bar.finished(skipped=True)
    assert "2/4" in out.getvalue()
    assert "files/s" in out.getvalue()
    assert "1 skipped" in out.getvalue()


def test_nothing_is_loaded_where_nothing_is_new(library, sounds, tmp_path, monkeypatch):
    from otomatch.models.audio_text_model import AudioTextModel

    def fail(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(AudioTextModel, "from_pretrained", fail)
    assert SoundLibrary.open(tmp_path / "library").index(sounds).unchanged == 3
