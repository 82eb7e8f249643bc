"""Files as they occur: broken, mislabelled, oddly named, of any length. None stops a run."""

import csv
import os
import shutil
import struct
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otomatch import audio
from otomatch.datasets.base import Skipped
from otomatch.errors import AudioError, LibraryError
from otomatch.library import SoundLibrary
from otomatch.library.exporting import write_skipped
from otomatch.library.indexing import reading as reading_module
from tests.support.sounds import hiss, tone, write_audio, write_container


@pytest.fixture
def library(tmp_path: Path, small_model: Path) -> SoundLibrary:
    return SoundLibrary.create(tmp_path / "library", small_model)


def wav(frames: int, claimed: int, channels: int = 1, rate: int = 32000) -> bytes:
    """A 16-bit WAV whose header claims more bytes of samples than there are."""
    width, speed = min(2 * channels, 65535), min(rate * 2 * channels, 2**32 - 1)
    form = struct.pack("<HHIIHH", 1, channels, rate, speed, width, 16)
    size = struct.pack("<I", min(claimed + 36, 2**32 - 1))
    head = b"RIFF" + size + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", claimed) + bytes(2 * channels * frames)


def good(folder: Path) -> Path:
    return write_audio(folder / "good.wav", tone(500, 0.4))


BROKEN = {
    "zero.wav": b"",
    "zero.flac": b"",
    "noise.wav": bytes(range(256)) * 20,
    "noise.mp3": b"\x01\x02" * 900,
    "noise.m4a": b"\0\0\0\x18ftypM4A " + bytes(500),
    "noise.webm": b"\x1aE\xdf\xa3" + bytes(500),
    "text.ogg": b"not a sound but a letter",
    "header only.wav": wav(0, 0),
    "many channels.wav": wav(10, 20, channels=65535),
    "no rate.wav": wav(10, 20, rate=0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_skipped_with_a_reason_and_the_others_go_on(library, tmp_path, name):
    folder = good(tmp_path / "sounds").parent
    (folder / name).write_bytes(BROKEN[name])
    report = library.index(folder)
    assert report.added == 1
    assert [entry.name for entry in report.skipped] == [str(folder / name)]
    assert 8 < len(report.skipped[0].reason) <= 300
    assert str(folder) not in report.skipped[0].reason


@pytest.mark.parametrize("claimed", [2**31, 2**32 - 1, 2**32 - 40])
def test_a_header_that_claims_gigabytes_costs_no_memory(library, tmp_path, claimed):
    import resource

    folder = good(tmp_path / "sounds").parent
    (folder / "lying.wav").write_bytes(wav(16000, claimed))
    library.model  # noqa: B018 - loaded before memory is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = library.index(folder)
    assert report.added + len(report.skipped) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_truncated_file_is_read_as_far_as_it_goes_or_skipped(library, tmp_path, name):
    folder = good(tmp_path / "sounds").parent
    path = write_audio(folder / name, hiss(1.5))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = library.index(folder)
    assert report.added + len(report.skipped) == 2
    for sound in library.sounds():
        assert 0 < sound.duration <= 1.6


@pytest.mark.parametrize(
    ("real", "name"), [("a.flac", "b.wav"), ("a.wav", "b.mp3"), ("a.ogg", "b.flac")]
)
def test_a_wrong_ending_is_no_obstacle_where_the_content_tells(library, tmp_path, real, name):
    path = write_audio(tmp_path / "sounds" / real, tone(500, 0.4))
    path.rename(path.with_name(name))
    assert library.index(path.parent).added == 1
    assert library.sounds()[0].duration == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), MemoryError(), RecursionError("deep"), KeyError("x"), OSError(5, "I/O")],
)
def test_whatever_a_decoder_raises_concerns_one_file_only(library, tmp_path, monkeypatch, error):
    folder = good(tmp_path / "sounds").parent
    bad = write_audio(folder / "bad.wav", tone(600, 0.4))
    real = audio.stream

    def stream(path, rate):
        if Path(path) == bad:
            yield tone(600, 0.2)
            raise error
        yield from real(path, rate)

    monkeypatch.setattr(audio, "stream", stream)
    report = library.index(folder)
    assert report.added == 1
    expected = "I/O" if isinstance(error, OSError) else type(error).__name__
    assert expected in report.skipped[0].reason
    assert [Path(sound.path).name for sound in library.sounds()] == ["good.wav"]


