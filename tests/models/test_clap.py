import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from otomatch import AudioTextModel, SoundLibrary, evaluate, train
from otomatch.cli import app
from otomatch.errors import InvalidInputError, ModelError
from otomatch.library import find_sounds
from otomatch.models.encoders import AudioEncoder, TextEncoder, audio_encoder, text_encoder
from otomatch.models.fingerprints import audio_fingerprint
from otomatch.models.windowing import feature_windows, sound_features
from otomatch.training.trainer import build_model
from tests.support.sounds import hiss, silence, tone, write_audio
from tests.support.tiny import CLAP_RATE, tiny_config, write_bert, write_clap, write_tones

CAPTIONS = ["a dog barks", "rain", "", "the deep steady hum then a whistle"]


def chirp(seconds, seed=0):
    rng = np.random.default_rng(seed)
    sound = tone(float(rng.uniform(100, 3000)), seconds, rate=CLAP_RATE)
    return sound + hiss(seconds, 0.02, seed, CLAP_RATE)


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


# --- parity with transformers ------------------------------------------------------------------


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


# --- as it is ----------------------------------------------------------------------------------


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


# --- under heads -------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", ["false", "true"])
@pytest.mark.parametrize("hidden", [0, 16])
def test_a_clap_trains_frozen_or_not_with_heads_or_without(trainable, hidden, tiny_clap, tmp_path):
    data = write_tones(tmp_path / "data", clips=16)
    config = tiny_config(
        data,
        tiny_clap,
        f"audio.encoder='clap:{tiny_clap}'",
        f"audio.trainable={trainable}",
        "audio.settings={}",
        f"text.encoder='clap:{tiny_clap}'",
        f"text.trainable={trainable}",
        "text.dropout=0.2",
        "model.window_seconds=1",
        f"model.hidden={hidden}",
        "optim.epochs=1",
    )
    before = build_model(config)
    after = AudioTextModel.from_pretrained(train(config, tmp_path / "run", progress=False).model)
    assert after.fingerprint != before.fingerprint
    for part in ("audio_encoder", "text_encoder"):
        old, new = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        same = all(torch.equal(old[key], new[key]) for key in old)
        assert same == (trainable == "false")
        assert getattr(after, part).trainable == (trainable == "true")
    assert after.text_encoder.dropout == 0.2


def test_gradients_reach_every_weight_of_both_halves(tiny_clap):
    audio = audio_encoder(f"clap:{tiny_clap}")
    text = text_encoder(f"clap:{tiny_clap}", trainable=True)
    features = torch.stack([audio.features(torch.from_numpy(chirp(0.5, i))) for i in range(2)])
    (audio.eval()(features).square().sum() + text.eval()(CAPTIONS).square().sum()).backward()
    for name, parameter in [*audio.named_parameters(), *text.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# --- what is refused ---------------------------------------------------------------------------


def test_a_fused_clap_is_refused_with_the_name_of_an_unfused_one(tmp_path):
    write_clap(tmp_path, fused=True)
    with pytest.raises(ModelError, match=r"fused CLAP.*laion/clap-htsat-unfused"):
        AudioTextModel.from_pretrained(tmp_path)


def test_another_way_to_fill_up_short_sounds_is_refused(tmp_path):
    path = write_clap(tmp_path) / "processor_config.json"
    path.write_text(path.read_text().replace('"repeatpad"', '"pad"'))
    with pytest.raises(ModelError, match="by 'pad', expected 'repeatpad'"):
        audio_encoder(f"clap:{tmp_path}")


def test_what_is_no_clap_is_refused_at_both_ends(tiny_bert, tmp_path):
    for build in (audio_encoder, text_encoder):
        with pytest.raises(ModelError, match="is of the type 'bert', not a CLAP"):
            build(f"clap:{tiny_bert}")
        with pytest.raises(ModelError, match=r"has no config\.json"):
            build(f"clap:{tmp_path}")
        with pytest.raises(ModelError, match="cannot be loaded"):
            build("clap:nobody/nothing")


@pytest.mark.parametrize("build", [audio_encoder, text_encoder])
def test_a_pickle_is_never_loaded_and_weights_are_never_made_up(build, tmp_path):
    write_clap(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    last = f"{build.__name__.partition('_')[0]}_projection.linear2.weight"
    save_file({key: state[key] for key in state if key != last}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*projection\.linear2.weight"):
        build(f"clap:{tmp_path}")
    path.unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        build(f"clap:{tmp_path}")


def test_a_folder_without_the_settings_of_the_front_end_is_refused(tmp_path):
    write_clap(tmp_path)
    (tmp_path / "processor_config.json").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        audio_encoder(f"clap:{tmp_path}")


def test_wrong_arguments_are_refused(tiny_clap, model, tiny_bert):
    name = f"clap:{tiny_clap}"
    for wrong in (
        lambda: audio_encoder("clap"),
        lambda: audio_encoder(name, config={}, window_seconds=1.0),
        lambda: audio_encoder(name, checkpoint=tiny_clap),
    ):
        with pytest.raises(InvalidInputError, match="checkpoint"):
            wrong()
    with pytest.raises(InvalidInputError, match=r"pooling must be one of \('projection',\)"):
        text_encoder(name, pooling="mean")
    with pytest.raises(InvalidInputError, match="exactly 101 frames"):
        model.audio_encoder(torch.zeros(2, 90, 16))
    with pytest.raises(InvalidInputError, match="exactly 101 frames"):
        model.audio_encoder(torch.zeros(2, 101, 16), torch.tensor([101, 90]))
    with pytest.raises(InvalidInputError, match=r"exactly 1.0 s.*window_seconds = 10.0"):
        AudioTextModel(audio_encoder(name), text_encoder(str(tiny_bert)))
    with pytest.raises(InvalidInputError, match="12 wide and dim = 8; set dim = 12"):
        AudioTextModel(audio_encoder(name), model.text_encoder, dim=8, hidden=0, window_seconds=1.0)


def test_a_clap_with_heads_goes_with_another_text_encoder(tiny_clap, tmp_path):
    bert = text_encoder(str(write_bert(tmp_path)))
    model = AudioTextModel(audio_encoder(f"clap:{tiny_clap}"), bert, dim=8, window_seconds=1.0)
    assert model.embed_audio([(chirp(0.4), CLAP_RATE)]).shape == (1, 8)
    assert model.embed_text(CAPTIONS).shape == (4, 8)
