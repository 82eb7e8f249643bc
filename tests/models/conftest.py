"""Models, encoders and clips that several files of this folder share."""

from pathlib import Path

import pytest
import torch

from otomatch.datasets.base import Clip
from otomatch.models import clip_loading
from otomatch.models.encoders import SmallAudioEncoder, text_encoder
from tests.support.encoders import NarrowCnn, NarrowResNet, fill
from tests.support.sounds import hiss, tone, write_audio
from tests.support.tiny import AUDIO_SETTINGS, tiny_model


@pytest.fixture(scope="module")
def model(tiny_bert):
    return tiny_model(tiny_bert)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder, "# A card\n")
    return folder


@pytest.fixture(params=[NarrowCnn, NarrowResNet])
def narrow(request):
    return fill(request.param("saved", dropout=0.0))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return SmallAudioEncoder(**AUDIO_SETTINGS)


@pytest.fixture
def clips(tmp_path):
    """Five clips, the second broken and the last a part of the first's file."""
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        write_audio(path, tone(300 * (i + 1), 0.3 * (i + 1)) + hiss(0.3 * (i + 1), 0.01, seed=i))
    paths[1].write_bytes(b"RIFF no more" * 100)
    whole = [Clip(path, (path.stem,), path.name) for path in paths]
    return [*whole, Clip(paths[0], ("part",), "0.wav#0.1-0.2", start=0.1, end=0.2)]


@pytest.fixture
def decoded(monkeypatch):
    """The paths that are decoded from here on."""
    seen = []
    original = clip_loading.audio.load

    def load(path, *args):
        seen.append(Path(path).name)
        return original(path, *args)

    monkeypatch.setattr(clip_loading.audio, "load", load)
    return seen


@pytest.fixture(scope="module")
def text(tiny_bert):
    return text_encoder(str(tiny_bert)).eval()
