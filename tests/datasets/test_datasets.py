"""Data sets: clips, splits, folds and fingerprints of a folder."""

import os
from dataclasses import replace

import pytest

from otomatch.datasets import DATASETS, CaptionDataset, open_dataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError, InvalidInputError
from tests.support.sounds import write_audio, write_caption_folder, write_csv

TWO = {"a.wav": ["a dog barks", "dogs bark"], "sub/b.wav": ["rain falls"]}


def test_rows_of_one_file_make_one_clip_with_its_captions_in_order(tmp_path):
    data = open_dataset(write_caption_folder(tmp_path, TWO))
    assert [clip.id for clip in data.clips] == ["a.wav", "sub/b.wav"]
    assert data.captions == ["a dog barks", "dogs bark", "rain falls"]
    assert data.caption_clip == [0, 0, 1]
    assert len(data) == 2
    assert data.name == tmp_path.name
    assert data.skipped == ()


def test_select_keeps_one_split_and_an_unknown_split_lists_those_there_are(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    rows = [("file_name", "caption", "split"), ("a.wav", "x", "train"), ("b.wav", "y", "test")]
    write_csv(tmp_path / "captions.csv", rows)
    assert open_dataset(tmp_path, split="test").captions == ["y"]
    with pytest.raises(DatasetError, match=r"no split 'val'; it has test, train"):
        open_dataset(tmp_path).select("val")


def test_folds_are_kept_together_and_an_unknown_fold_lists_those_there_are(tmp_path):
    rows = [("file_name", "caption", "fold")]
    for i in range(6):
        write_audio(tmp_path / f"{i}.wav")
        rows.append((f"{i}.wav", f"caption {i}", ("", 1, 2, 3, 1, 2)[i]))
    write_csv(tmp_path / "captions.csv", rows)
    dataset = open_dataset(tmp_path)
    chosen = dataset.in_folds([3, 1])
    assert chosen.captions == ["caption 1", "caption 3", "caption 4"]
    assert chosen.name == f"{tmp_path.name} (folds 1, 3)"
    with pytest.raises(DatasetError, match=r"no clip in folds 4, 5; it has 1, 2, 3"):
        dataset.in_folds([5, 4])
    with pytest.raises(DatasetError, match="it names no folds"):
        replace(dataset, clips=dataset.clips[:1]).in_folds([1])


def test_no_usable_row_at_all_is_an_error_that_says_why(tmp_path):
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("gone.wav", "x")])
    with pytest.raises(DatasetError, match=r"none of its 1 clips .*gone\.wav: line 2: no such"):
        open_dataset(tmp_path)
    write_csv(tmp_path / "captions.csv", [("file_name", "caption")])
    with pytest.raises(DatasetError, match="none of its 0 clips"):
        open_dataset(tmp_path)


def test_a_clip_whose_captions_are_all_blank_is_kept_only_for_its_label(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    write_audio(tmp_path / "c.wav")
    rows = [("file_name", "caption", "label"), ("a.wav", " ", ""), ("b.wav", "", "dog")]
    write_csv(tmp_path / "captions.csv", [*rows, ("c.wav", "x", "")])
    data = open_dataset(tmp_path)
    assert [(clip.id, clip.captions) for clip in data.clips] == [("b.wav", ()), ("c.wav", ("x",))]
    assert data.skipped == (Skipped("a.wav", "line 2: no caption"),)


def test_unknown_names_list_those_that_exist(tmp_path):
    with pytest.raises(DatasetError, match=r"no folder .*names: .*folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"unknown data set 'fsd'; expected one of .*folder"):
        open_dataset("fsd", root=tmp_path)
    with pytest.raises(DatasetError, match="is the name of a data set; write folder:FOLDER"):
        open_dataset("folder")
    with pytest.raises(DatasetError, match=r"no captions\.csv"):
        open_dataset(tmp_path)


def test_a_folder_opens_by_path_by_its_table_and_by_layout_name(tmp_path):
    write_caption_folder(tmp_path, TWO)
    assert "folder" in DATASETS
    opened = [
        open_dataset(tmp_path),
        open_dataset(str(tmp_path)),
        open_dataset(tmp_path / "captions.csv"),
        open_dataset("folder", root=tmp_path),
    ]
    assert all(data.clips == opened[0].clips for data in opened)


def test_the_fingerprint_changes_with_captions_spans_and_audio_but_not_with_place(tmp_path):
    root = write_caption_folder(tmp_path / "one", TWO)
    before = open_dataset(root).fingerprint
    assert open_dataset(root).fingerprint == before
    moved = root.rename(tmp_path / "two")
    assert open_dataset(moved).fingerprint == before
    os.utime(moved / "a.wav", (1, 1))
    touched = open_dataset(moved).fingerprint
    write_csv(moved / "captions.csv", [("file_name", "caption"), ("a.wav", "a dog barks")])
    fewer = open_dataset(moved).fingerprint
    rows = [("file_name", "caption", "end"), ("a.wav", "a dog barks", "0.05")]
    write_csv(moved / "captions.csv", rows)
    cut = open_dataset(moved).fingerprint
    assert len({before, touched, fewer, cut}) == 4


def test_a_data_set_needs_clips_and_distinct_ids(tmp_path):
    clip = Clip(tmp_path / "a.wav", ("x",), "a.wav")
    with pytest.raises(DatasetError, match="at least one clip"):
        CaptionDataset("empty", tmp_path, ())
    with pytest.raises(DatasetError, match="same id"):
        CaptionDataset("twice", tmp_path, (clip, clip))


def test_a_clip_knows_no_span_that_is_none(tmp_path):
    with pytest.raises(InvalidInputError, match="0 <= start < end"):
        Clip(tmp_path / "a.wav", ("a",), "a", start=2.0, end=1.0)
