"""Remedies that the commands of a library add to its errors."""

from pathlib import Path

import pytest

from otomatch.library import SoundLibrary
from tests.support.commands import run
from tests.support.sounds import tone, write_audio


def error_of(*arguments: object) -> str:
    """Run a command that must fail; return what it prints on standard error."""
    done = run(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", [("search", "none", "rain"), ("index", "sounds", "--library")])
def test_a_missing_library_shows_the_command_that_creates_one(tmp_path, monkeypatch, command):
    write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.2))
    monkeypatch.chdir(tmp_path)
    place = () if command[0] == "search" else ("none",)
    assert "otomatch index FOLDER --model MODEL --library" in error_of(*command, *place)
    assert not Path("none").exists()


@pytest.mark.slow
def test_an_emptied_folder_shows_the_command_that_removes_its_sounds(
    tmp_path, small_model, monkeypatch
):
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.2))
    SoundLibrary.create(tmp_path / "library", small_model).index(path.parent)
    path.unlink()
    monkeypatch.chdir(tmp_path)
    error = error_of("index", "sounds", "--library", "library")
    assert "the library has 1 from there" in error
    assert f"otomatch remove LIBRARY {path.parent}" in error
