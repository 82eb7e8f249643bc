"""Training data and test sets of studies."""

import csv
from pathlib import Path

import pytest
from rich.console import Console

from otomatch.errors import DatasetError
from otomatch.studies import data as study_data
from otomatch.studies.data import prepare_study_data
from tests.support.sounds import TONES, needs_midi, write_csv, write_labelled_folder
from tests.support.tiny import write_tones

QUIET = Console(quiet=True)


def prepare(references, folder, **changes):
    options = {"scenes": 8, "draws": 2, "zeroshot": None, "console": QUIET, **changes}
    return prepare_study_data(references, folder, **options)


def test_scenes_are_composed_from_recordings_of_which_the_last_fold_is_held_out(tmp_path):
    source = write_labelled_folder(tmp_path / "mini")
    data = prepare([f"scenes:{source}"], tmp_path / "data")
    assert list(data.training) == ["mini"]
    assert [test.name for test in data.tests] == ["mini-0", "mini-1"]
    used = {"train": set(), "test": set()}
    for half, path in (("train", data.path("")), *(("test", t.path) for t in data.tests)):
        for row in truth(path):
            used[half] |= {row["first_source"], row["second_source"]} - {""}
    assert used["train"]
    assert used["test"]
    assert not used["train"] & used["test"]
    first, second = (truth(test.path) for test in data.tests)
    assert first != second  # another draw
    for test in data.tests:
        assert {clip.fold for clip in test.zeroshot.clips} == {2}
        assert set(test.zeroshot.labels) == set(TONES)
    again = prepare([f"scenes:{source}"], tmp_path / "data")
    assert [t.fingerprint for t in again.tests] == [t.fingerprint for t in data.tests]


def truth(path):
    with (Path(path) / "scenes.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@needs_midi
def test_rendered_scenes_are_classified_by_those_of_a_single_sound(tmp_path):
    data = prepare(["scenes:midi"], tmp_path / "data", draws=1)
    (test,) = data.tests
    kinds = {row["file_name"]: row["kind"] for row in truth(test.path)}
    assert {kinds[clip.id] for clip in test.zeroshot.clips} == {"single"}
    assert not any(" over " in label for label in test.zeroshot.labels)


def test_own_data_are_tested_on_their_split_and_classified_by_their_labels(tones, tmp_path):
    data = prepare([str(tones)], tmp_path)
    (test,) = data.tests
    assert (test.name, len(test.clips), test.zeroshot) == (f"{tones.name}-test", 10, None)
    labelled = write_labelled_folder(tmp_path / "mini")
    data = prepare([str(tones)], tmp_path, zeroshot=f"esc-50:{labelled}")
    assert set(data.tests[0].zeroshot.labels) == set(TONES)


def test_held_out_recordings_stay_held_out_when_their_folder_is_to_be_classified(tmp_path):
    source = write_labelled_folder(tmp_path / "mini")
    for reference in (f"esc-50:{source}", str(source)):
        data = prepare([f"scenes:{source}"], tmp_path / "data", zeroshot=reference)
        assert {clip.fold for test in data.tests for clip in test.zeroshot.clips} == {2}


def test_clips_without_a_label_are_not_classified_and_a_single_class_is_refused(tones, tmp_path):
    some = write_tones(tmp_path / "some", clips=12)
    rows = [
        (f"{i:03d}.wav", "a tone", ("train", "test")[i % 2], ("", "x", "y")[i % 3])
        for i in range(12)
    ]
    write_csv(some / "captions.csv", [("file_name", "caption", "split", "label"), *rows])
    (test,) = prepare([str(some)], tmp_path).tests
    assert {clip.label for clip in test.zeroshot.clips} == {"x", "y"}
    with pytest.raises(DatasetError, match="has 0 classes to choose from"):
        prepare([str(tones)], tmp_path, zeroshot=str(tones))


def test_many_classes_make_no_more_test_scenes_than_can_be_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(study_data, "_TEST_SCENES", 5)  # 3 classes make 15 scenes
    source = write_labelled_folder(tmp_path / "mini")
    data = prepare([f"scenes:{source}"], tmp_path / "data")
    assert [len(test.clips) for test in data.tests] == [5, 5]


def test_data_without_anything_to_test_on_are_refused(tmp_path):
    root = write_tones(tmp_path / "tones", clips=8)
    with pytest.raises(DatasetError, match=r"has no split 'test' to measure on"):
        prepare([str(root)], tmp_path)
    source = write_labelled_folder(tmp_path / "mini")
    table = source / "esc10.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    write_csv(table, [rows[0], *([row[0], "1", row[2]] for row in rows[1:])])
    with pytest.raises(DatasetError, match="has 1 folds in its table of labels"):
        prepare([f"scenes:{source}"], tmp_path / "data")


def test_two_data_sets_of_one_name_are_refused(tones, tmp_path):
    with pytest.raises(DatasetError, match=r"is the second data set called.*rename its folder"):
        prepare([str(tones), str(tones)], tmp_path)
