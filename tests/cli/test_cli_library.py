"""The commands that create libraries and keep them up to date: index, info, remove, export."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.cli.tables import print_reasons
from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import SoundLibrary, open_or_create
from tests.support.library_sounds import write_odd_names
from tests.support.sounds import hiss, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_odd_names(tmp_path / "my sounds")


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


def test_the_info_command_tells_the_same(library, tmp_path, sounds):
    told = json.loads(invoke("info", tmp_path / "library", "--json"))
    assert told == json.loads(json.dumps(library.info().to_dict()))
    shown = invoke("info", tmp_path / "library")
    assert f"folder   {sounds}" in shown
    assert "3, 4 s in all" in shown


def test_the_export_command_names_the_file_by_the_library(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "7 rows written to library.parquet" in invoke("export", "library/", "--to", "parquet")
    assert len(pq.read_table("library.parquet")) == 7
    invoke("export", "library", "--to", "csv", "--out", "x.csv")
    assert Path("x.csv").is_file()
    with pytest.raises(LibraryError, match=r"end in \.csv"):
        invoke("export", "library", "--to", "csv", "--out", "x.parquet")


def test_what_is_gone_can_be_removed_by_a_relative_path(library, sounds, tmp_path, monkeypatch):
    (sounds / "hiss.flac").unlink()
    monkeypatch.chdir(tmp_path)
    assert "1 sound removed" in invoke("remove", "library", "my sounds/hiss.flac")
    with pytest.raises(LibraryError, match=r"holds nothing in .*hiss\.flac"):
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
