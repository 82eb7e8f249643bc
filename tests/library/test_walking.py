"""Which files below a folder are sounds to index, and what is said of those that are not."""

import os
from pathlib import Path

import pytest

from otomatch.audio import AUDIO_SUFFIXES
from otomatch.errors import DatasetError, InvalidInputError, LibraryError
from otomatch.library import SoundFile, SoundLibrary, find_sounds
from otomatch.library.indexing.walking import list_sounds
from tests.support.library_sounds import deny, write_pitches
from tests.support.sounds import write_audio, write_csv


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_pitches(tmp_path / "sounds")


def names(folder: Path, pattern: str = "*") -> list[str]:
    return [str(s.path.relative_to(folder.resolve())) for s in find_sounds(folder, pattern)]


def reasons(folder: Path) -> dict[str, str]:
    return {Path(entry.name).name: entry.reason for entry in list_sounds(folder).skipped}


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_every_known_ending_is_found_in_either_case_at_any_depth(tmp_path):
    for suffix in AUDIO_SUFFIXES:
        touch(tmp_path / "a" / "b" / f"x{suffix}")
        touch(tmp_path / f"Y{suffix.upper()}")
    touch(tmp_path / "notes.txt")
    assert len(names(tmp_path)) == 2 * len(AUDIO_SUFFIXES)


def test_hidden_files_and_folders_are_left_out_without_a_word(tmp_path):
    for name in ("a.wav", "._a.wav", ".hidden.wav", ".git/b.wav", "x/.Trash/c.wav", ".DS_Store"):
        touch(tmp_path / name)
    assert names(tmp_path) == ["a.wav"]
    assert reasons(tmp_path) == {}


def test_a_folder_that_is_named_like_a_sound_is_looked_into(tmp_path):
    touch(tmp_path / "takes.wav" / "a.wav")
    assert names(tmp_path) == ["takes.wav/a.wav"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["deep/rain/1.wav", "deep/wind/1.wav", "rain/2.wav"]),
        ("rain/*", ["deep/rain/1.wav", "rain/2.wav", "rain/3.flac"]),
        ("[12].wav", ["deep/rain/1.wav", "deep/wind/1.wav", "rain/2.wav"]),
        ("3.*", ["rain/3.flac"]),
    ],
)
def test_a_pattern_matches_names_or_the_last_parts_of_paths(tmp_path, pattern, expected):
    for name in ("rain/2.wav", "rain/3.flac", "deep/rain/1.wav", "deep/wind/1.wav"):
        touch(tmp_path / name)
    assert names(tmp_path, pattern) == expected


@pytest.mark.parametrize("pattern", ["", ".", "/"])
def test_a_pattern_that_cannot_match_is_refused(tmp_path, pattern):
    touch(tmp_path / "a.wav")
    with pytest.raises(InvalidInputError, match="matches nothing"):
        find_sounds(tmp_path, pattern)


def test_links_within_the_folder_are_sounds_and_those_that_lead_out_are_named(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    touch(root / "a.wav"), touch(other / "b.wav")
    (root / "sub").mkdir()
    (root / "sub" / "inside.wav").symlink_to(root / "a.wav")
    (root / "outside.wav").symlink_to(other / "b.wav")
    (root / "broken.wav").symlink_to(root / "none.wav")
    (root / "folder").symlink_to(other)
    assert names(root) == ["a.wav", "sub/inside.wav"]
    found = reasons(root)
    assert found["outside.wav"] == f"a link that points out of the folder; index {other} itself"
    assert found["folder"] == f"a link to a folder elsewhere; index {other} itself"
    assert "a broken link" in found["broken.wav"]
    assert len(found) == 3


def test_loops_of_links_are_harmless(tmp_path):
    touch(tmp_path / "a" / "x.wav")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self.wav").symlink_to(tmp_path / "a" / "self.wav")
    assert names(tmp_path) == ["a/x.wav"]
    assert list(reasons(tmp_path)) == ["self.wav"]


def test_a_root_that_is_a_link_is_the_folder_it_leads_to(tmp_path):
    touch(tmp_path / "real" / "a.wav")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [s.path for s in find_sounds(tmp_path / "link")] == [tmp_path / "real" / "a.wav"]


def test_names_that_are_no_unicode_are_skipped_and_shown_readably(tmp_path):
    touch(tmp_path / "good.wav")
    bad = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(bad)).write_bytes(b"x")
    touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/folder\xff")) / "in.wav")
    assert names(tmp_path) == ["good.wav"]
    found = reasons(tmp_path)
    assert set(found) == {r"caf\xe9.wav", r"folder\xff"}
    assert all("not valid Unicode; rename" in reason for reason in found.values())
    with pytest.raises(LibraryError, match="not valid Unicode"):
        find_sounds(os.fsdecode(os.fsencode(tmp_path) + b"/folder\xff"))


