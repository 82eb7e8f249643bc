"""The audio-text model: unit vectors of sounds and captions, and the learned distance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import AudioError, InvalidInputError
from otomatch.transport.ground_metrics import GROUND_METRICS
from tests.support.sounds import RATE, hiss, silence, tone, write_audio
from tests.support.tiny import sounds, tiny_model

CAPTIONS = ["a dog barks", "rain", "the deep steady hum"]


def test_embeddings_are_unit_vectors_in_float32_on_the_cpu(model):
    for vectors in (model.embed_audio(sounds(0.3, 1.5)), model.embed_text(CAPTIONS)):
        assert vectors.dtype == torch.float32
        assert vectors.device.type == "cpu"
        assert not vectors.requires_grad
        assert vectors.shape[1] == 12
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))


def test_a_path_and_its_waveform_give_the_same_vector(model, tmp_path):
    stereo = np.stack([hiss(0.8), tone(700, 0.8)], axis=1)
    path = write_audio(tmp_path / "a.wav", stereo, 22050)
    read, rate = stereo.astype(np.float32), 22050
    quantised = np.round(read * 32768) / 32768
    found = model.embed_audio(
        [path, str(path), (quantised.T, rate), (torch.from_numpy(read.T), rate)]
    )
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[0], found[3], rtol=0, atol=1e-3)


def test_a_sound_gives_the_same_vector_every_time_in_any_mode(model):
    clip = sounds(1.7)
    first = model.embed_audio(clip)
    assert torch.equal(model.embed_audio(clip), first)
    model.train()
    try:
        assert torch.equal(model.embed_audio(clip), first)
        assert torch.equal(model.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
        assert model.training  # left as it was
    finally:
        model.eval()


@given(seconds=st.lists(st.floats(0.001, 3.5), min_size=2, max_size=6))
@settings(max_examples=15, deadline=None)
def test_a_sound_is_embedded_alone_as_among_others_of_any_length(model, seconds):
    clips = sounds(*seconds)
    together = model.embed_audio(clips)
    alone = torch.cat([model.embed_audio([clip]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_a_caption_is_embedded_alone_as_among_others(model):
    together = model.embed_text(CAPTIONS)
    alone = torch.cat([model.embed_text([caption]) for caption in CAPTIONS])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    states = model.text_encoder(CAPTIONS)
    torch.testing.assert_close(model.embed_text(states), together, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "waveform",
    [silence(1.0), tone(440, 0.01), np.zeros(1, np.float32), 5000 * hiss(0.5)],
    ids=["silence", "10 ms", "one sample", "far too loud"],
)
def test_odd_sounds_have_finite_vectors(model, waveform):
    vectors = model.embed_audio([(waveform, RATE)])
    assert vectors.isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(1))


@pytest.mark.slow
def test_a_file_of_ten_minutes_is_embedded(model, tmp_path):
    path = write_audio(tmp_path / "long.flac", hiss(600, rate=16000), 16000)
    vectors = model.embed_audio([path])
    assert vectors.shape == (1, 12)
    assert vectors.isfinite().all()


def test_many_clips_keep_their_order(model, monkeypatch):
    clips = sounds(0.9, 0.1, 2.2, 0.5, 1.3)
    whole = model.embed_audio(clips)
    monkeypatch.setattr("otomatch.models.states.BATCH", 2)
    torch.testing.assert_close(model.embed_audio(clips), whole, rtol=0, atol=1e-5)


def test_nothing_gives_no_vectors(model):
    assert model.embed_audio([]).shape == (0, 12)
    assert model.embed_text([]).shape == (0, 12)


def test_real_recordings_have_different_vectors_that_do_not_depend_on_the_batch(model, esc10):
    paths = sorted(path for path in esc10.rglob("*") if path.suffix in {".wav", ".ogg"})[:60:12]
    together = model.embed_audio(paths)
    alone = torch.cat([model.embed_audio([path]) for path in paths])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (torch.cdist(together, together) + torch.eye(len(paths)) > 1e-3).all()


@pytest.mark.parametrize(
    ("clips", "error", "message"),
    [
        ("a.wav", InvalidInputError, "must be a list, got the single path a.wav"),
        (["gone.wav"], AudioError, r"gone\.wav"),
        ([(np.zeros(0), RATE)], AudioError, "no samples"),
        ([(np.zeros(10), 0)], InvalidInputError, "sample rate in Hz is"),
        ([(np.full(10, np.nan), RATE)], AudioError, "NaN"),
    ],
)
def test_what_is_no_list_of_sounds_is_refused(model, clips, error, message):
    with pytest.raises(error, match=message):
        model.embed_audio(clips)


def test_a_single_caption_outside_a_list_is_refused(model):
    with pytest.raises(InvalidInputError, match="got one string"):
        model.embed_text("a dog barks")


@pytest.mark.parametrize("ground", sorted(GROUND_METRICS))
def test_distance_is_the_euclidean_one_between_whitened_vectors(ground, tiny_bert):
    model = tiny_model(tiny_bert, ground)
    audio, text = model.embed_audio(sounds(0.4, 0.7, 1.2)), model.embed_text(CAPTIONS[:2])
    matrix = model.ground.matrix.detach()
    offsets = audio[:, None] - text
    expected = torch.einsum("nmi,ij,nmj->nm", offsets, matrix, offsets).sqrt()
    found = model.distance(audio, text)
    assert found.shape == (3, 2)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    whitened = torch.cdist(model.whiten(audio), model.whiten(text))
    torch.testing.assert_close(whitened, expected, rtol=1e-4, atol=1e-5)
    if ground != "identity":
        assert not torch.allclose(found, torch.cdist(audio, text), atol=1e-2)


def test_an_unknown_ground_metric_is_refused(tiny_bert):
    with pytest.raises(InvalidInputError, match=r"unknown ground metric 'round'; .*full"):
        tiny_model(tiny_bert, "round")


def test_a_single_pair_instead_of_a_list_is_refused_with_what_to_do(model):
    with pytest.raises(InvalidInputError, match="into one"):
        model.embed_audio((np.zeros(3200, np.float32), 32000))


@pytest.mark.parametrize("rate", ["32000", 0, -1, None])
def test_a_rate_that_is_no_positive_number_is_refused(model, rate):
    with pytest.raises(InvalidInputError, match="sample rate"):
        model.embed_audio([(np.zeros(3200, np.float32), rate)])
