"""Features and encoder outputs of clips: computed once, mapped from disk, never half-written."""

import sys
import threading

import numpy as np
import pytest
import torch

from otomatch.datasets.base import Clip
from otomatch.models import clip_loading, feature_cache
from otomatch.models.encoders import SmallAudioEncoder
from otomatch.models.feature_cache import clip_features, clip_states
from otomatch.models.states import audio_states, embed_audio_states
from otomatch.models.windowing import sound_features
from tests.support.sounds import tone, write_audio
from tests.support.tiny import AUDIO_SETTINGS, tiny_model


def test_features_are_those_of_the_encoder_and_broken_clips_are_listed(clips, encoder, tmp_path):
    features = clip_features(clips, encoder, tmp_path)
    assert len(features) == 5
    assert features.lengths.tolist() == [16, 0, 46, 61, 6]
    assert [entry.name for entry in features.skipped] == ["1.wav"]
    assert "cannot be decoded" in features.skipped[0].reason
    for row, clip in enumerate(clips):
        if row == 1:
            assert features[row].shape == (0, 64)
            continue
        waveform = torch.from_numpy(clip_loading.audio.load(clip.path, 32000, clip.start, clip.end))
        expected = encoder.features(waveform).numpy()
        np.testing.assert_allclose(features[row], expected, rtol=0, atol=0.05)  # half precision


def test_features_are_mapped_from_disk_and_not_held_in_memory(clips, encoder, tmp_path):
    features = clip_features(clips, encoder, tmp_path)
    assert isinstance(features.values, np.memmap)
    assert features.values.dtype == np.float16
    with pytest.raises(ValueError, match="read-only"):
        features.values[0] = 0


def test_a_second_time_nothing_is_decoded(clips, encoder, tmp_path, decoded):
    first = clip_features(clips, encoder, tmp_path)
    assert sorted(decoded) == ["0.wav", "0.wav", "1.wav", "2.wav", "3.wav"]
    decoded.clear()
    second = clip_features(clips, encoder, tmp_path)
    assert decoded == []
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    assert first.skipped == second.skipped


def test_a_file_that_changed_is_decoded_again(clips, encoder, tmp_path, decoded):
    clip_features(clips, encoder, tmp_path)
    decoded.clear()
    write_audio(clips[1].path, tone(440, 0.3))
    features = clip_features(clips, encoder, tmp_path)
    assert decoded
    assert features.skipped == ()
    assert features.lengths[1] == 16


@pytest.mark.parametrize("change", ["span", "order", "front end"])
def test_other_clips_or_another_front_end_are_not_taken_from_the_cache(
    change, clips, encoder, tmp_path, decoded
):
    clip_features(clips, encoder, tmp_path)
    decoded.clear()
    other = SmallAudioEncoder(**AUDIO_SETTINGS)
    if change == "span":
        clips[-1] = Clip(clips[0].path, ("part",), "other part", start=0.1, end=0.25)
    elif change == "order":
        clips.reverse()
    else:
        other.feature_key = "another"
    clip_features(clips, other, tmp_path)
    assert len(decoded) == 5


def test_the_weights_of_the_encoder_do_not_matter(clips, encoder, tmp_path, decoded):
    clip_features(clips, encoder, tmp_path)
    decoded.clear()
    clip_features(clips, SmallAudioEncoder(channels=(2, 2, 2, 2), hidden=3), tmp_path)
    assert decoded == []


def test_clips_that_are_all_broken_and_no_clips_at_all_give_no_features(clips, encoder, tmp_path):
    broken = clip_features([clips[1]], encoder, tmp_path)
    assert (len(broken), len(broken.skipped)) == (1, 1)
    assert broken[0].shape == (0, 64)
    assert len(clip_features([], encoder, tmp_path)) == 0


def test_an_interrupted_run_leaves_nothing_that_is_taken_for_complete(
    clips, encoder, tmp_path, monkeypatch
):
    original = clip_loading.audio.load

    def load(path, *args):
        if path.name == "3.wav":
            raise KeyboardInterrupt
        return original(path, *args)

    monkeypatch.setattr(clip_loading.audio, "load", load)
    with pytest.raises(KeyboardInterrupt):
        clip_features(clips, encoder, tmp_path / "cache")
    monkeypatch.undo()
    assert list((tmp_path / "cache" / "features").iterdir()) == []
    assert clip_features(clips, encoder, tmp_path / "cache").lengths[3] == 61


def test_two_at_once_get_the_same_features(clips, encoder, tmp_path, monkeypatch):
    barrier = threading.Barrier(2)
    original = feature_cache.json.dumps

    def dumps(value):
        barrier.wait(20)  # both have computed everything before either renames
        return original(value)

    monkeypatch.setattr(feature_cache.json, "dumps", dumps)
    found, threads = [], []
    for _ in range(2):
        threads.append(
            threading.Thread(target=lambda: found.append(clip_features(clips, encoder, tmp_path)))
        )
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    np.testing.assert_array_equal(found[0].values, found[1].values)
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_states_are_those_of_the_model_for_every_window(clips, tiny_bert, tmp_path, monkeypatch):
    model = tiny_model(tiny_bert, window_seconds=0.5)
    monkeypatch.setattr(clip_loading, "CHUNK", 2)  # the broken one shares a chunk with a good one
    states = clip_states(clips, model, tmp_path)
    assert isinstance(states.values, np.memmap)
    assert states.values.dtype == np.float32
    assert states.lengths.tolist() == [1, 0, 2, 3, 1]
    assert [entry.name for entry in states.skipped] == ["1.wav"]
    for row in (0, 2, 3):
        (expected,) = audio_states(model, [sound_features(model, clips[row].path)])
        np.testing.assert_allclose(states[row], expected, rtol=1e-5, atol=1e-5)
    rows = [0, 2, 3]
    torch.testing.assert_close(
        embed_audio_states(model, [torch.from_numpy(np.array(states[row])) for row in rows]),
        model.embed_audio([clips[row].path for row in rows]),
        rtol=0,
        atol=1e-5,
    )


def test_states_are_computed_again_only_for_another_encoder_or_window_or_other_clips(
    clips, tiny_bert, tmp_path, decoded
):
    model = tiny_model(tiny_bert)
    first = clip_states(clips, model, tmp_path)
    with torch.no_grad():
        model.audio_head[0].weight += 1  # training changes the heads; it must not matter
        model.ground.project_()
    decoded.clear()
    np.testing.assert_array_equal(clip_states(clips, model, tmp_path).values, first.values)
    assert decoded == []
    assert len(clip_states(clips[::-1], model, tmp_path)) == 5
    assert len(decoded) == 5
    clip_states(clips, tiny_model(tiny_bert, window_seconds=0.3), tmp_path)
    assert len(decoded) == 10
    with torch.no_grad():
        model.audio_encoder.input_norm.running_mean += 1
    assert not np.allclose(clip_states(clips, model, tmp_path).values, first.values)
    assert len(decoded) == 15


def test_installing_the_decoder_of_containers_makes_a_difference(
    encoder, tmp_path, monkeypatch, decoded
):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A ")
    clips = [Clip(path, ("a",), "a.m4a")]
    monkeypatch.setattr(feature_cache, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install" in clip_features(clips, encoder, tmp_path).skipped[0].reason
    monkeypatch.setattr(feature_cache, "find_spec", lambda _: "found")
    clip_features(clips, encoder, tmp_path)
    assert len(decoded) == 2
