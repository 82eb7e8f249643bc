"""References to data sets: names, folders, and NAME:FOLDER."""

from pathlib import Path

import pytest

from otomatch.datasets import DATASETS, absolute_reference, open_dataset
from otomatch.errors import DatasetError
from tests.support.layouts import (
    SHARED,
    write_audiocaps,
    write_clotho,
    write_esc50,
)
from tests.support.sounds import write_audio, write_csv


@pytest.mark.parametrize("spelling", ["esc-50", "ESC-50", "esc50", "ESC50"])
def test_a_name_counts_however_it_is_spelt_as_root_or_before_a_colon(tmp_path, spelling):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.1)
    by_root = open_dataset(spelling, root=root)
    assert open_dataset(f"{spelling}:{root}").clips == by_root.clips
    assert by_root.name == "esc-50"
    with pytest.raises(DatasetError, match=r"is the name of a data set; write .*:FOLDER"):
        open_dataset(spelling)


def test_a_name_before_a_colon_gives_the_same_data_set_and_split(tmp_path):
    root = write_clotho(tmp_path, clips=(2, 1, 2), seconds=0.1)
    named = open_dataset(f"clotho:{root}", split="test")
    assert named.clips == open_dataset("clotho", root, "test").clips
    with pytest.raises(
        DatasetError, match="no such folder; expected the folder of the data set clotho"
    ):
        open_dataset(f"clotho:{root / 'absent'}")


def test_a_folder_whose_own_name_holds_a_colon_is_that_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "clotho:mine" / "a.wav")
    write_csv(tmp_path / "clotho:mine/captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert open_dataset("clotho:mine").captions == ["x"]


def test_references_are_made_absolute_with_their_name_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_reference("clotho:data") == f"clotho:{tmp_path / 'data'}"
    assert absolute_reference("AudioCaps:data") == f"audiocaps:{tmp_path / 'data'}"
    assert absolute_reference("data") == str(tmp_path / "data")
    assert absolute_reference("~") == str(Path.home().resolve())


def test_a_folder_opens_without_a_name_where_only_one_data_set_has_its_tables(tmp_path):
    clotho = write_clotho(tmp_path / "c", clips=(2, 1, 1), seconds=0.1)
    caps = write_audiocaps(tmp_path / "a", "aac", (2, 1, 1), 0.1)
    assert open_dataset(clotho).name == "clotho"
    assert open_dataset(caps).name == "audiocaps"
    ambiguous = write_clotho(tmp_path / "m", "mei", (2, 1, 1), 0.1)
    with pytest.raises(DatasetError) as caught:
        open_dataset(ambiguous)
    assert f"audiocaps:{ambiguous} or clotho:{ambiguous}" in str(caught.value)
    write_csv(clotho / "captions.csv", [("file_name", "caption"), (f"development/{SHARED}", "x")])
    assert open_dataset(clotho).captions == ["x"]


def test_every_name_is_listed_where_one_is_unknown(tmp_path):
    with pytest.raises(DatasetError) as caught:
        open_dataset("fsd", root=tmp_path)
    assert all(name in str(caught.value) for name in DATASETS)
