"""Labelled recordings as sources of scenes."""

import pytest

from otomatch.datasets.scenes.composition import compose
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.errors import DatasetError
from tests.support.scenes import truth
from tests.support.sounds import (
    silence,
    tone,
    write_audio,
    write_csv,
    write_labelled_folder,
)


def test_folds_share_no_recording(mini, tmp_path):
    used = []
    for fold in (1, 2):
        rows = truth(compose(mini, tmp_path / str(fold), clips=30, seconds=1.0, folds=[fold]))
        used.append({row[f"{w}_source"] for row in rows for w in ("first", "second")} - {""})
    assert used[0]
    assert used[1]
    assert not used[0] & used[1]
    assert all(name.startswith("1-") for name in used[0])


def test_a_fold_that_is_not_there_is_an_error_that_lists_the_folds(mini, tmp_path):
    with pytest.raises(DatasetError, match=r"no recording in folds .*9.*; the table has \[1, 2\]"):
        compose(mini, tmp_path / "out", folds=[9])
    assert not (tmp_path / "out").exists()


def test_the_esc50_layout_is_read_by_its_columns(tmp_path):
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = [("1-1-A-9.wav", 1, 0, "dog", "True", 1, "A"), ("2-2-A-9.wav", 2, 11, "sea_waves")]
    write_csv(tmp_path / "meta" / "esc50.csv", [header, *rows])
    for name, *_ in rows:
        write_audio(tmp_path / "audio" / name)
    sounds = find_recordings(tmp_path)
    assert [(s.label, s.fold) for s in sounds] == [("dog", 1), ("sea waves", 2)]
    assert [s.name for s in find_recordings(tmp_path, folds=(2,))] == ["2-2-A-9.wav"]


def test_a_users_own_labels_need_no_folds_and_get_plain_phrases(tmp_path):
    write_audio(tmp_path / "a.wav", tone(500, 0.5))
    write_audio(tmp_path / "audio" / "b.wav", tone(900, 0.5))
    rows = [("file_name", "label"), ("a.wav", "kettle_whistle"), ("b.wav", "door slam")]
    write_csv(tmp_path / "labels.csv", rows)
    data = compose(tmp_path, tmp_path / "out", exhaustive=True, seconds=1.0)
    assert len(data) == 2 + 2 * 2
    assert "kettle whistle" in " ".join(data.captions)


def test_broken_recordings_are_skipped_and_reported_and_stop_nothing(tmp_path):
    root = write_labelled_folder(tmp_path / "in", each=2)
    broken = sorted((root / "audio").iterdir())[:3]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(b"RIFF and then nothing of use")
    broken[2].unlink()
    write_audio(root / "audio" / "2-rain-0.wav", silence(1.0))
    data = compose(root, tmp_path / "out", clips=10, seconds=1.0)
    assert len(data) == 10
    names = {item.name for item in data.skipped}
    assert names == {*(path.name for path in broken), "2-rain-0.wav"}
    assert all(item.reason for item in data.skipped)


def test_a_source_of_broken_recordings_only_is_a_clear_error(tmp_path):
    root = write_labelled_folder(tmp_path / "in", {"rain": 500.0}, each=1)
    for path in (root / "audio").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of 2 sounds can be used; .*1-rain-0\.wav"):
        compose(root, tmp_path / "out", clips=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("name", "label"), ("a.wav", "x")], "line 1: no column file_name"),
        ([("file_name", "kind"), ("a.wav", "x")], "line 1: no column label"),
        ([("file_name", "label", "fold"), ("a.wav", "x", "one")], "line 2: fold is 'one'"),
        ([("file_name", "label"), ("a.wav", "")], "line 2: expected a file name and a label"),
    ],
)
def test_a_malformed_table_of_labels_names_the_line(tmp_path, rows, message):
    write_csv(tmp_path / "labels.csv", rows)
    with pytest.raises(DatasetError, match=message):
        find_recordings(tmp_path)


def test_a_folder_without_a_table_of_labels_says_which_it_looks_for(tmp_path):
    with pytest.raises(DatasetError, match=r"no table of labels; expected one of esc10\.csv"):
        compose(tmp_path, tmp_path / "out")
