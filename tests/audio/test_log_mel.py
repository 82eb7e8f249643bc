"""Log-mel spectrograms, compared with those of librosa."""

import librosa
import numpy as np
import pytest
import torch

from otomatch.audio import log_mel
from otomatch.audio.log_mel import LogMel, LogMelConfig, mel_filterbank
from otomatch.audio.waveform import load
from tests.support.sounds import RATE, hiss, tone

CONFIGS = [
    LogMelConfig(),
    LogMelConfig(hop=640),
    LogMelConfig(sample_rate=16000, n_fft=512, hop=160, mels=128, low=0, high=8000),
    LogMelConfig(sample_rate=44100, n_fft=2048, hop=441, mels=40, low=20, high=20000),
]


def librosa_log_mel(waveform, c):
    power = librosa.feature.melspectrogram(
        y=waveform, sr=c.sample_rate, n_fft=c.n_fft, hop_length=c.hop, n_mels=c.mels,
        fmin=c.low, fmax=c.high, center=True, pad_mode="reflect", power=2.0,
        norm="slaney", htk=False,
    )  # fmt: skip
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_the_filterbank_equals_librosas(config):
    c = config
    found = mel_filterbank(c.sample_rate, c.n_fft, c.mels, c.low, c.high)
    expected = librosa.filters.mel(
        sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.mels, fmin=c.low, fmax=c.high
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.345])
def test_log_mel_equals_librosas(config, seconds):
    rate = config.sample_rate
    sound = hiss(seconds, 0.1, rate=rate) + tone(1000, seconds, 0.5, rate)
    sound[: len(sound) // 3] *= 1e-4
    found = LogMel(config)(torch.from_numpy(sound)).numpy()
    expected = librosa_log_mel(sound, config)
    assert found.shape == expected.shape == (len(sound) // config.hop + 1, config.mels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_log_mel_of_real_recordings_equals_librosas(esc10):
    for path in sorted((esc10).rglob("*.wav"))[:3] or sorted(esc10.rglob("*.ogg"))[:3]:
        waveform = load(path, RATE)
        found = LogMel()(torch.from_numpy(waveform)).numpy()
        np.testing.assert_allclose(found, librosa_log_mel(waveform, LogMelConfig()), atol=5e-3)


def test_log_mel_of_silence_is_its_floor():
    torch.testing.assert_close(LogMel()(torch.zeros(5000)), torch.full((16, 64), -100.0))


def test_log_mel_of_a_batch_is_that_of_each():
    batch = torch.from_numpy(np.stack([hiss(0.5, seed=i) for i in range(6)]).reshape(2, 3, -1))
    found = LogMel()(batch)
    assert found.shape == (2, 3, 51, 64)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], LogMel()(batch[i, j]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 320, 513, 1023])
def test_a_sound_shorter_than_a_window_is_padded_with_silence(samples):
    sound = torch.from_numpy(hiss(1)[:samples])
    padded = torch.nn.functional.pad(sound, (0, 1024 - samples))
    torch.testing.assert_close(LogMel()(sound), LogMel()(padded))
    assert LogMel()(sound).shape == (4, 64)


@pytest.mark.slow
def test_an_hour_in_blocks_equals_an_hour_at_once(monkeypatch):
    config = LogMelConfig(sample_rate=2000, n_fft=64, hop=40, mels=8, high=1000)
    hour = torch.randn(3600 * 2000, generator=torch.Generator().manual_seed(0))
    blocks = LogMel(config)(hour)
    assert blocks.shape == (180_001, 8)
    monkeypatch.setattr(log_mel, "_BLOCK_FRAMES", 10**9)
    torch.testing.assert_close(blocks, LogMel(config)(hour), rtol=0, atol=1e-3)
