"""Long sounds as windows: they cover the sound, overlap, and are those of the whole file."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import audio
from otomatch.audio import decoders
from otomatch.audio.windows import cut, stretches
from otomatch.errors import AudioError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.windowing import sound_windows
from tests.support.sounds import hiss, write_audio, write_container
from tests.support.tiny import tiny_model


@pytest.mark.slow
@given(
    total=st.integers(1, 400),
    size=st.integers(1, 60),
    hop_share=st.floats(0.01, 1),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_stretches_cover_a_waveform_however_it_comes_in_pieces(total, size, hop_share, cuts):
    hop = max(1, round(size * hop_share))
    wave = np.arange(total, dtype=np.float32)
    blocks = np.split(wave, sorted(min(cut, total) for cut in cuts))
    found = list(stretches((block for block in blocks if len(block)), size, hop))
    for start, samples in found[:-1]:
        np.testing.assert_array_equal(samples, wave[start : start + size])
    starts = [start for start, _ in found]
    np.testing.assert_array_equal(found[-1][1], wave[starts[-1] :])
    assert starts[0] == 0
    assert min(total, size) <= len(found[-1][1]) <= 1.02 * size
    steps = np.diff(starts)
    assert (steps[:-1] == hop).all()
    assert (steps > 0).all()
    assert (steps <= hop).all()
    assert len(found) == 1 + max(0, -(-(total - size - size // 50) // hop))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (1.0, [0]),
        (1.001, [0]),
        (1.019, [0]),
        (1.03, [0, 0.03]),
        (1.51, [0, 0.5]),
        (2.01, [0, 0.5, 1]),
    ],
)
def test_a_remainder_of_two_percent_needs_no_window_of_its_own(model, tiny_clap, seconds, starts):
    clap = AudioTextModel.from_pretrained(tiny_clap)  # its windows are of one length exactly
    for made in (model, clap):
        rate = made.audio_encoder.sample_rate
        windows = list(sound_windows(made, (hiss(seconds, rate=rate), rate), 1.0, 0.5))
        assert [w.start for w in windows] == pytest.approx(starts, abs=1e-3)
        assert windows[-1].end == pytest.approx(seconds, abs=1e-3)
        assert {len(w.features) for w in windows} == {made.window_frames}
        assert made.embed_features([w.features for w in windows]).isfinite().all()


@given(total=st.integers(1, 400), size=st.integers(1, 120))
def test_windows_of_features_leave_out_less_than_two_percent(total, size):
    features = torch.arange(total)[:, None]
    windows = cut(features, size, 1.0)
    assert windows[0].start == 0
    assert windows[-1].end == total - 1
    assert {len(w.features) for w in windows} == {min(total, size)}
    heard = torch.cat([w.features for w in windows]).unique()
    assert torch.equal(heard, torch.arange(len(heard)))
    assert total - len(heard) <= size // 50
    step = max(1, size - 1)
    assert len(windows) == 1 + max(0, -(-(total - size - size // 50) // step))


@pytest.fixture(scope="module")
def model(tiny_bert):
    return tiny_model(tiny_bert)


@settings(max_examples=15, deadline=None)
@given(
    seconds=st.sampled_from([0.001, 0.02, 0.5, 0.999, 1.0, 1.001, 1.5, 2.75, 5.3]),
    rate=st.sampled_from([8000, 32000, 44100]),
    hop=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_windows_cover_a_file_within_its_duration(model, tmp_path_factory, seconds, rate, hop):
    path = write_audio(tmp_path_factory.mktemp("w") / "a.wav", hiss(seconds, rate=rate), rate)
    windows = list(sound_windows(model, path, 1.0, hop))
    length = audio.duration(path)[0]
    assert windows[0].start == 0
    assert windows[-1].end == pytest.approx(length, abs=2 / 8000)
    assert all(0 <= w.start < w.end <= length + 1 / 8000 for w in windows)
    assert all(b.start - a.start <= hop + 1e-9 for a, b in pairwise(windows))
    assert all(b.start <= a.end + 1e-9 for a, b in pairwise(windows))
    assert all(len(w.features) <= model.window_frames for w in windows)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.m4a"])
@pytest.mark.parametrize("rate", [32000, 16000])
def test_a_stream_is_the_loaded_file_in_blocks(tmp_path, monkeypatch, name, rate):
    monkeypatch.setattr(decoders, "_BLOCK_SAMPLES", 10_000)
    monkeypatch.setattr(decoders, "_JOINED_SAMPLES", 10_000)
    path = tmp_path / name
    wave = hiss(1.3, rate=44100)
    if name == "a.m4a":
        write_container(path, "aac", wave[None], 44100)
    else:
        write_audio(path, np.stack([wave, wave[::-1]], axis=1), 44100)
    blocks = list(audio.stream(path, rate))
    assert len(blocks) > 3
    assert min(map(len, blocks)) > 0
    np.testing.assert_array_equal(np.concatenate(blocks), audio.load(path, rate))


def test_a_stream_says_what_is_wrong_as_decoding_does(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    loud = write_audio(tmp_path / "loud.wav", hiss(0.1))
    import soundfile

    soundfile.write(loud, np.full(100, np.nan, np.float32), 32000, "FLOAT")
    for name, what in (("empty.wav", "0 bytes"), ("loud.wav", "NaN"), ("none.wav", "no such")):
        with pytest.raises(AudioError, match=what):
            list(audio.stream(tmp_path / name, 32000))
