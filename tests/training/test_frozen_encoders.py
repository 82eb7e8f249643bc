"""Runs with a frozen audio encoder."""

from itertools import chain

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from otomatch import AudioTextModel, train
from otomatch.models.encoders import SmallAudioEncoder
from otomatch.training import step as step_module
from otomatch.training.data import prepare_data
from otomatch.training.optim import parameter_groups
from otomatch.training.step import TrainingStep
from otomatch.training.trainer import build_model
from tests.support.runs import QUIET
from tests.support.tiny import tiny_config

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


FROZEN = ("audio.trainable=false", "model.window_seconds=0.2")  # three windows of half a second


def test_a_frozen_audio_encoder_is_run_once_and_never_changes(
    tones, tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTOMATCH_CACHE", str(tmp_path / "cache"))
    config = tiny_config(tones, tiny_bert, *FROZEN)
    torch.manual_seed(config.run.seed)
    untrained = build_model(config)
    encoded = []
    original = SmallAudioEncoder.forward

    def forward(self, features, lengths=None):
        encoded.append(len(features))
        return original(self, features, lengths)

    monkeypatch.setattr(SmallAudioEncoder, "forward", forward)
    train(config, tmp_path / "run", progress=False)
    # Three windows each of all clips, and of the eight that the best model is measured on.
    assert sum(encoded) == 3 * 32 + 3 * 8
    model = AudioTextModel.from_pretrained(tmp_path / "run" / "model")
    assert not model.audio_encoder.trainable
    trained = model.audio_encoder.state_dict()
    for key, value in untrained.audio_encoder.state_dict().items():
        assert torch.equal(trained[key], value), key
    assert not torch.equal(model.audio_head[0].weight, untrained.audio_head[0].weight)


def test_a_frozen_encoder_is_neither_optimised_nor_kept_in_checkpoints(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, *FROZEN, "optim.epochs=1")
    model = build_model(config)
    grouped = {p for group in parameter_groups(model, config.optim) for p in group["params"]}
    assert not grouped & set(model.audio_encoder.parameters())
    assert grouped >= set(model.audio_head.parameters())
    train(config, tmp_path / "run", progress=False)
    state = load_file(tmp_path / "run" / "checkpoint" / "state.safetensors")
    weights = {f"model.audio_encoder.{name}" for name, _ in model.audio_encoder.named_parameters()}
    assert not weights & state.keys()
    assert "model.audio_head.0.weight" in state


def test_validation_on_the_cache_is_that_on_the_sounds(tones, tiny_bert):
    config = tiny_config(tones, tiny_bert, *FROZEN)
    model = build_model(config).eval()
    data = prepare_data(config, model, QUIET)
    assert data.encoded
    paths = [clip.path for clip in data.test.clips]
    expected = model.embed_audio(paths)
    found = data.embed_validation(model).audio
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_every_epoch_draws_one_window_of_each_clip_and_hides_nothing(
    tones, tiny_bert, tmp_path, monkeypatch
):
    config = tiny_config(tones, tiny_bert, *FROZEN, "optim.epochs=6")
    data = prepare_data(config, build_model(config), QUIET)
    chosen = {}
    original = TrainingStep.__call__

    def step(self, batch, *place):
        assert batch.features.shape[1:] == (1, 32)
        for clip, vector in zip(batch.clips.tolist(), batch.features[:, 0].numpy(), strict=True):
            same = (data.sounds[clip] == vector).all(1)
            chosen.setdefault(clip, []).append(int(np.flatnonzero(same)[0]))
        return original(self, batch, *place)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    monkeypatch.setattr(step_module, "spec_augment", None)  # not called
    train(config, tmp_path / "run", progress=False)
    assert sorted(chosen) == data.train_clips
    assert all(len(windows) == 6 for windows in chosen.values())
    counts = np.bincount(list(chain(*chosen.values())))
    assert len(counts) == 3
    assert counts.min() > 0.2 * counts.sum()
