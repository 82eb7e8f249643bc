"""ESC-50: labels and folds, without captions."""

import pytest

from otomatch.datasets import open_dataset
from otomatch.errors import DatasetError
from tests.support.layouts import (
    write_esc50,
)


def test_esc50_has_labels_and_folds_but_neither_captions_nor_splits(tmp_path):
    data = open_dataset("esc-50", root=write_esc50(tmp_path, each=2, seconds=0.1))
    assert len(data) == 5 * 4 * 2
    assert data.labels == ("clock tick", "dog", "rooster", "sea waves")
    assert data.captions == []
    assert data.splits == ()
    assert sorted({clip.fold for clip in data.clips}) == [1, 2, 3, 4, 5]
    assert all(clip.path.is_file() for clip in data.clips)


def test_esc50_opens_from_the_folder_that_its_archive_makes_and_without_being_named(tmp_path):
    write_esc50(tmp_path / "ESC-50-master", folds=(1,), seconds=0.1)
    named = open_dataset("esc-50", root=tmp_path)
    assert len(named) == 4
    assert open_dataset(tmp_path).clips == named.clips


def test_esc50_lists_missing_and_broken_clips(tmp_path):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.1)
    (root / "audio/1-100-A-0.wav").unlink()
    (root / "audio/1-101-A-1.wav").write_bytes(b"")
    data = open_dataset("esc-50", root=root)
    assert [clip.label for clip in data.clips] == ["sea waves", "rooster"]
    assert [entry.missing for entry in data.skipped] == [True, False]


def test_a_class_with_two_numbers_is_an_error_that_names_the_line(tmp_path):
    table = write_esc50(tmp_path, classes=("dog",), folds=(1, 2), seconds=0.1) / "meta/esc50.csv"
    table.write_text(table.read_text().replace("A-0.wav,2,0,", "A-0.wav,2,7,"))
    with pytest.raises(DatasetError, match=r"line 3: the class dog has the target 7, but 0"):
        open_dataset("esc-50", root=tmp_path)
