"""Progress of an indexing run, and runs with nothing to do."""

from pathlib import Path

import pytest

from otomatch.library import SoundLibrary
from tests.support.library_sounds import write_odd_names
from tests.support.sounds import hiss, tone, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_odd_names(tmp_path / "my sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model, hop=0.25)
    made.index(sounds)
    return made


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
