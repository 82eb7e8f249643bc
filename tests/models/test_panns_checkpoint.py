"""Published PANNs checkpoints: read whole, refused if damaged or of another network."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch.audio.log_mel import mel_filterbank
from otomatch.errors import ModelError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import Cnn10, audio_encoder, panns_checkpoint, text_encoder
from tests.support.encoders import ENTRIES, FRONT_END, LEFT_OUT, NarrowCnn, filled
from tests.support.sounds import tone


def checkpoint_of(kind):
    """A whole checkpoint of a network, as published: weights, front end, classifier, sampler."""
    state = {k: filled(k, t.shape) for k, t in kind("saved").state_dict().items()}
    shapes = dict.fromkeys(FRONT_END, (513, 1, 1024)) | {
        "fc1.weight": (kind.width, kind.width),
        "fc1.bias": (kind.width,),
        "fc_audioset.weight": (527, kind.width),
        "fc_audioset.bias": (527,),
    }
    state |= {key: filled(key, shape) for key, shape in shapes.items()}
    state["logmel_extractor.melW"] = torch.from_numpy(
        mel_filterbank(32000, 1024, 64, 50.0, 14000.0).T.copy()
    )
    return {"iteration": 600000, "model": state, "sampler": {"pointer": 3, "queue": [1, 2]}}


@pytest.fixture
def narrow_checkpoint():
    return checkpoint_of(NarrowCnn)


def save(checkpoint, folder, name="weights.pth"):
    torch.save(checkpoint, folder / name)
    return folder / name


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_whole_checkpoint_is_loaded_and_what_is_not_used_left_out(as_path, tmp_path):
    checkpoint = checkpoint_of(Cnn10)
    assert len(checkpoint["model"]) == ENTRIES["Cnn10"]
    encoder = audio_encoder("Cnn10", as_path(save(checkpoint, tmp_path)))
    state = encoder.state_dict()
    assert checkpoint["model"].keys() - state.keys() == LEFT_OUT
    assert all(torch.equal(tensor, checkpoint["model"][key]) for key, tensor in state.items())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_the_arrays_of_the_sampler_do_not_hinder_loading(
    zipped, module, tmp_path, narrow_checkpoint
):
    # The published files hold NumPy's arrays, which torch does not load without being told to.
    narrow_checkpoint["sampler"] = {"indexes_per_class": [np.arange(5), np.array([7])]}
    path = tmp_path / "weights.pth"
    torch.save(narrow_checkpoint, path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # then the name can be replaced by that of an earlier NumPy
        content = path.read_bytes()
        names = (b"numpy._core.multiarray", b"numpy.core.multiarray")
        assert any(name in content for name in names)
        path.write_bytes(content.replace(names[0], module).replace(names[1], module))
    assert torch.equal(NarrowCnn(path).bn0.weight, narrow_checkpoint["model"]["bn0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc1.bias": None, "bn0.bias": None}, r"another network.*missing: bn0\.bias, fc1\.bias"),
        ({"extra.weight": torch.ones(2)}, r"unexpected: extra\.weight"),
        ({"bn0.weight": torch.ones(32)}, r"of another shape: bn0\.weight"),
        ({f"extra{i}": torch.ones(2) for i in range(7)}, r"extra4 and 2 more"),
        ({"logmel_extractor.melW": torch.ones(513, 64)}, r"mel filters .* other features"),
        ({"logmel_extractor.melW": torch.full((513, 64), torch.nan)}, r"mel filters"),
    ],
)
def test_a_checkpoint_of_another_network_names_what_differs(
    change, message, tmp_path, narrow_checkpoint
):
    state = {**narrow_checkpoint["model"], **change}
    state = {key: tensor for key, tensor in state.items() if tensor is not None}
    with pytest.raises(ModelError, match=message):
        NarrowCnn(save({"model": state}, tmp_path))


def test_the_checkpoint_of_one_network_is_refused_by_another(tmp_path):
    path = save(checkpoint_of(Cnn10), tmp_path)
    with pytest.raises(ModelError, match=r"another network than Cnn14_mAP=0\.431\.pth.*missing"):
        audio_encoder("Cnn14", path)


class Code:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        pickle.dumps({"model": {}}, protocol=2),
        {"weights": {}},
        {"model": {"bn0.weight": "x"}},
        {"model": torch.ones(3)},
        torch.ones(3),
        {"model": {}, "code": Code()},
    ],
)
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(content, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ModelError, match=r"Narrow_mAP=0\.1\.pth") as error:
        NarrowCnn(path)
    assert str(path) in str(error.value)
    assert "weights_only=False" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_missing_checkpoint_says_what_to_give(tmp_path):
    with pytest.raises(ModelError, match=r"no such checkpoint.*Cnn10_mAP=0\.380\.pth.*'download'"):
        audio_encoder("Cnn10", tmp_path / "nothing.pth")


def test_a_file_with_the_published_name_must_have_the_published_sum(tmp_path, narrow_checkpoint):
    path = save(narrow_checkpoint, tmp_path, NarrowCnn.published.name)
    with pytest.raises(
        ModelError, match=f"expected {'0' * 32}; download the file again from https"
    ):
        NarrowCnn(path)


def test_download_fetches_the_published_file_into_the_cache(
    cache, monkeypatch, tmp_path, narrow_checkpoint
):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return save(narrow_checkpoint, tmp_path)

    monkeypatch.setattr(panns_checkpoint, "download", download)
    assert torch.equal(NarrowCnn("download").bn0.bias, narrow_checkpoint["model"]["bn0.bias"])
    url = "https://zenodo.org/record/3987831/files/Narrow_mAP%3D0.1.pth?download=1"
    assert asked == [(url, "Narrow_mAP=0.1.pth", "0" * 32, cache / "panns")]


def test_a_model_with_a_pretrained_encoder_is_saved_and_loaded_without_the_checkpoint(
    tmp_path, tiny_bert
):
    path = save(checkpoint_of(Cnn10), tmp_path)
    encoder = audio_encoder("Cnn10", path, dropout=0.1)
    model = AudioTextModel(encoder, text_encoder(str(tiny_bert)), dim=12, hidden=16)
    path.unlink()
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    sounds = [(tone(440, seconds), 32000) for seconds in (0.01, 0.5)]
    assert torch.equal(again.embed_audio(sounds), model.embed_audio(sounds))
    assert again.fingerprint == model.fingerprint
    assert again.audio_encoder.dropout == 0.1
