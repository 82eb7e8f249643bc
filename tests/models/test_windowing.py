"""Windows of sounds, and the audio encoder's outputs for them."""

import pytest
import torch

from otomatch.models.states import audio_states, embed_audio_states
from otomatch.models.windowing import feature_windows, sound_features, sound_windows
from tests.support.tiny import sounds


def test_a_long_clip_is_the_mean_of_windows_that_cover_it(model):
    features = sound_features(model, sounds(2.5)[0])
    windows = feature_windows(model, features)
    assert len(windows) == 3
    assert windows[0].start == 0
    assert windows[-1].end == pytest.approx(2.5, abs=0.03)
    covered = torch.zeros(len(features), dtype=torch.bool)
    for window in windows:
        first = round(window.start * model.audio_encoder.frame_rate)
        covered[first : first + len(window.features)] = True
        assert torch.equal(window.features, features[first : first + len(window.features)])
        assert len(window.features) == model.window_frames
    assert covered.all()
    mean = model.embed_features([window.features for window in windows]).mean(0)
    torch.testing.assert_close(
        model.embed_features([features])[0], mean / mean.norm(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 1), (1.0, 1), (1.1, 2), (2.0, 2), (7.3, 8)])
def test_windows_are_as_few_as_can_be(model, seconds, count):
    assert len(feature_windows(model, sound_features(model, sounds(seconds)[0]))) == count


def test_outputs_of_the_audio_encoder_stand_for_its_features(model):
    features = [sound_features(model, sound) for sound in sounds(0.4, 2.5, 1.0)]
    states = audio_states(model, features)
    assert [tuple(rows.shape) for rows in states] == [(1, 32), (3, 32), (1, 32)]
    assert torch.equal(embed_audio_states(model, states), model.embed_features(features))
    window = feature_windows(model, features[1])[1].features[None]
    with torch.no_grad():
        torch.testing.assert_close(
            model.project_audio(states[1][1:2]), model.project_audio(window), rtol=0, atol=1e-5
        )
    assert embed_audio_states(model, []).shape == (0, 12)


def test_windows_of_a_sound_end_with_it(model):
    for seconds, count in ((0.001, 1), (0.7, 1), (2.5, 3)):
        windows = list(sound_windows(model, sounds(seconds)[0]))
        assert len(windows) == count
        assert windows[0].start == 0
        assert seconds - 0.03 < windows[-1].end <= seconds
