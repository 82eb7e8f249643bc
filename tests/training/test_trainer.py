"""Whole runs: what they learn, log and leave in their folder."""

import json
import re
from itertools import chain, pairwise

import numpy as np
import pytest
import torch

from otomatch import AudioTextModel, train
from otomatch.training import step as step_module
from otomatch.training import trainer
from otomatch.training.config import load_config
from otomatch.training.run_folder import read_spectrum
from otomatch.training.step import TrainingStep
from tests.support.runs import STILL, run_log
from tests.support.tiny import tiny_config, write_tones

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


@pytest.mark.parametrize("ground", ["identity", "diagonal", "low-rank", "full"])
def test_a_run_with_any_ground_metric_leaves_a_model_that_loads(ground, tones, tiny_bert, tmp_path):
    rank = ["ground.rank=4"] if ground == "low-rank" else []
    config = tiny_config(tones, tiny_bert, f"ground.name={ground}", *rank, "optim.lr=0.3", *STILL)
    result = train(config, tmp_path / "run", progress=False)
    model = AudioTextModel.from_pretrained(result.model)
    matrix = model.ground.matrix.detach()
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues.min() > -1e-6 * eigenvalues.max()
    assert torch.equal(matrix, matrix.T)
    moved = not torch.allclose(matrix, torch.eye(12), atol=1e-3)
    assert moved == (ground != "identity")
    assert result.epochs == 2
    assert result.report.clips == 8
    assert result.report.transductive is not None


def test_the_metric_is_projected_after_every_step(tones, tiny_bert, tmp_path, monkeypatch):
    smallest = []
    original = TrainingStep.__call__

    def step(self, batch, *place):
        values = original(self, batch, *place)
        smallest.append(float(torch.linalg.eigvalsh(self.model.ground.weight.detach()).min()))
        assert torch.equal(self.model.ground.weight, self.model.ground.weight.T)
        return values

    monkeypatch.setattr(TrainingStep, "__call__", step)
    # At such a rate the unprojected matrix has negative eigenvalues from the first step on.
    train(tiny_config(tones, tiny_bert, "optim.lr=2.0"), tmp_path / "run", progress=False)
    assert len(smallest) == 6
    assert min(smallest) > -1e-5
    assert min(smallest) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["matching", "triplet", "weighted-triplet", "ntxent"])
def test_every_loss_falls_when_a_few_clips_are_learnt_by_heart(loss, tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=12, seconds=0.3)
    config = tiny_config(
        data, tiny_bert, f"loss.name={loss}", "optim.epochs=30", "optim.batch=9", *STILL
    )
    result = train(config, tmp_path / "run", progress=False)
    losses = [row["loss"] for row in run_log(result.folder)]
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("loss.mass=0.8",),
        ("loss.mass=0.8", "loss.target=trimmed"),
        ("loss.gradient=unrolled",),
        ("loss.scale=2",),
        ("loss.name=triplet", "loss.negatives=hardest"),
        ("run.precision=bf16",),
        ("run.precision=no",),
        ("text.trainable=true", "text.pooling=cls", "optim.text_encoder_lr=0.001"),
        ("model.window_seconds=0.2", "optim.warmup=0"),
        ("optim.batch=1000",),
    ],
)
def test_a_run_completes_with(overrides, tones, tiny_bert, tmp_path):
    result = train(tiny_config(tones, tiny_bert, *overrides), tmp_path / "run", progress=False)
    assert all(np.isfinite(list(row.values())).all() for row in run_log(result.folder))
    assert AudioTextModel.from_pretrained(result.model).settings["dim"] == 12


def test_the_run_folder_holds_what_is_documented(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "data.noise=0.5")
    result = train(config, tmp_path / "new" / "run", progress=False)
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "config.toml",
        "data.sha256",
        "log.csv",
        "noise.json",
        "checkpoint",
        "model",
        "report.json",
        "spectrum.csv",
        "tensorboard",
    }
    assert load_config(result.folder / "config.toml") == config
    report = json.loads((result.folder / "report.json").read_text())
    assert report == result.report.to_dict()
    card = (result.model / "README.md").read_text()
    assert f"{result.report.text_to_audio.recall[1]:.1f}" in card
    assert "8 clips, 16 captions" in card
    assert "noise = 0.5" in card


