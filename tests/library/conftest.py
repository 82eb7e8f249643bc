"""Fixtures of several files of the tests of libraries."""

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
    """Anything that embeds fails."""

    def fail(*_):
        raise AssertionError("a sound was embedded")

    return lambda: monkeypatch.setattr(AudioTextModel, "embed_features", fail)
