import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from otomatch import AudioTextModel
from otomatch.errors import AudioError, InvalidInputError, ModelError
from otomatch.models.encoders import SmallAudioEncoder, text_encoder
from otomatch.models.states import audio_states, embed_audio_states
from otomatch.models.windowing import feature_windows, sound_features, sound_windows
from otomatch.transport.ground_metrics import GROUND_METRICS
from tests.support.sounds import RATE, hiss, silence, tone, write_audio
from tests.support.tiny import AUDIO_SETTINGS, tiny_model, write_bert

CAPTIONS = ["a dog barks", "rain", "the deep steady hum"]


@pytest.fixture(scope="module")
def model(tiny_bert):
    return tiny_model(tiny_bert)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder, "# A card\n")
    return folder


def copy(folder, to):
    return shutil.copytree(folder, to / "copy")


def sounds(*seconds):
    return [(hiss(s, seed=i) + tone(300 * (i + 1), s), RATE) for i, s in enumerate(seconds)]


# --- audio -------------------------------------------------------------------------------------


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


def test_a_file_of_ten_minutes_is_embedded(model, tmp_path):
    path = write_audio(tmp_path / "long.flac", hiss(600, rate=16000), 16000)
    vectors = model.embed_audio([path])
    assert vectors.shape == (1, 12)
    assert vectors.isfinite().all()


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
        ([(np.zeros(10), 0)], InvalidInputError, "positive"),
        ([(np.full(10, np.nan), RATE)], AudioError, "NaN"),
    ],
)
def test_what_is_no_list_of_sounds_is_refused(model, clips, error, message):
    with pytest.raises(error, match=message):
        model.embed_audio(clips)


def test_a_single_caption_outside_a_list_is_refused(model):
    with pytest.raises(InvalidInputError, match="got one string"):
        model.embed_text("a dog barks")


# --- distance ----------------------------------------------------------------------------------


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


# --- save and load -----------------------------------------------------------------------------


@pytest.mark.parametrize("ground", sorted(GROUND_METRICS))
@pytest.mark.parametrize("trainable", [False, True])
def test_a_saved_model_comes_back_exactly(ground, trainable, tiny_bert, tmp_path):
    model = tiny_model(tiny_bert, ground, trainable)
    audio, text = model.embed_audio(sounds(0.5, 1.4)), model.embed_text(CAPTIONS)
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    assert not again.training
    assert again.settings == model.settings
    assert again.fingerprint == model.fingerprint
    assert again.text_encoder.trainable == trainable
    assert torch.equal(again.embed_audio(sounds(0.5, 1.4)), audio)
    assert torch.equal(again.embed_text(CAPTIONS), text)
    assert torch.equal(again.distance(audio, text), model.distance(audio, text))


def test_a_frozen_audio_encoder_stays_frozen_when_saved_and_embeds_the_same(tiny_bert, tmp_path):
    model, frozen = tiny_model(tiny_bert), tiny_model(tiny_bert)
    frozen.audio_encoder.freeze()
    assert frozen.fingerprint == model.fingerprint
    frozen.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model").train()
    assert not again.audio_encoder.trainable
    assert not again.audio_encoder.training
    assert again.audio_head.training
    assert again.fingerprint == model.fingerprint
    assert torch.equal(again.embed_audio(sounds(0.5, 1.4)), model.embed_audio(sounds(0.5, 1.4)))


def test_a_model_saved_before_encoders_could_be_frozen_loads(saved, model, tmp_path):
    folder = copy(saved, tmp_path)
    description = json.loads((folder / "config.json").read_text())
    del description["audio_encoder"]["trainable"]
    del description["text_encoder"]["dropout"]
    (folder / "config.json").write_text(json.dumps(description))
    again = AudioTextModel.from_pretrained(folder)
    assert again.audio_encoder.trainable
    assert again.fingerprint == model.fingerprint


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


