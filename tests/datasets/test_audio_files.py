"""Finding the audio files that a table names."""

import os
import time

import numpy as np
import pytest

from otomatch.datasets import open_dataset
from tests.support.sounds import tone, write_audio, write_caption_folder, write_csv


def test_missing_empty_and_undecodable_files_are_reported_and_skipped(tmp_path):
    write_audio(tmp_path / "good.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(b"not audio at all" * 200)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.flac").write_bytes(b"fLaC")
    (tmp_path / "fake.m4a").write_bytes(b"nothing that ffmpeg knows")
    write_audio(tmp_path / "nothing.wav", np.zeros(0, np.float32))
    names = ["good.wav", "gone.wav", "empty.wav", "noise.wav", "notes.txt", "cut.flac"]
    names += ["fake.m4a", "nothing.wav"]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *((n, "x") for n in names)])
    data = open_dataset(tmp_path)
    assert [clip.id for clip in data.clips] == ["good.wav"]
    reasons = {item.name: item.reason for item in data.skipped}
    assert set(reasons) == set(names) - {"good.wav"}
    assert "line 3: no such file" in reasons["gone.wav"]
    assert "empty (0 bytes)" in reasons["empty.wav"]
    assert "cannot be decoded" in reasons["noise.wav"]
    assert "cannot be decoded" in reasons["cut.flac"]
    assert "no audio samples" in reasons["nothing.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".au", ".caf"])
def test_every_format_that_decodes_passes_the_quick_look_at_open_time(tmp_path, suffix):
    write_audio(tmp_path / f"a{suffix}", tone(440, 1.0))
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), (f"a{suffix}", "x")])
    assert open_dataset(tmp_path).skipped == ()


def test_names_match_without_stray_spaces_and_in_any_sub_folder(tmp_path):
    write_audio(tmp_path / "deep" / "er" / "with space.wav")
    write_audio(tmp_path / "audio" / "trailing.wav ".strip())
    rows = [("file_name", "caption"), (" with space.wav  ", "x"), ("old/trailing.wav", "y")]
    write_csv(tmp_path / "captions.csv", rows)
    data = open_dataset(tmp_path)
    assert [clip.id for clip in data.clips] == ["deep/er/with space.wav", "audio/trailing.wav"]


def test_the_exact_path_wins_over_a_file_of_the_same_name_elsewhere(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "sub" / "a.wav")
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert [clip.id for clip in open_dataset(tmp_path).clips] == ["a.wav"]


def test_an_ambiguous_base_name_is_reported_not_guessed(tmp_path):
    for name in ("one/a.wav", "two/a.wav", "b.wav", "three/c.wav"):
        write_audio(tmp_path / name)
    rows = [("a.wav", "x"), ("b.wav", "y"), ("four/c.wav", "not z"), ("three/c.wav", "z")]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *rows])
    data = open_dataset(tmp_path)
    assert data.captions == ["y", "z"]
    assert "2 files have this name: one/a.wav, two/a.wav" in data.skipped[0].reason
    assert data.skipped[1].name == "four/c.wav"


def test_accented_names_match_in_either_unicode_form(tmp_path):
    write_audio(tmp_path / "cafe\u0301.wav")
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("caf\u00e9.wav", "x")])
    assert len(open_dataset(tmp_path)) == 1


def test_a_link_to_a_folder_of_audio_is_followed_and_a_loop_of_links_ends(tmp_path):
    write_audio(tmp_path / "elsewhere" / "a.wav")
    root = tmp_path / "data"
    root.mkdir()
    (root / "audio").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    write_csv(root / "captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert [clip.id for clip in open_dataset(root).clips] == ["audio/a.wav"]


def test_opening_looks_at_each_file_once_however_many_captions_it_has(tmp_path, monkeypatch):
    from otomatch.datasets import clips

    calls = []
    monkeypatch.setattr(clips, "unreadable_reason", lambda path: calls.append(path) or "")
    write_caption_folder(tmp_path, {f"{i}.wav": [f"text {j}" for j in range(5)] for i in range(20)})
    assert len(open_dataset(tmp_path).captions) == 100
    assert len(calls) == 20


def test_opening_grows_no_faster_than_the_folder(tmp_path):
    write_audio(tmp_path / "a" / "0.wav")
    for i in range(1, 3000):
        os.link(tmp_path / "a" / "0.wav", tmp_path / "a" / f"{i}.wav")
    rows = [(f"{i}.wav", f"text {i}") for i in range(3000)]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *rows])
    start = time.perf_counter()
    data = open_dataset(tmp_path)
    assert len(data) == 3000
    # Half a second on one slow core; a stat or a search per row and file would take minutes.
    assert time.perf_counter() - start < 20
