"""Frozen encoders: what training leaves alone, and who says so."""

import pytest

from otomatch.models.encoders import (
    SmallAudioEncoder,
    is_frozen,
    text_encoder,
    trainable_parameters,
)
from tests.support.tiny import AUDIO_SETTINGS, tiny_model


def test_an_encoder_is_frozen_once_and_for_all():
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS)
    assert not is_frozen(encoder)
    assert is_frozen(encoder.freeze())
    assert not encoder.train().training


@pytest.mark.parametrize("trainable", [False, True])
def test_text_encoders_are_frozen_unless_they_are_trainable(trainable, tiny_bert):
    assert is_frozen(text_encoder(str(tiny_bert), trainable=trainable)) != trainable


def test_the_trainable_parameters_of_a_model_leave_out_frozen_encoders(tiny_bert):
    model = tiny_model(tiny_bert)
    names = trainable_parameters(model).keys()
    assert {name.partition(".")[0] for name in names} == {
        "audio_encoder",
        "audio_head",
        "text_head",
        "ground",
    }
    model.audio_encoder.freeze()
    assert not [name for name in trainable_parameters(model) if name.startswith("audio_encoder.")]
