"""Fingerprints change with anything that embeddings depend on, and with nothing else."""

import torch

from otomatch import AudioTextModel
from otomatch.models.encoders import SmallAudioEncoder, text_encoder
from tests.support.tiny import AUDIO_SETTINGS, sounds, tiny_model

CAPTIONS = ["a dog barks", "rain", "the deep steady hum"]


def test_using_a_model_does_not_change_what_is_saved(tiny_bert, tmp_path):
    model = tiny_model(tiny_bert)
    fresh = model.fingerprint
    model.embed_text(CAPTIONS)
    model.embed_audio(sounds(0.3))
    model.whiten(torch.zeros(1, 12))
    assert model.fingerprint == fresh
    model.save_pretrained(tmp_path / "model")
    assert AudioTextModel.from_pretrained(str(tmp_path / "model")).fingerprint == fresh


def test_the_fingerprint_changes_with_any_weight_and_any_setting(tiny_bert):
    model = tiny_model(tiny_bert)
    seen = {model.fingerprint}
    tensors = [(k, v) for k, v in model.state_dict().items() if ".pooler." not in k]
    for _, tensor in tensors:
        flat = tensor.view(-1)
        before = flat[-1].clone()
        flat[-1] = torch.nextafter(before, before + 1) if before.is_floating_point() else before + 1
        seen.add(model.fingerprint)
        flat[-1] = before
    assert len(seen) == 1 + len(tensors)
    for other in ({"window_seconds": 2.0}, {"dropout": 0.2}, {"ground": "diagonal"}):
        seen.add(tiny_model(tiny_bert, **other).fingerprint)
    pooled = AudioTextModel(
        SmallAudioEncoder(**AUDIO_SETTINGS), text_encoder(str(tiny_bert), pooling="cls"), dim=12
    )
    assert len({*seen, pooled.fingerprint}) == 5 + len(tensors)
    assert model.fingerprint == tiny_model(tiny_bert).fingerprint
