"""Measurements of a trained model, and their files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otomatch.evaluation.evaluator import evaluate
from otomatch.evaluation.ranks import rank_embeddings
from otomatch.evaluation.retrieval import summarise
from otomatch.evaluation.zero_shot import zeroshot
from otomatch.studies import cells
from otomatch.studies.data import TestSet
from otomatch.studies.measurement import Measurer, recalls_by_clip
from tests.support.sounds import write_csv
from tests.support.tiny import tiny_model, write_tones


@pytest.mark.slow
def test_a_model_is_measured_as_evaluate_and_zeroshot_measure_it(tiny_bert, tmp_path):
    root = write_tones(tmp_path / "tones", clips=16)
    rows = [line.split(",") for line in (root / "captions.csv").read_text().splitlines()]
    labelled = [(*row, "label" if i == 0 else ("rain", "dog")[i % 2]) for i, row in enumerate(rows)]
    write_csv(root / "captions.csv", labelled)
    model = tiny_model(tiny_bert)
    test = TestSet("tones", str(root), labelled=str(root))
    found = Measurer(model).measure(test).values
    report, classes = evaluate(model, root), zeroshot(model, root)
    for side, direction, plan in (
        ("t2a", report.text_to_audio, report.transductive.text_to_audio),
        ("a2t", report.audio_to_text, report.transductive.audio_to_text),
    ):
        for k in (1, 5, 10):
            assert found[f"{side}_r{k}"] == direction.recall[k]
            assert found[f"plan_{side}_r{k}"] == plan.recall[k]
        assert found[f"{side}_map10"] == direction.map[10]
        assert found[f"{side}_median"] == direction.median_rank
    assert found["gap"] == pytest.approx(report.modality_gap)
    assert found["zeroshot"] == classes.accuracy
    assert found["plan_zeroshot"] == classes.transductive.accuracy
    assert (found["clips"], found["captions"]) == (16, 32)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(0, 99))
def test_the_mean_of_recalls_by_clip_is_the_recall(captions, seed):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(len(captions), 3, generator=generator)
    text = torch.randn(sum(captions), 3, generator=generator)
    text_clip = np.repeat(np.arange(len(captions)), captions).tolist()
    ranks = rank_embeddings(audio, text, text_clip)
    report = summarise(ranks)
    for name, values in recalls_by_clip(ranks).items():
        direction = report.text_to_audio if name.startswith("t2a") else report.audio_to_text
        assert len(values) == len(captions)
        assert np.mean(values) == pytest.approx(direction.recall[int(name[5:])])


def test_a_measurement_is_read_as_it_was_saved(tiny_bert, tones, tmp_path):
    found = Measurer(tiny_model(tiny_bert)).measure(TestSet("test", str(tones), "test"))
    cells.save_measurement(tmp_path / "m.json", found)
    again = cells.read_measurement(tmp_path / "m.json")
    assert again.values == found.values
    assert "zeroshot" not in again.values
    for name, values in found.per_clip.items():
        np.testing.assert_array_equal(again.per_clip[name], values)