def test_copies_of_a_broken_file_are_each_named(library, tmp_path):
    folder = good(tmp_path / "sounds").parent
    for i in range(5):
        (folder / f"broken{i}.wav").write_bytes(b"no sound")
    report = library.index(folder)
    assert report.added == 1
    assert sorted(Path(entry.name).name for entry in report.skipped) == [
        f"broken{i}.wav" for i in range(5)
    ]
    assert len({entry.reason for entry in report.skipped}) == 1


def test_many_long_files_wait_in_bounded_numbers(library, tmp_path, monkeypatch):
    """Decoding is faster than embedding: it must wait, not fill the memory with windows."""
    for i in range(4):
        write_audio(tmp_path / "sounds" / f"{i}.wav", hiss(30, seed=i))
    most = 0
    real = reading_module.FileReader._put

    def put(reader, sound, item):
        nonlocal most
        real(reader, sound, item)
        most = max(most, reader._out.qsize())

    monkeypatch.setattr(reading_module, "_MAX_WAITING", 6)
    monkeypatch.setattr(reading_module.FileReader, "_put", put)
    library.index(tmp_path / "sounds")
    assert (len(library), most) == (4 * 59, 6)


ODD = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=60
).filter(lambda name: len(name.encode()) <= 240 and not name.startswith("."))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(names=st.lists(ODD, min_size=1, max_size=4, unique=True))
@example(names=["it's", 'a "b"', "<i>x</i> & y", "100% _wild_", "-rf", "new\nline", "tab\t", " "])
@example(names=["ドラム 🥁", "Ψίθυρος", "кот лает", "كلب", "हिन्दी", "e\u0301clair", "\u202egpj"])
@example(names=["x" * 240, "雨" * 80, "; DROP TABLE sounds; --", "\\", "a''b", "{0}", "%s", "*?["])
def test_any_name_survives_the_whole_round(tmp_path_factory, small_model, names):
    base = tmp_path_factory.mktemp("odd")
    made = SoundLibrary.create(base / "library", small_model)
    folder = base / "so'unds"
    for i, name in enumerate(names):
        write_audio(folder / f"{name}.wav", tone(300 + 100 * i, 0.1))
    expected = {str(folder / f"{name}.wav") for name in names}
    assert made.index(folder).added == len(names)
    assert {sound.path for sound in made.sounds()} == expected
    assert made.index(folder).unchanged == len(names)
    first = folder / f"{names[0]}.wav"
    write_audio(first, hiss(0.2))
    assert made.index(folder).changed == 1
    assert made.search(audio=first, k=1)[0].path == str(first)
    write_skipped(base / "s.csv", [Skipped(path, "x") for path in sorted(expected)])
    with (base / "s.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == sorted(expected)
    assert made.remove(first) == 1
    assert {sound.path for sound in made.sounds()} == expected - {str(first)}


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(seconds=st.floats(0.001, 4.0), rate=st.sampled_from([8000, 32000, 48000]))
@example(seconds=0.001, rate=8000)
@example(seconds=3.0, rate=32000)
def test_spans_cover_a_sound_of_any_length(tmp_path_factory, small_model, seconds, rate):
    base = tmp_path_factory.mktemp("lengths")
    wave = hiss(seconds, rate=rate)
    if len(wave) == 0:
        return
    write_audio(base / "sounds" / "a.wav", wave, rate)
    made = SoundLibrary.create(base / "library", small_model)
    assert made.index(base / "sounds").added == 1
    rows = made.store.rows(["start", "end", "duration"]).sort_by("start").to_pylist()
    length = len(wave) / rate
    assert rows[0]["start"] == 0
    assert rows[-1]["end"] == rows[0]["duration"] == pytest.approx(length, abs=1e-3)
    assert all(0 <= row["start"] < row["end"] <= row["duration"] for row in rows)
    for one, other in pairwise(rows):
        assert 0 < other["start"] - one["start"] <= 0.5
        assert other["start"] < one["end"]


def test_a_file_that_cannot_be_opened_keeps_its_rows(library, tmp_path, monkeypatch):
    """A flaky drive is no reason to forget; a file whose content is wrong is."""
    path = good(tmp_path / "sounds")
    write_audio(path.with_name("other.wav"), tone(600, 0.4))
    library.index(path.parent)
    os.utime(path, ns=(1, 1))

    def refuse(given):
        raise PermissionError(13, "Permission denied", str(given))

    monkeypatch.setattr(reading_module.identity, "content_digest", refuse)
    report = library.index(path.parent)
    assert (report.removed, [entry.reason for entry in report.skipped]) == (
        0,
        ["Permission denied"],
    )
    assert len(library.sounds()) == 2


def test_a_missing_decoder_keeps_the_rows(library, tmp_path, monkeypatch):
    path = good(tmp_path / "sounds").with_name("voice.m4a")
    write_container(path, "aac", tone(600, 0.4)[None], 32000)
    assert library.index(path.parent).added == 2
    write_container(path, "aac", tone(900, 0.5)[None], 32000)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        report = library.index(path.parent)
    assert (report.removed, len(library.sounds())) == (0, 2)
    assert "pip install 'otomatch[codecs]'" in report.skipped[0].reason
    assert library.index(path.parent).changed == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), ValueError("odd"), AudioError("broken"), EOFError("what av raises")]
)
def test_only_errors_of_the_content_remove_rows_and_only_from_an_index(
    library, tmp_path, monkeypatch, error
):
    path = good(tmp_path / "sounds")
    write_audio(path.with_name("other.wav"), tone(600, 0.4))
    library.index(path.parent)
    write_audio(path, tone(500, 0.6))

    def fail(*_):
        raise error
        yield

    monkeypatch.setattr(audio, "stream", fail)
    assert len(library.add([path]).skipped) == 1
    assert len(library.sounds()) == 2
    removed = isinstance(error, AudioError)
    assert library.index(path.parent).removed == removed
    assert len(library.sounds()) == 2 - removed


def test_the_list_of_what_was_skipped_must_be_writable(tmp_path):
    with pytest.raises(LibraryError, match="cannot be written"):
        write_skipped(tmp_path / "none" / "s.csv", [])


def test_a_multi_channel_sound_of_many_windows_is_that_of_its_mean(library, tmp_path):
    wave = np.stack([hiss(2.2, seed=1), hiss(2.2, seed=2)], axis=1)
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "a.wav", wave, 32000)
    library.index(tmp_path / "sounds")
    stored = library.store.rows(["vector", "start"]).sort_by("start")["vector"].to_pylist()
    mono = wave.mean(axis=1)
    pieces = [mono[s : s + 32000] for s in (0, 16000, 32000, len(mono) - 32000)]
    model = library.model
    expected = model.whiten(model.embed_audio([(piece, 32000) for piece in pieces])).numpy()
    np.testing.assert_allclose(np.array(stored), expected, atol=1e-4)


def test_removing_the_library_folder_is_noticed(library, tmp_path):
    folder = good(tmp_path / "sounds").parent
    shutil.rmtree(tmp_path / "library")
    with pytest.raises(LibraryError, match="no library"):
        SoundLibrary.open(tmp_path / "library").index(folder)
