"""Model folders that are missing, incomplete, damaged or inconsistent are refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from otomatch import AudioTextModel
from otomatch.errors import ModelError
from tests.support.tiny import write_bert


def copy(folder, to):
    return shutil.copytree(folder, to / "copy")


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all"])
def test_a_missing_folder_is_refused(name):
    with pytest.raises(ModelError, match="is not a model folder"):
        AudioTextModel.from_pretrained(name)


def test_a_hub_name_that_does_not_exist_is_refused_offline():
    with pytest.raises(ModelError, match="no such model on the Hugging Face hub"):
        AudioTextModel.from_pretrained("nobody/nothing")


def test_a_folder_without_weights_is_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:100], lambda b: b[:-7], lambda _: b"", lambda b: b"\xff" * len(b)],
    ids=["a piece", "the end is missing", "empty", "overwritten"],
)
@pytest.mark.parametrize("part", ["model.safetensors", "text_encoder/model.safetensors"])
def test_damaged_weights_are_refused(damage, part, saved, tmp_path):
    path = copy(saved, tmp_path) / part
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError):
        AudioTextModel.from_pretrained(tmp_path / "copy")


def edit(folder, **changes):
    description = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        description.pop(key)
        if value is not None:
            description[key] = value
    (folder / "config.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "is not of the format otomatch-model/1"),
        ({"format": "otomatch-model/2"}, "is not of the format"),
        ({"dim": 13}, "does not fit config.json"),
        ({"ground": {"name": "diagonal"}}, "does not fit config.json"),
        ({"text_encoder": None}, "malformed"),
        ({"dim": "wide"}, "malformed"),
        ({"text_fingerprint": "0" * 64}, "other weights than the one it was trained with"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, message, saved, tmp_path):
    folder = copy(saved, tmp_path)
    edit(folder, **changes)
    with pytest.raises(ModelError, match=message):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize("content", ["", "[1]", "{", "null"])
def test_a_configuration_that_is_no_object_is_refused(content, saved, tmp_path):
    (copy(saved, tmp_path) / "config.json").write_text(content)
    with pytest.raises(ModelError):
        AudioTextModel.from_pretrained(tmp_path / "copy")


def test_another_text_encoders_weights_are_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    write_bert(folder / "text_encoder", seed=9)
    with pytest.raises(ModelError, match="other weights than the one it was trained with"):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_weights_that_do_not_fit_are_named(change, saved, tmp_path):
    path = copy(saved, tmp_path) / "model.safetensors"
    state = load_file(path)
    if change == "missing":
        del state["audio_head.0.bias"]
    elif change == "shape":
        state["audio_head.0.bias"] = torch.zeros(3)
    else:
        state["audio_head.9.bias"] = torch.zeros(3)
    save_file(state, path)
    with pytest.raises(ModelError, match=r"does not fit config.json.*audio_head\.[09]\.bias"):
        AudioTextModel.from_pretrained(tmp_path / "copy")
