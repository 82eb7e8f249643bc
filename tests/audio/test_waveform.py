"""Resampling, and waveforms in memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import audio
from otomatch.audio.waveform import load, resample
from otomatch.errors import AudioError, InvalidInputError
from tests.support.sounds import RATE, band_level, hiss, tone, write_audio


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_resampling_keeps_a_tone_its_level_and_its_length(rate):
    waveform = resample(tone(1000, 1, 0.5, rate), rate, RATE)
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - RATE) <= 1
    np.testing.assert_allclose(waveform[3000:29000], tone(1000, 1, 0.5)[3000:29000], atol=2e-3)
    level = band_level(waveform, 1000)
    assert level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert band_level(waveform, 5000, 2000) < level - 50


def test_resampling_removes_what_the_new_rate_cannot_hold():
    assert np.abs(resample(tone(20000, 1, 0.5, 48000), 48000, RATE)[1000:-1000]).max() < 1e-3


def test_the_same_rate_is_left_alone():
    sound = hiss(0.1)
    assert resample(sound, RATE, RATE) is sound


@given(samples=st.integers(1, 300), rate=st.sampled_from([8000, 22050, 44100, 192000]))
@settings(max_examples=40, deadline=None)
def test_the_shortest_sounds_can_be_resampled(samples, rate):
    waveform = resample(np.full(samples, 0.1, np.float32), rate, RATE)
    assert abs(len(waveform) - samples * RATE / rate) <= 1
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize(("rate", "target"), [(0, RATE), (RATE, -1)])
def test_a_rate_that_is_not_positive_is_refused(rate, target):
    with pytest.raises(
        InvalidInputError, match=r"sample rate in Hz is .*; expected a finite number > 0"
    ):
        resample(hiss(0.1), rate, target)


def test_load_decodes_and_resamples(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(700, 1, rate=22050), 22050)
    assert band_level(load(path, RATE), 700) > -15
    assert abs(len(load(path, RATE, 0.25, 0.75)) - RATE // 2) <= 1


def test_waveforms_of_many_kinds_become_mono_float32():
    sound = hiss(0.1)
    for waveform in (sound, sound.astype(np.float64), torch.from_numpy(sound), sound.tolist()):
        mono = audio.as_mono(waveform)
        assert mono.dtype == np.float32
        np.testing.assert_array_equal(mono, sound)
    stereo = torch.from_numpy(np.stack([sound, -sound / 2])).requires_grad_()
    np.testing.assert_allclose(audio.as_mono(stereo), sound / 4, atol=1e-7)
    np.testing.assert_allclose(audio.as_mono(np.stack([sound] * 3)[:, ::2]), sound[::2])


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.float32(1), r"got \(\)"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.zeros((400, 2)), "transpose"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros(10, np.int16), "int16; divide"),
    ],
)
def test_a_waveform_that_is_none_is_refused(waveform, message):
    with pytest.raises(AudioError, match=message):
        audio.as_mono(waveform)
