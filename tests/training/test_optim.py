"""The optimiser of a run, and runs that diverge."""

from itertools import pairwise

import pytest
import torch

from otomatch import AudioTextModel, losses, train
from otomatch.errors import RunError
from otomatch.training.optim import parameter_groups, rate_factor
from otomatch.training.step import TrainingStep
from otomatch.training.trainer import build_model
from tests.support.tiny import tiny_config

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1
    assert 0 < rates[-1] < 1e-3
    assert rate_factor(0, 100, 0.0) == 1
    assert rate_factor(0, 1, 0.9) > 0


def test_weight_decay_spares_vectors_and_the_metric_and_text_has_its_own_rate(tones, tiny_bert):
    config = tiny_config(tones, tiny_bert, "text.trainable=true", "optim.weight_decay=0.1")
    model = build_model(config)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, config.optim)
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            name = names[parameter]
            decays = parameter.ndim > 1 and not name.startswith("ground.")
            assert group["weight_decay"] == (0.1 if decays else 0)
            assert group["lr"] == pytest.approx(0.001 if name.startswith("text_enc") else 0.01)


@pytest.mark.parametrize("trainable", [False, True])
def test_the_text_encoder_learns_only_where_it_may(trainable, tones, tiny_bert, tmp_path):
    flag = f"text.trainable={str(trainable).lower()}"
    config = tiny_config(tones, tiny_bert, flag, "optim.text_encoder_lr=0.01")
    before = build_model(config).text_encoder.fingerprint()
    result = train(config, tmp_path / "run", progress=False)
    after = AudioTextModel.from_pretrained(result.model).text_encoder.fingerprint()
    assert (after != before) == trainable


@pytest.mark.parametrize(("rate", "expected"), [("none", 0.01), ("0.0005", 0.0005)])
def test_an_audio_encoder_learns_at_the_rate_of_the_rest_or_at_its_own(
    rate, expected, tones, tiny_bert
):
    config = tiny_config(tones, tiny_bert, "text.trainable=true", f"optim.audio_encoder_lr={rate}")
    model = build_model(config)
    rates = {
        parameter: group["lr"]
        for group in parameter_groups(model, config.optim)
        for parameter in group["params"]
    }
    assert {rates[p] for p in model.audio_encoder.parameters()} == {expected}
    assert {rates[p] for p in model.text_encoder.parameters()} == {0.001}
    assert {rates[p] for p in model.audio_head.parameters()} == {0.01}


def test_a_minute_rate_keeps_an_audio_encoder_while_the_heads_learn(tones, tiny_bert, tmp_path):
    overrides = ("optim.audio_encoder_lr=1e-12", "optim.weight_decay=0", "optim.epochs=1")
    config = tiny_config(tones, tiny_bert, *overrides)
    torch.manual_seed(config.run.seed)
    untrained = build_model(config)
    result = train(config, tmp_path / "run", progress=False)
    trained = AudioTextModel.from_pretrained(result.model)
    for before, after in zip(
        untrained.audio_encoder.parameters(), trained.audio_encoder.parameters(), strict=True
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-9)
    moved = trained.audio_head[0].weight - untrained.audio_head[0].weight
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("loss", ["matching", "ntxent", "triplet"])
def test_a_run_that_diverges_says_so(loss, tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "optim.lr=1e30", f"loss.name={loss}")
    with pytest.raises(
        RunError, match=r"diverged at epoch \d, step \d.*lower the learning rate \(now 1e\+30\)"
    ):
        train(config, tmp_path / "run", progress=False)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    tones, tiny_bert, tmp_path, monkeypatch
):
    class Broken(torch.nn.Module):
        def forward(self, audio, text, metric, clip_ids):
            assert len(clip_ids) == len(audio)
            zero = (audio.sum() - audio.sum().detach()) + (metric(audio, text).sum() * 0)
            return zero.clamp(min=0).sqrt()  # 0, with an infinite slope

    monkeypatch.setitem(losses.LOSSES, "ntxent", lambda **_: Broken())
    config = tiny_config(tones, tiny_bert, "loss.name=ntxent")
    with pytest.raises(RunError, match="the norm of the gradient is"):
        train(config, tmp_path / "run", progress=False)


def test_weights_that_diverge_in_the_last_step_of_an_epoch_are_found_in_validation(
    tones, tiny_bert, tmp_path, monkeypatch
):
    original = TrainingStep.__call__

    def step(self, batch, *place):
        values = original(self, batch, *place)
        torch.nn.init.constant_(self.model.audio_head[0].weight, float("nan"))
        return values

    monkeypatch.setattr(TrainingStep, "__call__", step)
    config = tiny_config(tones, tiny_bert, "optim.batch=24")
    with pytest.raises(RunError, match="diverged at epoch 1"):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model").exists()


def test_half_precision_without_a_gpu_is_refused_clearly(tones, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="fp16"):
        train(tiny_config(tones, tiny_bert, "run.precision=fp16"), tmp_path / "r", progress=False)
