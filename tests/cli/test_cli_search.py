"""Searching from the command line, with a CLAP of random weights that is given by its path."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.errors import InvalidInputError, MissingDependencyError
from otomatch.library import SoundLibrary
from tests.support.sounds import hiss, tone, write_audio

PITCHES = {"low hum": 200.0, "beep": 1000.0, "whistle": 3000.0}


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, tiny_clap: Path) -> Path:
    place = tmp_path_factory.mktemp("cli")
    for name, hertz in PITCHES.items():
        write_audio(place / "sounds" / "tones" / f"{name}.wav", tone(hertz, 1.5))
    write_audio(place / "sounds" / "noise" / "hiss.flac", hiss(0.6))
    shutil.copy(place / "sounds/tones/beep.wav", place / "sounds/noise/copy of beep.wav")
    invoke("index", place / "sounds", "--model", tiny_clap, "--library", place / "library")
    return place / "library"


def names(*arguments: object) -> list[str]:
    return [Path(hit["path"]).name for hit in json.loads(invoke("search", *arguments, "--json"))]


@pytest.mark.slow
def test_a_name_is_found_by_its_words_unless_they_are_not_wanted(library):
    assert names(library, "whistle")[0] == "whistle.wav"
    plain = names(library, "whistle", "--no-hybrid")
    assert sorted(plain) == sorted(names(library, "whistle"))
    assert names(library, "zebra") == names(library, "zebra", "--no-hybrid")


def test_text_and_sound_and_unwanted_terms_go_together(library):
    sound = library.parent / "sounds/noise/hiss.flac"
    assert names(library, "--like", sound, "-k", 1) == ["hiss.flac"]
    hits = json.loads(
        invoke(
            "search", library, "a beep", "--like", sound, "--not", "a hum", "--not", "x", "--json"
        )
    )
    found = SoundLibrary.open(library).search("a beep", audio=sound, without=["a hum", "x"])
    assert hits == [hit.to_dict() for hit in found]
    assert all(0 <= hit["relevance"] <= 1 for hit in hits)


def test_filters_choose_folders_and_durations(library):
    assert sorted(names(library, "a beep", "--folder", "noise")) == [
        "copy of beep.wav",
        "hiss.flac",
    ]
    assert names(library, "a beep", "--max-duration", 1) == ["hiss.flac"]
    assert "hiss.flac" not in names(library, "a beep", "--min-duration", 1)
    with pytest.raises(InvalidInputError, match="indexed folders"):
        invoke("search", library, "a beep", "--folder", "nowhere")
    with pytest.raises(InvalidInputError, match="hybrid"):
        invoke("search", library, "--like", "a.wav", "--hybrid")


def test_the_table_shows_the_query_and_a_playlist_is_written(library, tmp_path):
    playlist = tmp_path / "hits.m3u8"
    table = invoke("search", library, "whistle", "--not", "rain", "-k", 2, "--playlist", playlist)
    assert table.splitlines()[0].strip() == "whistle, not rain"
    assert "relevance" in table
    assert len(playlist.read_text(encoding="utf-8").splitlines()) == 7


def test_hits_are_played_and_a_missing_player_is_said_before_anything_else(
    library, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="ffplay"):
        invoke("search", library, "whistle", "--play")
    player = tmp_path / "mpv"
    player.write_text(f"#!/bin/sh\necho played >> {tmp_path}/log\n")
    player.chmod(0o755)
    invoke("search", library, "whistle", "--play")
    assert (tmp_path / "log").read_text() == "played\n" * 3


def test_similar_sounds_never_are_the_sound_itself(library):
    opened = SoundLibrary.open(library)
    for sound in opened.sounds():
        for start in (None, 0.0, 1e9):
            hits = opened.similar(sound.id, start, k=50)
            assert len(hits) == 4
            assert sound.id not in {hit.id for hit in hits}
    with pytest.raises(InvalidInputError, match="start"):
        opened.similar(sound.id, float("nan"))


def test_duplicates_are_listed_in_groups(library):
    (group,) = json.loads(invoke("duplicates", library, "--json"))
    assert {Path(sound["path"]).name for sound in group["sounds"]} == {
        "beep.wav",
        "copy of beep.wav",
    }
    assert sum(sound["copy_of"] is not None for sound in group["sounds"]) == 1
    table = invoke("duplicates", library)
    assert "100%" in table
    assert "No near-identical sounds" in invoke("duplicates", library, "--folder", "tones")