def test_a_model_folder_holds_what_is_documented_and_no_pickle(saved):
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert {name for name in files if "/" not in name} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert "text_encoder/model.safetensors" in files
    assert {name.rpartition(".")[2] for name in files} <= {"json", "safetensors", "md", "txt"}
    assert (saved / "README.md").read_text() == "# A card\n"
    assert json.loads((saved / "config.json").read_text())["format"] == "otomatch-model/1"
    assert not any(key.startswith("text_encoder") for key in load_file(saved / "model.safetensors"))
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_local_text_encoder_travels_inside_the_folder(tmp_path):
    bert = write_bert(tmp_path / "bert", seed=3)
    model = tiny_model(bert)
    model.save_pretrained(tmp_path / "model")
    expected = model.embed_text(CAPTIONS)
    shutil.rmtree(bert)
    moved = (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = AudioTextModel.from_pretrained(moved)
    assert torch.equal(again.embed_text(CAPTIONS), expected)
    again.save_pretrained(tmp_path / "third")  # and can be passed on
    shutil.rmtree(moved)
    assert AudioTextModel.from_pretrained(tmp_path / "third").fingerprint == model.fingerprint


def test_a_fine_tuned_text_encoder_keeps_its_new_weights(tiny_bert, tmp_path):
    model = tiny_model(tiny_bert, trainable=True)
    before = model.embed_text(CAPTIONS)
    with torch.no_grad():
        for parameter in model.text_encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    expected = model.embed_text(CAPTIONS)
    assert not torch.allclose(before, expected, atol=1e-2)
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    assert torch.equal(again.embed_text(CAPTIONS), expected)


def test_using_a_model_does_not_change_what_is_saved(tiny_bert, tmp_path):
    model = tiny_model(tiny_bert)
    fresh = model.fingerprint
    model.embed_text(CAPTIONS)
    model.embed_audio(sounds(0.3))
    model.whiten(torch.zeros(1, 12))
    assert model.fingerprint == fresh
    model.save_pretrained(tmp_path / "model")
    assert AudioTextModel.from_pretrained(str(tmp_path / "model")).fingerprint == fresh


def test_the_fingerprint_changes_with_any_weight_and_any_setting(tiny_bert):
    model = tiny_model(tiny_bert)
    seen = {model.fingerprint}
    tensors = [(k, v) for k, v in model.state_dict().items() if ".pooler." not in k]
    for _, tensor in tensors:
        flat = tensor.view(-1)
        before = flat[-1].clone()
        flat[-1] = torch.nextafter(before, before + 1) if before.is_floating_point() else before + 1
        seen.add(model.fingerprint)
        flat[-1] = before
    assert len(seen) == 1 + len(tensors)
    for other in ({"window_seconds": 2.0}, {"dropout": 0.2}, {"ground": "diagonal"}):
        seen.add(tiny_model(tiny_bert, **other).fingerprint)
    pooled = AudioTextModel(
        SmallAudioEncoder(**AUDIO_SETTINGS), text_encoder(str(tiny_bert), pooling="cls"), dim=12
    )
    assert len({*seen, pooled.fingerprint}) == 5 + len(tensors)
    assert model.fingerprint == tiny_model(tiny_bert).fingerprint


def test_saving_over_a_model_replaces_it(model, saved, tmp_path, tiny_bert):
    folder = copy(saved, tmp_path)
    (folder / "stale.txt").write_text("of the old model")
    other = tiny_model(tiny_bert, "diagonal", seed=5)
    other.save_pretrained(folder)
    assert AudioTextModel.from_pretrained(folder).fingerprint == other.fingerprint
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_model_can_be_saved_over_the_folder_it_came_from(saved, tmp_path):
    folder = copy(saved, tmp_path)
    model = AudioTextModel.from_pretrained(folder)
    model.save_pretrained(folder)
    assert AudioTextModel.from_pretrained(folder).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.tex", "mine"),
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", "[]"),
        ("config.json", "not JSON"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_alone(name, content, model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(content)
    with pytest.raises(ModelError, match="something other than a model"):
        model.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / name).read_text() == content


def test_a_file_in_the_way_is_refused(model, tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(ModelError, match="something other than a model"):
        model.save_pretrained(tmp_path / "model")


def test_an_empty_folder_may_be_saved_to(model, tmp_path):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    model.save_pretrained(tmp_path / "deep" / "model")
    assert AudioTextModel.from_pretrained(tmp_path / "deep" / "model").fingerprint


def test_a_save_that_fails_leaves_the_old_model(model, saved, tmp_path, monkeypatch):
    folder = copy(saved, tmp_path)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("otomatch.models.saving.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(folder)
    monkeypatch.undo()
    assert AudioTextModel.from_pretrained(folder).fingerprint == model.fingerprint
    model.save_pretrained(folder)  # what was left half-written is in nobody's way


# --- folders that do not load ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all"])
def test_a_missing_folder_is_refused(name):
    with pytest.raises(ModelError, match="is not a model folder"):
        AudioTextModel.from_pretrained(name)


def test_a_hub_name_that_cannot_be_had_is_refused_offline():
    with pytest.raises(ModelError, match="no such model on the Hugging Face hub"):
        AudioTextModel.from_pretrained("nobody/nothing")


def test_a_folder_without_weights_is_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:100], lambda b: b[:-7], lambda _: b"", lambda b: b"\xff" * len(b)],
    ids=["a piece", "the end is missing", "empty", "overwritten"],
)
@pytest.mark.parametrize("part", ["model.safetensors", "text_encoder/model.safetensors"])
def test_damaged_weights_are_refused(damage, part, saved, tmp_path):
    path = copy(saved, tmp_path) / part
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError):
        AudioTextModel.from_pretrained(tmp_path / "copy")


