"""Fixtures that several files of this folder use."""

from pathlib import Path

import pytest

from otomatch.models.audio_text_model import AudioTextModel
from tests.support.tiny import tiny_model, write_bert


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    tiny_model(write_bert(folder / "bert")).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def deaf(monkeypatch):
    """Return a function that makes all embedding fail from then on."""

    def fail(*_):
        raise AssertionError("a sound was embedded")

    return lambda: monkeypatch.setattr(AudioTextModel, "embed_features", fail)
