"""The best epoch, and early stopping."""

from dataclasses import replace

import pytest
import torch

from otomatch import AudioTextModel, evaluate, train
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport
from otomatch.training import trainer
from tests.support.runs import run_log
from tests.support.tiny import tiny_config

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


def crafted(score):
    direction = DirectionReport({1: score, 5: score, 10: score}, {10: 0.5}, 1, 1.0, 4)
    return RetrievalReport(direction, replace(direction), 2, 4, modality_gap=0.1)


@pytest.mark.slow
def test_the_saved_model_is_that_of_the_best_epoch(tones, tiny_bert, tmp_path, monkeypatch):
    scores, weights = iter([10.0, 30.0, 20.0, 30.0]), []

    def validate(run):
        weights.append(run.model.audio_head[0].weight.detach().cpu().clone())
        return crafted(next(scores))

    monkeypatch.setattr(trainer, "_validate", validate)
    result = train(
        tiny_config(tones, tiny_bert, "optim.epochs=4"), tmp_path / "run", progress=False
    )
    assert (result.epochs, result.best_epoch) == (4, 2)
    saved = AudioTextModel.from_pretrained(result.model).audio_head[0].weight
    assert [torch.equal(saved, w) for w in weights] == [False, True, False, False]


@pytest.mark.slow
def test_a_run_stops_after_its_patience_without_a_better_score(
    tones, tiny_bert, tmp_path, monkeypatch
):
    scores = iter([10.0, 5.0, 20.0, 20.0, 19.0, 99.0])
    monkeypatch.setattr(trainer, "_validate", lambda _: crafted(next(scores)))
    config = tiny_config(tones, tiny_bert, "optim.epochs=9", "run.patience=2")
    result = train(config, tmp_path / "run", progress=False)
    assert (result.epochs, result.best_epoch) == (5, 3)


def test_validation_is_what_evaluate_measures(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "optim.epochs=1", "loss.name=ntxent")
    result = train(config, tmp_path / "run", progress=False)
    row = run_log(result.folder)[0]
    # The log's come from features kept in half precision.
    assert row["modality_gap"] == pytest.approx(result.report.modality_gap, abs=1e-3)
    assert row["t2a_r10"] == pytest.approx(result.report.text_to_audio.recall[10], abs=15)
    again = evaluate(AudioTextModel.from_pretrained(result.model), tones)
    assert again.clips == 32
