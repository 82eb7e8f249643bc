"""PANNs on clips of different lengths: in a batch each is computed as if it were alone."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.encoders import NarrowCnn, NarrowResNet, clips, fill, filled, padded
from tests.support.sounds import hiss


@pytest.mark.slow
@given(
    lengths=st.lists(st.integers(1, 150), min_size=2, max_size=5),
    fill_value=st.sampled_from([0.0, -100.0, 1e4, float("nan")]),
    kind=st.sampled_from([NarrowCnn, NarrowResNet]),
)
@settings(max_examples=40, deadline=None)
def test_a_clip_is_encoded_alone_as_in_any_batch(lengths, fill_value, kind):
    encoder, features = fill(kind("saved")).double(), [clip.double() for clip in clips(lengths)]
    with torch.no_grad():
        together = encoder(*padded(features, fill_value))
        for row, clip in enumerate(features):
            torch.testing.assert_close(together[row], encoder(clip[None])[0], rtol=1e-9, atol=1e-9)


def test_a_short_clip_is_followed_by_silence(narrow):
    (clip,) = clips([5])
    silence = torch.full((27, 64), -100.0)
    assert torch.equal(narrow(clip[None]), narrow(torch.cat([clip, silence])[None]))


def test_a_sound_of_ten_milliseconds_has_a_vector_of_its_own(narrow):
    vectors = [
        narrow(narrow.features(torch.from_numpy(hiss(0.01, level)))[None]) for level in (0.1, 0.2)
    ]
    assert all(vector.isfinite().all() for vector in vectors)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_lengths_that_are_all_full_change_nothing(narrow):
    features = torch.stack(clips([40] * 3))
    assert torch.equal(narrow(features, torch.tensor([40] * 3)), narrow(features))


def test_a_padded_batch_can_be_trained_on_in_half_precision(narrow):
    features, lengths = padded(clips([70, 33, 5]))
    with torch.autocast("cpu", torch.bfloat16):
        found = narrow.train()(features, lengths)
    found.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in narrow.parameters())


def test_training_statistics_are_those_of_the_clips_own_frames(narrow):
    features, lengths = padded(clips([70, 33, 64]), fill=1e3)
    twice = torch.cat([features, features]), torch.cat([lengths, lengths])
    more = torch.nn.functional.pad(features, (0, 0, 0, 50), value=-1e3), lengths
    states = []
    for batch in ((features, lengths), twice, more):
        encoder = copy.deepcopy(narrow).train()
        encoder(*batch)
        states.append(encoder.state_dict())
    for key in states[0]:
        if key.endswith("running_mean"):
            torch.testing.assert_close(states[0][key], states[1][key], msg=key)
            torch.testing.assert_close(states[0][key], states[2][key], msg=key)
    own = torch.cat([f[:n] for f, n in zip(features, lengths, strict=True)]).mean(0)
    before = filled("bn0.running_mean", (64,))
    torch.testing.assert_close(states[0]["bn0.running_mean"], 0.9 * before + 0.1 * own)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_do_not_see_the_padding(training, narrow):
    gradients = []
    for value in (0.0, 1e3):
        features, lengths = padded(clips([70, 33, 64]), value)
        encoder = copy.deepcopy(narrow).double().train(training)
        features = features.double().requires_grad_()
        encoder(features, lengths).square().sum().backward()
        gradients.append([features.grad, *(p.grad for p in encoder.parameters())])
        for row, length in enumerate(lengths.tolist()):
            assert (features.grad[row, length:] == 0).all()
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_of_a_padded_batch_is_that_of_its_clips_alone(narrow):
    encoder = narrow.double()
    features = [f.double() for f in clips([70, 5, 33])]
    encoder(*padded(features, 7.0)).square().sum().backward()
    together = {k: p.grad.clone() for k, p in encoder.named_parameters()}
    encoder.zero_grad()
    for clip in features:
        encoder(clip[None]).square().sum().backward()
    for key, parameter in encoder.named_parameters():
        torch.testing.assert_close(together[key], parameter.grad, msg=key)
