import sqlite3
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch.datasets.base import Clip
from otomatch.models import clip_loading, feature_cache
from otomatch.models.caption_cache import text_states
from otomatch.models.embedding import embed_clips
from otomatch.models.encoders import SmallAudioEncoder, text_encoder
from otomatch.models.feature_cache import clip_features, clip_states
from otomatch.models.states import audio_states, embed_audio_states
from otomatch.models.windowing import sound_features
from tests.support.sounds import hiss, tone, write_audio
from tests.support.tiny import AUDIO_SETTINGS, tiny_model, write_bert

CAPTIONS = ["a dog barks", "rain", "a dog barks", "the deep hum", "rain"]


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


class Counting:
    """A text encoder that remembers what it was asked for."""

    def __init__(self, encoder):
        self.encoder, self.seen, self.width = encoder, [], encoder.width

    def __call__(self, captions):
        self.seen += captions
        return self.encoder(captions)

    def fingerprint(self):
        return self.encoder.fingerprint()


# --- features ----------------------------------------------------------------------------------


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


# --- outputs of a frozen audio encoder ---------------------------------------------------------


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


# --- captions ----------------------------------------------------------------------------------


def test_every_distinct_caption_is_encoded_once_ever(tiny_bert, tmp_path):
    encoder = Counting(text_encoder(str(tiny_bert)))
    states = text_states(encoder, CAPTIONS, tmp_path)
    assert sorted(encoder.seen) == sorted(set(CAPTIONS))
    torch.testing.assert_close(states, encoder.encoder(CAPTIONS), rtol=1e-5, atol=1e-5)
    encoder.seen.clear()
    assert torch.equal(text_states(encoder, CAPTIONS, tmp_path), states)
    assert encoder.seen == []
    more = text_states(encoder, ["a shrill tone", *CAPTIONS[::-1]], tmp_path)
    assert encoder.seen == ["a shrill tone"]
    assert torch.equal(more[1:], states.flip(0))


def test_another_process_finds_what_was_encoded(tiny_bert, tmp_path):
    text_states(text_encoder(str(tiny_bert)), CAPTIONS, tmp_path)
    fresh = Counting(text_encoder(str(tiny_bert)))
    text_states(fresh, CAPTIONS, tmp_path)
    assert fresh.seen == []


def test_another_encoder_shares_nothing(tiny_bert, tmp_path):
    first = text_states(text_encoder(str(tiny_bert)), CAPTIONS, tmp_path / "cache")
    others = [
        text_encoder(str(tiny_bert), pooling="cls"),
        text_encoder(str(write_bert(tmp_path / "wide", width=24))),
    ]
    for other in others:
        counting = Counting(other)
        states = text_states(counting, CAPTIONS, tmp_path / "cache")
        assert len(counting.seen) == 3
        assert states.shape == (5, other.width)
        assert states.shape != first.shape or not torch.allclose(states, first, atol=1e-3)


def test_no_captions_need_no_encoder(tiny_bert, tmp_path):
    encoder = Counting(text_encoder(str(tiny_bert)))
    assert text_states(encoder, [], tmp_path).shape == (0, 16)
    assert encoder.seen == []


def test_what_was_encoded_before_a_kill_is_kept(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_loading, "CHUNK", 1)  # 16 captions at a time
    captions = [f"rain {'a ' * i}dog" for i in range(40)]
    encoder = Counting(text_encoder(str(tiny_bert)))
    expected = text_states(encoder, captions, tmp_path / "whole")
    encoder.seen.clear()

    class Killed(Counting):
        def __call__(self, captions):
            if len(self.seen) >= 32:
                raise KeyboardInterrupt
            return super().__call__(captions)

    with pytest.raises(KeyboardInterrupt):
        text_states(Killed(encoder.encoder), captions, tmp_path / "cache")
    assert torch.equal(text_states(encoder, captions, tmp_path / "cache"), expected)
    assert len(encoder.seen) == 8


def test_many_writers_at_once_lose_nothing(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_loading, "CHUNK", 1)
    encoder = text_encoder(str(tiny_bert))
    captions = [f"rain {'a ' * i}dog" for i in range(30)]
    found, errors = {}, []

    def work(i):
        try:
            found[i] = text_states(encoder, captions[i * 3 :], tmp_path)
        except sqlite3.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    expected = encoder(captions)
    for i, states in found.items():
        torch.testing.assert_close(states, expected[i * 3 :], rtol=1e-5, atol=1e-5)
    counting = Counting(encoder)
    text_states(counting, captions, tmp_path)
    assert counting.seen == []


# --- clips -------------------------------------------------------------------------------------


def test_clips_are_embedded_like_their_files_and_broken_ones_are_listed(
    clips, tiny_bert, monkeypatch
):
    model = tiny_model(tiny_bert)
    monkeypatch.setattr(clip_loading, "CHUNK", 2)  # the broken one shares a chunk with a good one
    embedded = embed_clips(model, clips)
    assert embedded.rows == [0, 2, 3, 4]
    assert [entry.name for entry in embedded.skipped] == ["1.wav"]
    expected = model.embed_audio([clips[row].path for row in (0, 2, 3)])
    torch.testing.assert_close(embedded.vectors[:3], expected, rtol=0, atol=1e-5)
    assert (embedded.vectors[3] - embedded.vectors[0]).norm() > 1e-3
    torch.testing.assert_close(embedded.vectors.norm(dim=1), torch.ones(4))


def test_only_broken_clips_give_no_vectors(clips, tiny_bert):
    embedded = embed_clips(tiny_model(tiny_bert), [clips[1]])
    assert embedded.vectors.shape == (0, 12)
    assert (embedded.rows, len(embedded.skipped)) == ([], 1)


def test_progress_goes_to_the_error_stream(clips, encoder, tmp_path, tiny_bert, capsys):
    clip_features(clips, encoder, tmp_path, progress=True)
    embed_clips(tiny_model(tiny_bert), clips, progress=True)
    assert capsys.readouterr().out == ""


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
