"""Files and folders that a later run misses: deleted, unmounted, emptied or unreadable."""

import shutil
from pathlib import Path

import pytest

from otomatch.errors import LibraryError, LostFolderError
from otomatch.library import SoundLibrary
from tests.support.library_sounds import counts, deny, paths, write_growing_tones
from tests.support.sounds import hiss, tone, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_growing_tones(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model)
    assert counts(made.index(sounds)) == (3, 0, 0, 0, 0)
    return made


def test_a_renamed_root_needs_no_listening_and_its_old_name_is_removed_on_demand(
    library, sounds, deaf
):
    sounds.rename(sounds.parent / "renamed")
    deaf()
    # Nothing tells a root that was renamed from one on a drive that is not mounted.
    assert counts(library.index(sounds.parent / "renamed")) == (3, 0, 0, 0, 0)
    assert len(library.sounds()) == 6
    with pytest.raises(LostFolderError, match=r"has 3 from there.*remove the folder"):
        library.index(sounds)
    assert library.remove(sounds) == 3
    assert {sound.root for sound in library.sounds()} == {str(sounds.parent / "renamed")}


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
    with pytest.raises(
        LostFolderError, match=r"mount it first.*remove the folder from the library"
    ):
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