def edit(folder, **changes):
    description = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        description.pop(key)
        if value is not None:
            description[key] = value
    (folder / "config.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "is not of the format otomatch-model/1"),
        ({"format": "otomatch-model/2"}, "is not of the format"),
        ({"dim": 13}, "does not fit config.json"),
        ({"ground": {"name": "diagonal"}}, "does not fit config.json"),
        ({"text_encoder": None}, "malformed"),
        ({"dim": "wide"}, "malformed"),
        ({"text_fingerprint": "0" * 64}, "other weights than the one it was trained with"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, message, saved, tmp_path):
    folder = copy(saved, tmp_path)
    edit(folder, **changes)
    with pytest.raises(ModelError, match=message):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize("content", ["", "[1]", "{", "null"])
def test_a_configuration_that_is_no_object_is_refused(content, saved, tmp_path):
    (copy(saved, tmp_path) / "config.json").write_text(content)
    with pytest.raises(ModelError):
        AudioTextModel.from_pretrained(tmp_path / "copy")


def test_another_text_encoders_weights_are_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    write_bert(folder / "text_encoder", seed=9)
    with pytest.raises(ModelError, match="other weights than the one it was trained with"):
        AudioTextModel.from_pretrained(folder)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_weights_that_do_not_fit_are_named(change, saved, tmp_path):
    path = copy(saved, tmp_path) / "model.safetensors"
    state = load_file(path)
    if change == "missing":
        del state["audio_head.0.bias"]
    elif change == "shape":
        state["audio_head.0.bias"] = torch.zeros(3)
    else:
        state["audio_head.9.bias"] = torch.zeros(3)
    save_file(state, path)
    with pytest.raises(ModelError, match=r"does not fit config.json.*audio_head\.[09]\.bias"):
        AudioTextModel.from_pretrained(tmp_path / "copy")


def test_a_single_pair_instead_of_a_list_is_refused_with_what_to_do(model):
    with pytest.raises(InvalidInputError, match="into one"):
        model.embed_audio((np.zeros(3200, np.float32), 32000))


@pytest.mark.parametrize("rate", ["32000", 0, -1, None])
def test_a_rate_that_is_no_positive_number_is_refused(model, rate):
    with pytest.raises(InvalidInputError, match="sample rate"):
        model.embed_audio([(np.zeros(3200, np.float32), rate)])
