"""Models saved as folders and loaded again, frozen or fine-tuned."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from otomatch import AudioTextModel
from otomatch.errors import ModelError
from otomatch.transport.ground_metrics import GROUND_METRICS
from tests.support.tiny import sounds, tiny_model, write_bert

CAPTIONS = ["a dog barks", "rain", "the deep steady hum"]


def copy(folder, to):
    return shutil.copytree(folder, to / "copy")


@pytest.mark.slow
@pytest.mark.parametrize("ground", sorted(GROUND_METRICS))
@pytest.mark.parametrize("trainable", [False, True])
def test_a_saved_model_comes_back_exactly(ground, trainable, tiny_bert, tmp_path):
    model = tiny_model(tiny_bert, ground, trainable)
    audio, text = model.embed_audio(sounds(0.5, 1.4)), model.embed_text(CAPTIONS)
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    assert not again.training
    assert again.settings == model.settings
    assert again.fingerprint == model.fingerprint
    assert again.text_encoder.trainable == trainable
    assert torch.equal(again.embed_audio(sounds(0.5, 1.4)), audio)
    assert torch.equal(again.embed_text(CAPTIONS), text)
    assert torch.equal(again.distance(audio, text), model.distance(audio, text))


def test_a_frozen_audio_encoder_stays_frozen_when_saved_and_embeds_the_same(tiny_bert, tmp_path):
    model, frozen = tiny_model(tiny_bert), tiny_model(tiny_bert)
    frozen.audio_encoder.freeze()
    assert frozen.fingerprint == model.fingerprint
    frozen.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model").train()
    assert not again.audio_encoder.trainable
    assert not again.audio_encoder.training
    assert again.audio_head.training
    assert again.fingerprint == model.fingerprint
    assert torch.equal(again.embed_audio(sounds(0.5, 1.4)), model.embed_audio(sounds(0.5, 1.4)))


def test_a_model_saved_before_encoders_could_be_frozen_loads(saved, model, tmp_path):
    folder = copy(saved, tmp_path)
    description = json.loads((folder / "config.json").read_text())
    del description["audio_encoder"]["trainable"]
    del description["text_encoder"]["dropout"]
    (folder / "config.json").write_text(json.dumps(description))
    again = AudioTextModel.from_pretrained(folder)
    assert again.audio_encoder.trainable
    assert again.fingerprint == model.fingerprint


def test_a_model_folder_holds_what_is_documented_and_no_pickle(saved):
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert {name for name in files if "/" not in name} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert "text_encoder/model.safetensors" in files
    assert {name.rpartition(".")[2] for name in files} <= {"json", "safetensors", "md", "txt"}
    assert (saved / "README.md").read_text() == "# A card\n"
    assert json.loads((saved / "config.json").read_text())["format"] == "otomatch-model/1"
    assert not any(key.startswith("text_encoder") for key in load_file(saved / "model.safetensors"))
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_local_text_encoder_travels_inside_the_folder(tmp_path):
    bert = write_bert(tmp_path / "bert", seed=3)
    model = tiny_model(bert)
    model.save_pretrained(tmp_path / "model")
    expected = model.embed_text(CAPTIONS)
    shutil.rmtree(bert)
    moved = (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = AudioTextModel.from_pretrained(moved)
    assert torch.equal(again.embed_text(CAPTIONS), expected)
    again.save_pretrained(tmp_path / "third")  # and can be passed on
    shutil.rmtree(moved)
    assert AudioTextModel.from_pretrained(tmp_path / "third").fingerprint == model.fingerprint


def test_a_fine_tuned_text_encoder_keeps_its_new_weights(tiny_bert, tmp_path):
    model = tiny_model(tiny_bert, trainable=True)
    before = model.embed_text(CAPTIONS)
    with torch.no_grad():
        for parameter in model.text_encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    expected = model.embed_text(CAPTIONS)
    assert not torch.allclose(before, expected, atol=1e-2)
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    assert torch.equal(again.embed_text(CAPTIONS), expected)


def test_saving_over_a_model_replaces_it(model, saved, tmp_path, tiny_bert):
    folder = copy(saved, tmp_path)
    (folder / "stale.txt").write_text("of the old model")
    other = tiny_model(tiny_bert, "diagonal", seed=5)
    other.save_pretrained(folder)
    assert AudioTextModel.from_pretrained(folder).fingerprint == other.fingerprint
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_model_can_be_saved_over_the_folder_it_came_from(saved, tmp_path):
    folder = copy(saved, tmp_path)
    model = AudioTextModel.from_pretrained(folder)
    model.save_pretrained(folder)
    assert AudioTextModel.from_pretrained(folder).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.tex", "mine"),
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", "[]"),
        ("config.json", "not JSON"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_alone(name, content, model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(content)
    with pytest.raises(ModelError, match="something other than a model"):
        model.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / name).read_text() == content


def test_a_file_in_the_way_is_refused(model, tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(ModelError, match="something other than a model"):
        model.save_pretrained(tmp_path / "model")


def test_an_empty_folder_may_be_saved_to(model, tmp_path):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    model.save_pretrained(tmp_path / "deep" / "model")
    assert AudioTextModel.from_pretrained(tmp_path / "deep" / "model").fingerprint


def test_a_save_that_fails_leaves_the_old_model(model, saved, tmp_path, monkeypatch):
    folder = copy(saved, tmp_path)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("otomatch.models.saving.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(folder)
    monkeypatch.undo()
    assert AudioTextModel.from_pretrained(folder).fingerprint == model.fingerprint
    model.save_pretrained(folder)  # what was left half-written is in nobody's way
