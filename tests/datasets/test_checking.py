"""Checking a data set: what is counted, measured, missing, broken, and in two splits."""

import json
import shutil

import pytest

from otomatch import audio
from otomatch.datasets import open_dataset
from otomatch.datasets.caption_table import read_rows
from otomatch.datasets.checking import Durations, check_dataset
from otomatch.errors import AudioError
from tests.support.layouts import (
    REAL,
    SHARED,
    needs_real_captions,
    write_audiocaps,
    write_clotho,
    write_esc50,
)
from tests.support.sounds import hiss, tone, write_audio, write_container, write_csv


def test_every_split_and_the_whole_are_counted_and_measured(tmp_path):
    found = check_dataset(
        open_dataset("audiocaps", write_audiocaps(tmp_path, "mei", (4, 1, 2), 0.5))
    )
    parts = {part.split: part for part in found.parts}
    assert list(parts) == ["test", "train", "val", None]
    assert {name: (part.clips, part.captions) for name, part in parts.items()} == {
        "train": (4, 4), "val": (1, 5), "test": (2, 10), None: (7, 19),
    }  # fmt: skip
    assert parts[None].captions_per_clip == {1: 4, 5: 3}
    assert parts["train"].seconds == Durations(0.5, 0.5, 0.5, 2.0)
    assert parts[None].sample_rates == {32000: 7}
    assert found.missing == found.broken == ()


def test_durations_are_those_of_the_clips_not_of_their_files(tmp_path):
    write_audio(tmp_path / "long.wav", tone(440, 4.0))
    write_audio(tmp_path / "short.wav", tone(440, 1.0, rate=8000), rate=8000)
    header = ("file_name", "caption", "start", "end")
    rows = [("long.wav", "a", 1, 3), ("long.wav", "b", 3, ""), ("short.wav", "c", "", "")]
    write_csv(tmp_path / "captions.csv", [header, *rows])
    (whole,) = check_dataset(open_dataset(tmp_path)).parts
    assert whole.seconds == Durations(1.0, 1.0, 2.0, 4.0)
    assert whole.sample_rates == {8000: 1, 32000: 2}


def test_missing_and_broken_files_are_told_apart(tmp_path):
    root = write_clotho(tmp_path, clips=(4, 1, 1), seconds=0.1)
    (root / "development" / SHARED).unlink()
    (root / "validation" / "Night birds 4.wav").write_bytes(b"")
    found = check_dataset(open_dataset("clotho", root))
    assert [entry.name for entry in found.missing] == [f"development/{SHARED}"]
    assert [entry.name for entry in found.broken] == ["validation/Night birds 4.wav"]
    assert found.parts[-1].clips == 4


def test_a_file_with_a_good_beginning_and_no_readable_header_is_broken(tmp_path):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.5)
    path = root / "audio/1-100-A-0.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(4000))
    found = check_dataset(open_dataset("esc-50", root))
    assert [entry.name for entry in found.broken] == ["audio/1-100-A-0.wav"]
    assert found.parts[-1].seconds == Durations(0.5, 0.5, 0.5, 1.5)
    assert found.labels == 4