def test_the_log_has_a_row_per_epoch_with_loss_solver_and_validation(tones, tiny_bert, tmp_path):
    result = train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    log = run_log(result.folder)
    assert [row["epoch"] for row in log] == [1, 2]
    recalls = [f"{way}_r{k}" for way in ("t2a", "a2t") for k in (1, 5, 10)]
    assert list(log[0]) == [
        "epoch",
        "seconds",
        "validation_seconds",
        "data_wait",
        "loss",
        "sinkhorn_iterations",
        "marginal_error",
        "converged",
        "plan_entropy",
        "diagonal_mass",
        "grad_norm",
        "grad_audio_encoder",
        "grad_audio_head",
        "grad_text_head",
        "grad_ground",
        "metric_smallest",
        "metric_largest",
        "metric_rank",
        "score",
        "modality_gap",
        *recalls,
    ]
    for row in log:
        assert row["score"] == pytest.approx(sum(row[name] for name in recalls))
        assert 0 <= row["marginal_error"] < 1e-5
        assert row["sinkhorn_iterations"] >= 1
    assert result.best_epoch == 1 + int(np.argmax([row["score"] for row in log]))


@pytest.mark.parametrize(("ground", "positive"), [("identity", 12), ("low-rank", 5), ("full", 12)])
def test_the_spectrum_has_the_eigenvalues_of_the_metric_after_each_epoch(
    ground, positive, tones, tiny_bert, tmp_path, monkeypatch
):
    kind = [f"ground.name={ground}", *(["ground.rank=5"] if positive == 5 else [])]
    ends, end_epoch = [], trainer._end_epoch

    def ending(run, *arguments):
        ends.append(torch.linalg.eigvalsh(run.model.ground.matrix.detach().cpu()).flip(0))
        end_epoch(run, *arguments)

    monkeypatch.setattr(trainer, "_end_epoch", ending)
    run = train(tiny_config(tones, tiny_bert, *kind), tmp_path / "run", progress=False).folder
    header = (run / "spectrum.csv").read_text().splitlines()[0]
    assert header == ",".join(["epoch", *(f"eigenvalue_{i}" for i in range(1, 13))])
    found = read_spectrum(run)
    assert list(found) == [1, 2]
    for values, expected, row in zip(found.values(), ends, run_log(run), strict=True):
        torch.testing.assert_close(torch.tensor(values), expected, rtol=1e-4, atol=1e-5)
        assert values == sorted(values, reverse=True)
        assert sum(value > 1e-5 for value in values) == positive
        assert row["metric_largest"] == pytest.approx(values[0], rel=1e-6)


def test_a_baseline_logs_no_solver(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "loss.name=ntxent", "optim.epochs=1")
    result = train(config, tmp_path / "run", progress=False)
    assert "marginal_error" not in run_log(result.folder)[0]


def test_a_quiet_run_prints_nothing_and_a_loud_one_a_line_per_epoch(
    tones, tiny_bert, tmp_path, capfd
):
    config = tiny_config(tones, tiny_bert)
    train(config, tmp_path / "quiet", progress=False)
    assert capfd.readouterr() == ("", "")
    train(config, tmp_path / "loud")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.findall(r"epoch +(\d)/2  loss", err) == ["1", "2"]


@pytest.mark.slow
def test_two_runs_of_one_configuration_are_equal_and_another_seed_differs(
    tones, tiny_bert, tmp_path
):
    def weights(name, *overrides):
        result = train(tiny_config(tones, tiny_bert, *overrides), tmp_path / name, progress=False)
        return (result.model / "model.safetensors").read_bytes()

    first = weights("a", "text.trainable=true")
    torch.manual_seed(99)
    assert weights("b", "text.trainable=true") == first
    assert weights("c", "text.trainable=true", "run.seed=1") != first


def test_train_stays_callable_when_its_module_is_imported():
    import otomatch.training.trainer

    assert callable(otomatch.train)
    assert otomatch.train is trainer.train


def test_every_epoch_sees_every_clip_once_in_another_order(tones, tiny_bert, tmp_path, monkeypatch):
    seen = []
    original = TrainingStep.__call__

    def step(self, batch, *place):
        seen.append(batch.clips.tolist())
        return original(self, batch, *place)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    train(tiny_config(tones, tiny_bert, "optim.epochs=3"), tmp_path / "run", progress=False)
    epochs = [list(chain(*seen[i : i + 3])) for i in (0, 3, 6)]
    assert len(seen) == 9
    assert all(len(set(epoch)) == 24 for epoch in epochs)
    assert all(sorted(a) == sorted(b) and a != b for a, b in pairwise(epochs))


def test_every_step_draws_its_own_dropout_and_augmentation(tones, tiny_bert, tmp_path, monkeypatch):
    drawn = []
    original = step_module.spec_augment

    def augment(features, lengths, rng, **settings):
        drawn.append((torch.initial_seed(), rng.bit_generator.state["state"]["state"]))
        return original(features, lengths, rng, **settings)

    monkeypatch.setattr(step_module, "spec_augment", augment)
    train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    assert len(drawn) == 6
    assert all(len(set(values)) == 6 for values in zip(*drawn, strict=True))
