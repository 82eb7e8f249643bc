"""The protocol of audio encoders, and the small encoder."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.models.encoders import (
    AUDIO_ENCODERS,
    AudioEncoder,
    SmallAudioEncoder,
    audio_encoder,
)
from tests.support.encoders import clips, padded
from tests.support.sounds import hiss, tone
from tests.support.tiny import AUDIO_SETTINGS


@pytest.fixture(scope="module")
def small():
    """A tiny encoder whose batch norms have seen data, in evaluation mode."""
    torch.manual_seed(0)
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS)
    encoder.train()
    with torch.no_grad():
        encoder(20 * torch.randn(8, 60, 64) - 40)
    return encoder.eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ResNet38 without its checkpoint")
@pytest.mark.parametrize("name", sorted(AUDIO_ENCODERS.keys() - {"clap"}))  # see test_clap
def test_every_audio_encoder_keeps_the_protocol(name):
    encoder = audio_encoder(name)
    assert isinstance(encoder, AudioEncoder)
    features = encoder.features(torch.from_numpy(tone(440, 1, rate=encoder.sample_rate)))
    assert features.shape[1] == encoder.bands
    assert len(features) == pytest.approx(encoder.frame_rate, abs=1.5)
    assert not features.requires_grad
    assert encoder(features[None]).shape == (1, encoder.width)
    description = encoder.describe()
    again = audio_encoder(**json.loads(json.dumps(description)))
    assert again.describe() == description
    assert again.feature_key == encoder.feature_key
    again.load_state_dict(encoder.state_dict())
    batch = features[None]
    assert torch.equal(again.eval()(batch), encoder.eval()(batch))


def test_settings_are_described_and_rebuilt():
    encoder = audio_encoder("small", channels=[4, 6, 8, 8], hidden=5, dropout=0.5)
    assert encoder.describe() == {
        "name": "small",
        "channels": [4, 6, 8, 8],
        "hidden": 5,
        "dropout": 0.5,
    }
    assert encoder.width == 20


@given(
    lengths=st.lists(st.integers(1, 90), min_size=2, max_size=6),
    fill=st.sampled_from([0.0, -100.0, 1e4]),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_a_clip_is_encoded_alone_as_in_any_batch_whatever_the_padding(small, lengths, fill, seed):
    features = clips(lengths, seed)
    with torch.no_grad():
        together = small(*padded(features, fill))
        for row, clip in enumerate(features):
            alone = small(clip[None])
            torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_every_frame_counts_and_so_does_their_order(small):
    (clip,) = clips([50])
    with torch.no_grad():
        whole = small(clip[None])
        for at in (0, 25, 49):
            changed = clip.clone()
            changed[at] += 30
            assert (small(changed[None]) - whole).abs().max() > 1e-4
        assert (small(clip.flip(0)[None]) - whole).abs().max() > 1e-3
        shorter = small(clip[None], torch.tensor([30]))
        torch.testing.assert_close(shorter, small(clip[None, :30]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight_and_never_come_from_padding():
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS)
    batch, lengths = padded(clips([40, 7, 23]))
    batch.requires_grad_()
    encoder.eval()(batch, lengths).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    for row, length in enumerate(lengths.tolist()):
        assert batch.grad[row, :length].abs().max() > 0
        assert batch.grad[row, length:].abs().max() == 0 if length < 40 else True


def test_features_are_the_same_every_time_and_dropout_is_for_training_only(small):
    wave = torch.from_numpy(hiss(0.7))
    assert torch.equal(small.features(wave), small.features(wave))
    features = small.features(wave)[None]
    assert torch.equal(small(features), small(features))


def test_an_unknown_audio_encoder_or_setting_is_refused():
    with pytest.raises(InvalidInputError, match=r"unknown audio encoder 'big'; available: .*small"):
        audio_encoder("big")
    with pytest.raises(InvalidInputError, match=r"encoder 'small'.*widht"):
        audio_encoder("small", widht=3)


@pytest.mark.parametrize("wrong", [{"channels": [4, 4]}, {"channels": [4, 4, 4, 0]}, {"hidden": 0}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        audio_encoder("small", **wrong)


def test_a_frozen_audio_encoder_has_no_gradient_no_dropout_and_fixed_statistics():
    encoder = audio_encoder("small", trainable=False, **AUDIO_SETTINGS, dropout=0.9).train()
    assert not encoder.trainable
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features, lengths = padded(clips([40, 12, 25]))
    first = encoder(features, lengths)
    assert not first.requires_grad
    assert torch.equal(first, encoder(features, lengths))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert not any(module.training for module in encoder.modules())
    assert audio_encoder("small", **AUDIO_SETTINGS).train().training


def test_training_statistics_are_those_of_the_clips_own_frames():
    features, lengths = padded(clips([40, 12, 25]), fill=1e3)
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS, dropout=0.0).train()
    encoder(features, lengths)
    frames = torch.cat([f[:n] for f, n in zip(features, lengths, strict=True)])
    torch.testing.assert_close(encoder.input_norm.running_mean, 0.1 * frames.mean(0))
    for block in encoder.blocks:  # statistics of garbage beyond the ends would be thousands
        assert block.norm.running_mean.abs().max() < 5


def test_the_gradient_of_a_training_step_does_not_see_the_padding():
    gradients = []
    for fill in (0.0, 1e3):
        torch.manual_seed(0)
        encoder = SmallAudioEncoder(**AUDIO_SETTINGS, dropout=0.0).train()
        encoder(*padded(clips([40, 12, 25]), fill=fill)).square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_a_setting_out_of_range_and_a_checkpoint_that_is_not_taken_are_clear_errors():
    with pytest.raises(InvalidInputError, match="small"):
        audio_encoder("small", dropout=2)
    with pytest.raises(InvalidInputError, match="checkpoint"):
        audio_encoder("small", checkpoint="weights.pth")
    assert audio_encoder("small", checkpoint=None).width == 512
