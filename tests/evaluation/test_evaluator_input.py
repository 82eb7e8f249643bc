"""Clips that cannot be read, arguments and reports of an evaluation."""

import json
from dataclasses import replace

import pytest

from otomatch.datasets import open_dataset
from otomatch.errors import DatasetError, InvalidInputError
from otomatch.evaluation.evaluator import Evaluation, evaluate
from tests.support.angle_model import Oracle, dataset_of
from tests.support.tiny import tiny_model, write_tones


@pytest.mark.parametrize("broken", [[0], [5], [2, 3], [0, 1, 2, 4, 5]])
def test_clips_that_vanish_or_break_are_listed_and_the_others_keep_their_captions(
    broken, tiny_bert, uneven
):
    model = tiny_model(tiny_bert)
    rest = tuple(clip for i, clip in enumerate(uneven.clips) if i not in broken)
    expected = evaluate(model, replace(uneven, clips=rest))
    for i in broken:
        if i % 2:
            uneven.clips[i].path.unlink()
        else:
            uneven.clips[i].path.write_bytes(b"no sound")
    found = evaluate(model, uneven)
    assert [entry.name for entry in found.skipped] == [uneven.clips[i].id for i in broken]
    assert all(entry.reason for entry in found.skipped)
    assert found.clips == 6 - len(broken)
    assert replace(found, skipped=()) == expected


def test_rows_that_the_data_set_could_not_use_are_listed_before_the_clips(tmp_path, tiny_bert):
    root = write_tones(tmp_path / "tones", 6, 0.2)
    (root / "001.wav").unlink()
    dataset = open_dataset(root)
    (root / "004.wav").unlink()
    report = evaluate(tiny_model(tiny_bert), dataset)
    assert ["001.wav" in report.skipped[0].name, report.skipped[1].name] == [True, "004.wav"]
    assert (report.clips, report.captions, len(report.skipped)) == (4, 8, 2)


def test_a_clip_without_captions_distracts_text_queries(tmp_path):
    dataset = dataset_of(tmp_path, [["rain"], [], ["hum"]])
    model = Oracle([0.0, 10.0, 180.0], {"rain": 9.0, "hum": 170.0})
    report = evaluate(model, dataset)
    assert (report.clips, report.captions, report.audio_to_text.queries) == (3, 2, 2)
    assert report.text_to_audio.recall[1] == 50.0


def test_without_a_usable_clip_there_is_a_clear_error(tmp_path):
    model = Oracle([0.0, 10.0], {})
    silent = dataset_of(tmp_path, [[], []])
    with pytest.raises(DatasetError, match=r"of 2 clips, 2 could be read and none .* a caption$"):
        evaluate(model, silent)
    gone = dataset_of(tmp_path, [["a"], ["b"]])
    for clip in gone.clips:
        clip.path.unlink()
    with pytest.raises(DatasetError, match=r"of 2 clips, 0 could be read.*first: .*0\.wav"):
        evaluate(model, gone)


def test_a_folder_its_name_and_an_open_data_set_give_the_same(tmp_path, tiny_bert):
    root, model = write_tones(tmp_path, 4, 0.2), tiny_model(tiny_bert)
    expected = evaluate(model, open_dataset(root))
    assert evaluate(model, root) == expected
    assert evaluate(model, str(root)) == expected


def test_the_ks_asked_for_are_the_ones_reported_in_both_rankings(tmp_path, tiny_bert):
    root = write_tones(tmp_path, 4, 0.2)
    report = evaluate(tiny_model(tiny_bert), root, ks=(2, 3), map_ks=(16,))
    for part in (report, report.transductive):
        for direction in (part.text_to_audio, part.audio_to_text):
            assert (list(direction.recall), list(direction.map)) == ([2, 3], [16])


def test_evaluating_leaves_the_model_in_the_mode_it_was_in(tmp_path, tiny_bert):
    root, model = write_tones(tmp_path, 4, 0.2), tiny_model(tiny_bert)
    expected = evaluate(model, root)
    model.train()
    assert evaluate(model, root) == expected  # and without dropout
    assert model.training


def test_a_report_survives_json(tiny_bert, uneven):
    uneven.clips[1].path.unlink()
    report = evaluate(tiny_model(tiny_bert), uneven)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["dataset"] == "uneven"
    assert data["skipped"][0]["name"] == "1.wav"
    assert data["transductive"]["clips"] == 5
    again = Evaluation.from_dict(data)
    assert again == report
    assert again.to_dict() == report.to_dict()


@pytest.mark.parametrize(
    "wrong", [{"skipped": None}, {"skipped": [{"name": "a"}]}, {"clips": None}]
)
def test_a_malformed_report_is_refused(wrong, tmp_path):
    model = Oracle([0, 90], {"a": 180, "b": 180})
    good = evaluate(model, dataset_of(tmp_path, [["a"], ["b"]])).to_dict()
    with pytest.raises(InvalidInputError, match="expected what to_dict"):
        Evaluation.from_dict({**good, **wrong})
    del good["dataset"]
    with pytest.raises(InvalidInputError, match="dataset"):
        Evaluation.from_dict(good)
