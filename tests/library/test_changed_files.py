"""Files that a later run finds changed, moved, copied or described differently."""

import os
import shutil
from pathlib import Path

import pytest

from otomatch.library import SoundLibrary
from otomatch.models.audio_text_model import AudioTextModel
from tests.support.library_sounds import counts, paths, vectors, write_growing_tones
from tests.support.sounds import hiss, write_audio, write_csv


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_growing_tones(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model)
    assert counts(made.index(sounds)) == (3, 0, 0, 0, 0)
    return made


def test_nothing_is_done_twice(library, sounds, deaf):
    deaf()
    version = library.store.version
    assert counts(library.index(sounds)) == (0, 0, 0, 0, 3)
    assert library.store.version == version


def test_a_changed_file_is_embedded_again_and_loses_its_old_windows(library, sounds):
    before = vectors(library)
    write_audio(sounds / "2.wav", hiss(0.4))
    assert counts(library.index(sounds)) == (0, 1, 0, 0, 2)
    after = vectors(library)
    assert [len(before["2.wav"]), len(after["2.wav"])] == [4, 1]
    assert after["1.wav"] == before["1.wav"]


def test_a_touched_file_is_not_embedded_again(library, sounds, deaf):
    os.utime(sounds / "1.wav", ns=(1, 1))
    deaf()
    assert counts(library.index(sounds)) == (0, 0, 0, 0, 3)
    version = library.store.version
    assert counts(library.index(sounds)) == (0, 0, 0, 0, 3)
    assert library.store.version == version  # the new time was remembered


def test_a_moved_file_keeps_its_vectors_under_its_new_name(library, sounds, deaf):
    before = vectors(library)
    (sounds / "deep").mkdir()
    (sounds / "2.wav").rename(sounds / "deep" / "LoudWhistle_07.wav")
    deaf()
    assert counts(library.index(sounds)) == (0, 0, 1, 0, 2)
    after = vectors(library)
    assert after["LoudWhistle_07.wav"] == before["2.wav"]
    assert "2.wav" not in after
    moved = next(s for s in library.sounds() if s.path.endswith("LoudWhistle_07.wav"))
    rows = library.store.rows(["words", "root", "start"], f"file_id = '{moved.id}'").to_pylist()
    assert sorted(row["start"] for row in rows) == [0, 0.5, 1, 1.5]
    assert [r["words"] for r in rows if r["words"]] == ["sounds deep Loud Whistle 07"]
    assert counts(library.index(sounds)) == (0, 0, 0, 0, 3)


def test_sounds_moved_between_folders_that_are_both_given_are_moves(library, sounds, deaf):
    other = sounds.parent / "other"
    other.mkdir()
    (sounds / "1.wav").rename(other / "1.wav")
    deaf()
    assert counts(library.index([sounds, other])) == (0, 0, 1, 0, 2)
    assert {s.root for s in library.sounds()} == {str(sounds), str(other)}


def test_a_copy_takes_the_vectors_of_its_original(library, sounds, deaf):
    shutil.copy(sounds / "2.wav", sounds / "copy.wav")
    deaf()
    assert counts(library.index(sounds)) == (1, 0, 0, 0, 3)
    assert vectors(library)["copy.wav"] == vectors(library)["2.wav"]


def test_copies_that_arrive_together_are_embedded_once(library, sounds, monkeypatch):
    write_audio(sounds / "a.wav", hiss(0.7))
    for name in ("b.wav", "c.wav", "d.wav"):
        shutil.copy(sounds / "a.wav", sounds / name)
    heard = []
    real = AudioTextModel.embed_features

    def listen(model, clips):
        heard.extend(clips)
        return real(model, clips)

    monkeypatch.setattr(AudioTextModel, "embed_features", listen)
    assert counts(library.index(sounds)) == (4, 0, 0, 0, 3)
    assert len(heard) == 1
    found = vectors(library)
    assert found["a.wav"] == found["b.wav"] == found["c.wav"] == found["d.wav"]