def test_damage_further_in_is_found_by_decoding_only(tmp_path):
    write_audio(tmp_path / "whole.flac", tone(440, 2.0))
    path = write_audio(tmp_path / "cut.flac", tone(440, 2.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows = [("file_name", "caption"), ("whole.flac", "a"), ("cut.flac", "b")]
    write_csv(tmp_path / "captions.csv", rows)
    data = open_dataset(tmp_path)
    assert check_dataset(data).broken == ()
    found = check_dataset(data, decode=True)
    assert found.decoded
    assert [entry.name for entry in found.broken] == ["cut.flac"]


def test_progress_counts_every_file_once(tmp_path):
    data = open_dataset("esc-50", write_esc50(tmp_path, folds=(1, 2), seconds=0.1))
    seen = []
    check_dataset(data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]


def test_the_same_bytes_in_two_splits_are_found_whatever_the_file_is_called(tmp_path):
    root = write_clotho(tmp_path, clips=(3, 2, 2), seconds=0.1)
    shutil.copy(root / "development/Night birds 1.wav", root / "evaluation/Night birds 6.wav")
    shutil.copy(root / "validation/Night birds 3.wav", root / "validation/Night birds 4.wav")
    found = check_dataset(open_dataset("clotho", root))
    assert found.audio_in_splits == (
        ("development/Night birds 1.wav", "evaluation/Night birds 6.wav"),
    )


def test_files_that_differ_only_at_the_end_are_not_the_same(tmp_path):
    root = write_clotho(tmp_path, clips=(1, 0, 1), seconds=2.0)
    train, test = root / "development" / SHARED, root / "evaluation" / SHARED
    content = train.read_bytes()
    assert len(content) > 1 << 17
    test.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))
    assert check_dataset(open_dataset("clotho", root)).audio_in_splits == ()
    test.write_bytes(content)
    assert len(check_dataset(open_dataset("clotho", root)).audio_in_splits) == 1


def test_captions_in_two_splits_and_captions_of_several_clips_are_counted_apart(tmp_path):
    for name in "abcd":
        write_audio(tmp_path / f"{name}.wav")
    rows = [
        ("file_name", "split", "caption_1", "caption_2"),
        ("a.wav", "train", "Rain falls", "rain falls"),
        ("b.wav", "train", "a dog", "wind"),
        ("c.wav", "test", "rain  falls", "a dog"),
        ("d.wav", "test", "thunder", "a  Dog"),
    ]
    write_csv(tmp_path / "captions.csv", rows)
    found = check_dataset(open_dataset(tmp_path))
    assert found.captions_in_splits == {
        "rain falls": ("test", "train"), "a dog": ("test", "train"),
    }  # fmt: skip
    shared = {part.split: part.shared_captions for part in found.parts}
    assert shared == {"test": 1, "train": 0, None: 2}


def test_what_is_found_survives_json(tmp_path):
    found = check_dataset(
        open_dataset("clotho", write_clotho(tmp_path, clips=(2, 1, 1), seconds=0.1))
    )
    data = json.loads(json.dumps(found.to_dict()))
    assert data["parts"][-1]["clips"] == 4
    assert data["parts"][-1]["seconds"]["total"] == pytest.approx(0.4)


@pytest.mark.slow
@needs_real_captions
def test_67_real_test_captions_of_audiocaps_are_shared_by_several_clips(tmp_path):
    rows = read_rows(REAL / "audiocaps_test.csv")
    table = [("file_name", "caption")]
    sound = write_audio(tmp_path / "sound.wav").read_bytes()
    for i, row in enumerate(rows):
        (tmp_path / f"{i}.wav").write_bytes(sound)
        table += [(f"{i}.wav", caption) for caption in row.captions]
    write_csv(tmp_path / "captions.csv", table)
    (whole,) = check_dataset(open_dataset(tmp_path)).parts
    assert (whole.clips, whole.captions, whole.shared_captions) == (957, 4785, 67)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_header_tells_the_length_that_decoding_gives(tmp_path, suffix):
    path = write_audio(tmp_path / f"a{suffix}", tone(440, 1.3, rate=44100), rate=44100)
    waveform, rate = audio.decode(path)
    assert audio.duration(path) == (pytest.approx(waveform.size / rate, abs=1e-3), 44100)


def test_a_file_of_a_browser_has_the_length_that_decoding_gives(tmp_path):
    pytest.importorskip("av")
    path = write_container(tmp_path / "a.webm", "libopus", hiss(2, rate=48000)[None], 48000)
    assert audio.duration(path) == (pytest.approx(2, abs=0.05), 48000)


def test_a_file_without_a_length_is_an_error_that_names_it(tmp_path):
    path = write_audio(tmp_path / "none.wav", tone(440, 0.0))
    with pytest.raises(AudioError, match=r"none\.wav: has no audio samples"):
        audio.duration(path)
    with pytest.raises(AudioError, match=r"absent\.wav: cannot be decoded"):
        audio.duration(tmp_path / "absent.wav")
