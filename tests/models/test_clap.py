"""A whole CLAP as a model: its embeddings are those of transformers."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from otomatch import AudioTextModel, SoundLibrary, evaluate
from otomatch.cli import app
from otomatch.library import find_sounds
from otomatch.models.encoders import AudioEncoder, TextEncoder, audio_encoder
from otomatch.models.fingerprints import audio_fingerprint
from otomatch.models.windowing import feature_windows, sound_features
from tests.support.sounds import silence, tone, write_audio
from tests.support.tiny import CLAP_RATE, chirp, write_clap, write_tones

CAPTIONS = ["a dog barks", "rain", "", "the deep steady hum then a whistle"]


@pytest.fixture(scope="module")
def model(tiny_clap):
    return AudioTextModel.from_pretrained(tiny_clap)


@pytest.fixture(scope="module")
def theirs(tiny_clap):
    """ClapModel and its processor, as transformers loads them."""
    from transformers import ClapModel, ClapProcessor

    processor = ClapProcessor.from_pretrained(tiny_clap)
    return ClapModel.from_pretrained(tiny_clap).eval(), processor


@torch.no_grad()
def their_audio(theirs, sounds):
    clap, processor = theirs
    extract = processor.feature_extractor
    features = extract(sounds, sampling_rate=CLAP_RATE, return_tensors="pt")
    return clap.get_audio_features(**features).pooler_output


@torch.no_grad()
def their_text(theirs, captions):
    clap, processor = theirs
    tokens = [processor.tokenizer(caption, return_tensors="pt") for caption in captions]
    return torch.cat([clap.get_text_features(**t).pooler_output for t in tokens])


@pytest.mark.slow
@given(samples=st.lists(st.integers(1, CLAP_RATE), min_size=1, max_size=4), seed=st.integers(0, 99))
@example(samples=[5], seed=0)  # periodic to the sample: silence between its harmonics
@settings(max_examples=25, deadline=None)
def test_sounds_up_to_ten_seconds_have_the_embeddings_of_transformers(model, theirs, samples, seed):
    sounds = [
        chirp(n / CLAP_RATE, seed + i) for i, n in enumerate(samples)
    ]  # 1 s, not 10, fills it
    found = model.embed_audio([(sound, CLAP_RATE) for sound in sounds])
    torch.testing.assert_close(found, their_audio(theirs, sounds), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sound",
    [silence(0.3, CLAP_RATE), tone(440, 1.0, rate=CLAP_RATE), 1e-4 * chirp(0.7), 30 * chirp(1.0)],
    ids=["silence", "pure tone", "quiet", "clipped"],
)
def test_odd_sounds_have_the_embeddings_of_transformers_too(sound, model, theirs):
    found = model.embed_audio([(sound, CLAP_RATE)])
    torch.testing.assert_close(found, their_audio(theirs, [sound]), rtol=0, atol=1e-5)


def test_captions_have_the_embeddings_of_transformers(model, theirs):
    found = model.embed_text(CAPTIONS)
    torch.testing.assert_close(found, their_text(theirs, CAPTIONS), rtol=0, atol=1e-5)
    assert (torch.cdist(found, found) + torch.eye(4)).min() > 1e-2


def test_features_of_a_long_sound_are_those_of_the_extractor_without_its_truncation(model, theirs):
    sound = chirp(2.37)
    extract = theirs[1].feature_extractor
    expected = extract(
        sound, max_length=len(sound), sampling_rate=CLAP_RATE, return_tensors="pt"
    ).input_features[0, 0]
    found = model.audio_encoder.features(torch.from_numpy(sound))
    assert found.shape == expected.shape == (238, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)  # dB


def test_a_long_sound_is_the_mean_of_its_windows_every_time(model, theirs):
    sound = chirp(2.37) * np.linspace(0, 1, round(2.37 * CLAP_RATE), dtype=np.float32)
    found = model.embed_audio([(sound, CLAP_RATE)])
    assert torch.equal(found, model.embed_audio([(sound, CLAP_RATE)]))
    np.random.seed(0)  # noqa: NPY002 (transformers crops with the global generator)
    crops = torch.cat([their_audio(theirs, [sound]) for _ in range(4)])
    assert (torch.pdist(crops) > 1e-3).any()  # what users of CLAP complain about
    windows = feature_windows(model, sound_features(model, (sound, CLAP_RATE)))
    assert [len(window.features) for window in windows] == [101, 101, 101]
    clap = theirs[0]
    with torch.no_grad():
        batch = torch.stack([window.features for window in windows])[:, None]
        mean = clap.get_audio_features(batch).pooler_output.mean(0)
    torch.testing.assert_close(found[0], mean / mean.norm(), rtol=0, atol=1e-5)


def test_a_clap_is_a_model_without_heads_and_with_the_euclidean_metric(model):
    assert isinstance(model.audio_encoder, AudioEncoder)
    assert isinstance(model.text_encoder, TextEncoder)
    assert (model.settings["dim"], model.settings["window_seconds"]) == (12, 1.0)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    audio, text = model.embed_audio([(chirp(0.4), CLAP_RATE)]), model.embed_text(CAPTIONS)
    torch.testing.assert_close(model.distance(audio, text), torch.cdist(audio, text))


def test_each_end_holds_its_own_half_of_the_weights(model, theirs):
    halves = [
        sum(p.numel() for p in e.parameters()) for e in (model.audio_encoder, model.text_encoder)
    ]
    scales = 2  # the temperatures, which embeddings do not depend on
    assert sum(halves) == sum(p.numel() for p in theirs[0].parameters()) - scales
    assert min(halves) > 1000


def test_loading_prints_nothing(tiny_clap, capfd):
    AudioTextModel.from_pretrained(tiny_clap)
    assert capfd.readouterr() == ("", "")


def test_a_saved_clap_needs_nothing_else_and_is_the_same_model(tmp_path):
    source = write_clap(tmp_path / "clap", seed=4)
    model = AudioTextModel.from_pretrained(source)
    sounds = [(chirp(0.4), CLAP_RATE), (chirp(1.9, 1), CLAP_RATE)]
    expected = model.embed_audio(sounds), model.embed_text(CAPTIONS)
    model.save_pretrained(tmp_path / "model")
    shutil.rmtree(source)
    moved = (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = AudioTextModel.from_pretrained(moved)
    assert torch.equal(again.embed_audio(sounds), expected[0])
    assert torch.equal(again.embed_text(CAPTIONS), expected[1])
    assert again.fingerprint == model.fingerprint
    assert not again.audio_encoder.trainable
    assert not again.text_encoder.trainable
    endings = {path.suffix for path in moved.rglob("*") if path.is_file()}
    assert endings <= {".json", ".safetensors", ".md"}
    again.save_pretrained(tmp_path / "third")
    assert AudioTextModel.from_pretrained(tmp_path / "third").fingerprint == model.fingerprint


def test_the_audio_half_is_described_and_built_again(model):
    description = model.audio_encoder.describe()
    again = audio_encoder(**json.loads(json.dumps(description)))
    assert again.describe() == description
    assert again.feature_key == model.audio_encoder.feature_key
    again.load_state_dict(model.audio_encoder.state_dict())
    features = again.features(torch.from_numpy(chirp(0.6)))[None]
    with torch.no_grad():
        assert torch.equal(again.eval()(features), model.audio_encoder(features))


def test_another_clap_has_another_fingerprint(model, tmp_path):
    other = AudioTextModel.from_pretrained(write_clap(tmp_path, seed=1))
    assert other.fingerprint != model.fingerprint
    assert audio_fingerprint(other) != audio_fingerprint(model)


def test_a_clap_is_evaluated_like_any_model(model, tmp_path):
    data = write_tones(tmp_path, clips=8)
    report = evaluate(model, data)
    assert (report.clips, report.captions) == (8, 16)


@pytest.mark.slow
def test_the_command_line_indexes_with_a_clap_and_spans_end_with_their_sounds(tiny_clap, tmp_path):
    lengths = {"short": 0.3, "whole": 1.0, "long": 2.5}
    for i, (name, seconds) in enumerate(lengths.items()):
        write_audio(tmp_path / "sounds" / f"{name}.wav", chirp(seconds, i), CLAP_RATE)
    arguments = ["--model", str(tiny_clap), "--library", str(tmp_path / "library")]
    result = CliRunner().invoke(app, ["index", str(tmp_path / "sounds"), *arguments])
    assert result.exit_code == 0, result.output
    library = SoundLibrary.open(tmp_path / "library")
    assert len(library) == 1 + 1 + 4
    hits = {hit.path.rpartition("/")[2]: hit for hit in library.search("rain", k=3)}
    assert (hits["short.wav"].start, hits["short.wav"].end) == (0, pytest.approx(0.3))
    assert (hits["whole.wav"].start, hits["whole.wav"].end) == (0, pytest.approx(1.0))
    assert hits["long.wav"].end - hits["long.wav"].start == pytest.approx(1.0)
    model = AudioTextModel.from_pretrained(tiny_clap)
    files = find_sounds(tmp_path / "sounds", "[sw]*")
    vectors = model.embed_audio([file.path for file in files])
    for file, distance in zip(
        files, model.distance(vectors, model.embed_text(["rain"])), strict=True
    ):
        assert hits[file.path.name].distance == pytest.approx(float(distance), abs=1e-4)