def test_files_that_exchange_their_names_keep_their_own_vectors(library, sounds, deaf):
    before = vectors(library)
    (sounds / "1.wav").rename(sounds / "x")
    (sounds / "2.wav").rename(sounds / "1.wav")
    (sounds / "x").rename(sounds / "2.wav")
    os.utime(sounds / "1.wav", ns=(1, 1)), os.utime(sounds / "2.wav", ns=(2, 2))
    deaf()
    assert counts(library.index(sounds)) == (0, 2, 0, 0, 1)
    after = vectors(library)
    assert (after["1.wav"], after["2.wav"]) == (before["2.wav"], before["1.wav"])


def test_a_chain_of_renames_needs_no_listening(library, sounds, deaf):
    before = vectors(library)
    for old, new in (("2.wav", "3.wav"), ("1.wav", "2.wav"), ("0.wav", "1.wav")):
        (sounds / old).rename(sounds / new)
        os.utime(sounds / new, ns=(3, 3))
    deaf()
    report = library.index(sounds)
    assert report.skipped == ()
    after = vectors(library)
    assert sorted(after) == ["1.wav", "2.wav", "3.wav"]
    assert [after[f"{i + 1}.wav"] for i in range(3)] == [before[f"{i}.wav"] for i in range(3)]


def test_a_moved_file_whose_copy_stays_beside_it_is_one_move_and_one_addition(
    library, sounds, deaf
):
    shutil.copy(sounds / "0.wav", sounds / "a.wav")
    (sounds / "0.wav").rename(sounds / "b.wav")
    deaf()
    assert counts(library.index(sounds)) == (1, 0, 1, 0, 2)
    assert paths(library) == ["1.wav", "2.wav", "a.wav", "b.wav"]


def test_a_changed_table_changes_the_rows_without_listening(library, sounds, deaf):
    deaf()
    header = ["file_name", "caption", "label"]
    rows = [["0.wav", "a deep hum", "hum"], ["1.wav", "a tone", "tone"]]
    write_csv(sounds / "captions.csv", [header, *rows])
    assert counts(library.index(sounds)) == (0, 2, 0, 0, 1)
    sound = library.sounds()[0]
    assert (sound.label, sound.caption) == ("hum", "a deep hum")
    words = library.store.rows(["words"], f"file_id = '{sound.id}' AND start = 0")
    assert words["words"].to_pylist() == ["sounds 0 hum a deep hum"]
    (sounds / "captions.csv").unlink()
    assert counts(library.index(sounds)) == (0, 2, 0, 0, 1)
    assert library.sounds()[0].label is None


def test_adding_a_file_by_its_name_keeps_what_is_known_of_it(library, sounds, deaf):
    header = ["file_name", "caption", "label"]
    write_csv(sounds / "captions.csv", [header, ["0.wav", "a deep hum", "hum"]])
    library.index(sounds)
    deaf()
    report = library.add([sounds / "0.wav"])
    assert (report.added, report.unchanged) == (0, 1)
    assert library.sounds()[0].label == "hum"


def test_nested_folders_agree_on_the_outermost_root(library, sounds, tmp_path, deaf):
    deaf()
    assert counts(library.index(tmp_path)) == (0, 3, 0, 0, 0)
    assert {sound.root for sound in library.sounds()} == {str(tmp_path)}
    for folders in (sounds, tmp_path, [sounds, tmp_path], [tmp_path, sounds]):
        assert counts(library.index(folders)) == (0, 0, 0, 0, 3)
    assert {sound.root for sound in library.sounds()} == {str(tmp_path)}


def test_the_same_as_a_library_that_was_made_afresh(library, sounds, small_model, tmp_path):
    """Whatever happened to the files, the outcome is that of indexing them once."""
    shutil.copy(sounds / "0.wav", sounds / "copy.wav")
    (sounds / "1.wav").rename(sounds / "moved.wav")
    write_audio(sounds / "2.wav", hiss(1.7))
    library.index(sounds)
    fresh = SoundLibrary.create(tmp_path / "fresh", small_model)
    fresh.index(sounds)

    def rows(made: SoundLibrary) -> list[tuple]:
        table = made.store.rows().sort_by("id")
        exact = [
            name for name in table.schema.names if name not in ("vector", "ref_mean", "ref_std")
        ]
        return table.select(exact).to_pylist()

    assert rows(library) == rows(fresh)
    mine, theirs = (
        made.store.rows().sort_by("id")["vector"].to_pylist() for made in (library, fresh)
    )
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