def test_a_folder_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    touch(tmp_path / "open" / "a.wav"), touch(tmp_path / "shut" / "b.wav")
    deny(monkeypatch, tmp_path / "shut")
    found = list_sounds(tmp_path)
    assert [sound.path.name for sound in found.sounds] == ["a.wav"]
    assert found.unlisted == [tmp_path / "shut"]
    assert "Permission denied" in reasons(tmp_path)["shut"]


HEADER = ["file_name", "caption", "label"]


def test_tables_of_folders_below_are_read_and_the_nearest_one_counts(tmp_path):
    for name in ("a.wav", "drive/b.wav", "drive/deep/c.wav", "esc/audio/d.wav", "esc/e.wav"):
        write_audio(tmp_path / name)
    write_csv(tmp_path / "captions.csv", [HEADER, ["a.wav", "top a", ""], ["b.wav", "top b", "B"]])
    rows = [["b.wav", "near b", ""], ["c.wav", "middle c", ""]]
    write_csv(tmp_path / "drive" / "captions.csv", [HEADER, *rows])
    write_csv(tmp_path / "drive" / "deep" / "captions.csv", [HEADER, ["c.wav", "near c", "C"]])
    write_csv(tmp_path / "esc" / "meta" / "esc50.csv", [["filename", "category"], ["d.wav", "dog"]])
    found = {s.path.name: (s.caption, s.label) for s in find_sounds(tmp_path)}
    assert found == {
        "a.wav": ("top a", None),
        "b.wav": ("near b", "B"),
        "c.wav": ("near c", "C"),
        "d.wav": (None, "dog"),
        "e.wav": (None, None),
    }
    assert reasons(tmp_path) == {}


def test_a_malformed_table_below_is_listed_and_stops_nothing(tmp_path):
    write_audio(tmp_path / "a.wav"), write_audio(tmp_path / "sub" / "b.wav")
    write_csv(tmp_path / "sub" / "captions.csv", [["nothing", "known"], ["1", "2"]])
    assert names(tmp_path) == ["a.wav", "sub/b.wav"]
    assert reasons(tmp_path)["sub"].startswith("its table cannot be used: captions.csv, line 1")
    with pytest.raises(DatasetError, match=r"captions\.csv"):
        find_sounds(tmp_path / "sub")


def test_the_library_s_own_folder_is_never_looked_into(tmp_path, small_model):
    write_audio(tmp_path / "a.wav")
    library = SoundLibrary.create(tmp_path / "library", small_model)
    write_audio(tmp_path / "library" / "model" / "b.wav")
    assert library.index(tmp_path).added == 1


def test_pipes_and_other_things_named_like_sounds_do_not_stop_a_walk(tmp_path):
    touch(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert names(tmp_path) == ["a.wav"]
    assert reasons(tmp_path) == {"pipe.wav": "neither a file nor a folder"}


def test_a_table_of_labels_is_read_too(tmp_path):
    write_audio(tmp_path / "audio" / "1-a.wav")
    write_csv(tmp_path / "esc10.csv", [["file_name", "fold", "label"], ["1-a.wav", 1, "dog bark"]])
    assert find_sounds(tmp_path)[0].label == "dog bark"


def test_sounds_are_found_in_sub_folders_by_ending_and_pattern(sounds):
    (sounds / "notes.txt").write_text("no sound")
    assert [f.path.name for f in find_sounds(sounds)] == [
        "0.wav", "1.wav", "2.wav", "3.wav", "hiss.flac",
    ]  # fmt: skip
    assert [f.path.name for f in find_sounds(sounds, "[12].*")] == ["1.wav", "2.wav"]
    assert find_sounds(sounds)[0] == SoundFile((sounds / "0.wav").resolve(), root=sounds.resolve())


def test_a_folder_without_sounds_is_a_clear_error(tmp_path):
    with pytest.raises(LibraryError, match="no sound file"):
        find_sounds(tmp_path)
    with pytest.raises(LibraryError, match="no such folder"):
        find_sounds(tmp_path / "none")


def test_files_of_one_name_in_two_folders_keep_their_own_labels(tmp_path):
    for folder in ("a", "b"):
        write_audio(tmp_path / folder / "1.wav")
    header = ["file_name", "caption", "label"]
    rows = [["a/1.wav", "a dog barks", "dog"], ["b/1.wav", "a cat mews", "cat"]]
    write_csv(tmp_path / "captions.csv", [header, *rows])
    assert [file.label for file in find_sounds(tmp_path)] == ["dog", "cat"]
