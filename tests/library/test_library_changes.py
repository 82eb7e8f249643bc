"""What a second run notices: changed, moved, copied, deleted, described files; missing drives."""

import os
import shutil
from dataclasses import astuple
from pathlib import Path

import pytest

from otomatch.errors import LibraryError
from otomatch.library import SoundLibrary
from otomatch.models.audio_text_model import AudioTextModel
from tests.library.test_library_walk import deny
from tests.support.sounds import hiss, tone, write_audio, write_csv


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for i, hertz in enumerate((200.0, 800.0, 3000.0)):
        write_audio(tmp_path / "sounds" / f"{i}.wav", tone(hertz, 0.5 + i))
    return tmp_path / "sounds"


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model)
    assert counts(made.index(sounds)) == (3, 0, 0, 0, 0)
    return made


@pytest.fixture
def deaf(monkeypatch):
    """Anything that embeds fails."""

    def fail(*_):
        raise AssertionError("a sound was embedded")

    return lambda: monkeypatch.setattr(AudioTextModel, "embed_features", fail)


def counts(report) -> tuple[int, ...]:
    """Added, changed, moved, removed, unchanged; nothing may have been skipped."""
    assert report.skipped == ()
    return astuple(report)[:5]


def vectors(library: SoundLibrary) -> dict[str, list]:
    """Vectors and everything else that listening gave, by the file's name."""
    rows = library.store.rows().to_pylist()
    keys = ("start", "end", "duration", "digest", "vector", "ref_mean", "ref_std")
    found: dict[str, list] = {}
    for row in sorted(rows, key=lambda row: row["start"]):
        found.setdefault(Path(row["path"]).name, []).append([row[key] for key in keys])
    return found


def paths(library: SoundLibrary) -> list[str]:
    return [Path(sound.path).name for sound in library.sounds()]


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


def test_a_renamed_root_needs_no_listening_and_its_old_name_is_removed_on_demand(
    library, sounds, deaf
):
    sounds.rename(sounds.parent / "renamed")
    deaf()
    # Nothing tells a root that was renamed from one on a drive that is not mounted.
    assert counts(library.index(sounds.parent / "renamed")) == (3, 0, 0, 0, 0)
    assert len(library.sounds()) == 6
    with pytest.raises(LibraryError, match=r"has 3 from there.*remove the folder"):
        library.index(sounds)
    assert library.remove(sounds) == 3
    assert {sound.root for sound in library.sounds()} == {str(sounds.parent / "renamed")}


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


def test_deleted_files_go_unless_they_are_kept(library, sounds):
    (sounds / "0.wav").unlink()
    assert counts(library.index(sounds, keep_deleted=True)) == (0, 0, 0, 0, 2)
    assert len(paths(library)) == 3
    assert counts(library.index(sounds)) == (0, 0, 0, 1, 2)
    assert paths(library) == ["1.wav", "2.wav"]


def test_only_what_is_below_the_folders_and_matches_is_removed(library, sounds, tmp_path):
    other = write_audio(tmp_path / "other" / "z.wav", hiss(0.3))
    library.add([other])
    other.unlink()
    (sounds / "0.wav").unlink(), (sounds / "1.wav").unlink()
    assert library.index(sounds, "[12].wav").removed == 1
    assert paths(library) == ["z.wav", "0.wav", "2.wav"]


def test_a_folder_whose_name_begins_alike_is_another_folder(library, sounds, tmp_path):
    twin = write_audio(tmp_path / "sounds2" / "t.wav", hiss(0.3))
    library.add([twin])
    twin.unlink()
    assert library.index(sounds).removed == 0
    assert library.remove(sounds) == 3
    assert paths(library) == ["t.wav"]


def test_added_files_are_never_removed_by_adding_others(library, sounds):
    (sounds / "0.wav").unlink()
    library.add([sounds / "1.wav"])
    assert len(paths(library)) == 3


@pytest.mark.parametrize("state", ["empty", "vanished", "file", "hollow"])
def test_an_unmounted_drive_deletes_nothing(library, sounds, state):
    shutil.rmtree(sounds)
    if state == "file":
        sounds.write_text("no folder")
    elif state != "vanished":
        (sounds / ("deep" if state == "hollow" else "")).mkdir(parents=True)
        (sounds / "notes.txt").write_text("no sound")
    with pytest.raises(LibraryError, match=r"mount it first.*remove the folder from the library"):
        library.index(sounds)
    assert len(paths(library)) == 3
    with pytest.raises(LibraryError):
        library.index([sounds.parent, sounds])
    assert len(paths(library)) == 3


def test_an_unmounted_drive_below_the_folder_deletes_nothing(library, sounds, small_model, deaf):
    for i in range(2):
        write_audio(sounds / "drive" / "deep" / f"d{i}.wav", tone(400.0 + i, 0.3))
    library.index(sounds)
    (sounds / "drive").rename(sounds.parent / "elsewhere")
    (sounds / "drive").mkdir()
    (sounds / "never").mkdir()
    deaf()
    report = library.index(sounds)
    assert (report.removed, report.unchanged, len(library.sounds())) == (0, 3, 5)
    (entry,) = report.skipped
    assert entry.name == str(sounds / "drive")
    assert "the library has 2 from there" in entry.reason
    assert "remove the folder from the library" in entry.reason
    (sounds / "drive").rmdir()
    (sounds.parent / "elsewhere").rename(sounds / "drive")
    assert counts(library.index(sounds)) == (0, 0, 0, 0, 5)


def test_sounds_that_moved_out_of_a_folder_and_left_it_empty_are_moves(library, sounds, deaf):
    (sounds / "old").mkdir()
    (sounds / "0.wav").rename(sounds / "old" / "0.wav")
    library.index(sounds)
    (sounds / "old" / "0.wav").rename(sounds / "0.wav")
    deaf()
    assert counts(library.index(sounds)) == (0, 0, 1, 0, 2)


@pytest.mark.parametrize("left", ["nothing", "a note"])
def test_folders_that_are_deleted_or_still_hold_something_lose_their_files(library, sounds, left):
    write_audio(sounds / "sub" / "s.wav", tone(400.0, 0.3))
    library.index(sounds)
    shutil.rmtree(sounds / "sub")
    if left == "a note":
        (sounds / "sub").mkdir()
        (sounds / "sub" / ".note").write_text("")
    assert counts(library.index(sounds)) == (0, 0, 0, 1, 3)


def test_a_folder_that_cannot_be_read_keeps_its_rows(library, sounds, monkeypatch):
    write_audio(sounds / "shut" / "in.wav", hiss(0.3))
    library.index(sounds)
    deny(monkeypatch, sounds / "shut")
    report = library.index(sounds)
    assert (report.removed, report.unchanged, len(report.skipped)) == (0, 3, 1)
    assert "in.wav" in paths(library)


def test_a_pattern_that_matches_nothing_is_an_error_and_removes_nothing(library, sounds):
    with pytest.raises(LibraryError, match="no sound file that matches"):
        library.index(sounds, "*.mp3")
    assert len(paths(library)) == 3


def test_a_sound_that_became_unreadable_leaves_the_library(library, sounds):
    (sounds / "1.wav").write_text("no sound any more")
    report = library.index(sounds)
    assert (report.removed, report.unchanged, len(report.skipped)) == (1, 2, 1)
    assert paths(library) == ["0.wav", "2.wav"]


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
