"""The PANNs encoders; their golden values come from the original networks, see `filled`."""

import copy
import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.audio.log_mel import mel_filterbank
from otomatch.errors import InvalidInputError, ModelError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import (
    Cnn10,
    Cnn14,
    ResNet38,
    audio_encoder,
    panns_checkpoint,
    text_encoder,
)
from otomatch.models.encoders.panns_checkpoint import Published
from tests.oracles import naive_panns
from tests.support.sounds import hiss, tone

FACTS = Path(__file__).parents[3] / "shared" / "facts"
NAMES = ["Cnn10", "Cnn14", "ResNet38"]
ENTRIES = {"Cnn10": 60, "Cnn14": 84, "ResNet38": 246}
FRONT_END = [f"spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")]
LEFT_OUT = {*FRONT_END, "logmel_extractor.melW"} | {
    f"{layer}.{part}" for layer in ("fc1", "fc_audioset") for part in ("weight", "bias")
}


class NarrowResNet(ResNet38):
    """The same of ResNet38."""

    layers = ((4, 3), (5, 4), (6, 6), (7, 3))
    width = 9


needs_facts = pytest.mark.skipif(
    not (FACTS / "panns_golden.npz").is_file(), reason="no outputs of the original networks"
)


class NarrowCnn(Cnn14):
    """Cnn14 with few channels, for what does not depend on their number."""

    published = Published("Narrow_mAP=0.1.pth", "0" * 32)
    channels = (4, 5, 6, 7, 8, 9)
    width = 9


def filled(key, shape, dtype=torch.float32):
    """The weights that the golden outputs belong to: random, and the same for the same key."""
    if not shape:
        return torch.tensor(0)
    random = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    values = torch.randn(tuple(shape), generator=random).to(dtype)
    if len(shape) > 1:
        return values * (2 / values[0].numel()) ** 0.5
    if key.endswith("running_var"):
        return (0.1 * values).exp()
    return 0.1 * values + (not key.endswith(("running_mean", "bias")))


def fill(encoder):
    state = encoder.state_dict()
    encoder.load_state_dict({k: filled(k, t.shape, t.dtype) for k, t in state.items()})
    return encoder.eval()


@pytest.fixture(scope="module")
def networks():
    """Each network once, with the weights of `filled`; tests leave them in evaluation mode."""
    return {name: fill(audio_encoder(name, "saved", dropout=0.0)) for name in NAMES}


@pytest.fixture(params=[NarrowCnn, NarrowResNet])
def narrow(request):
    return fill(request.param("saved", dropout=0.0))


def clips(lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [20 * torch.randn(n, 64, generator=random) - 40 for n in lengths]


def padded(features, fill=0.0):
    lengths = torch.tensor([len(f) for f in features])
    batch = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=fill)
    return batch, lengths


# --- the networks ------------------------------------------------------------------------------


@needs_facts
@pytest.mark.parametrize("name", NAMES)
def test_features_and_vectors_are_those_of_the_original_network(name, networks):
    golden = {k: torch.from_numpy(v) for k, v in np.load(FACTS / "panns_golden.npz").items()}
    encoder = networks[name]
    features = torch.stack([encoder.features(waveform) for waveform in golden["waveform"]])
    torch.testing.assert_close(features, golden["logmel"], rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        found = encoder(features)
    expected = golden[f"{name}_clip_feature"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@needs_facts
@pytest.mark.parametrize("name", NAMES)
def test_weights_have_the_published_names_and_shapes(name, networks):
    published = json.loads((FACTS / "panns_state_dicts.json").read_text(encoding="utf-8"))[name]
    own = {key: list(tensor.shape) for key, tensor in networks[name].state_dict().items()}
    assert own == {key: shape for key, shape in published.items() if key not in LEFT_OUT}


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_published_number_of_entries_without_front_end_and_classifier(
    name, networks
):
    assert len(networks[name].state_dict()) == ENTRIES[name] - len(LEFT_OUT)


@pytest.mark.parametrize(("name", "frames"), [("Cnn10", 53), ("Cnn14", 65), ("ResNet38", 71)])
def test_a_network_computes_what_its_published_weights_spell_out(name, frames, networks):
    features = torch.stack(clips([frames] * 2))
    with torch.no_grad():
        found = networks[name](features)
        expected = naive_panns(networks[name].state_dict(), features)
    assert found.shape == (2, networks[name].width)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frames", [32, 70])  # 32 leave one, where layouts can be mistaken
def test_every_weight_gets_the_right_gradient(frames, training, narrow):
    encoder = narrow.double().train(training)
    features = torch.stack(clips([frames] * 3)).double().requires_grad_()
    state = {k: t.clone().requires_grad_(t.ndim > 0) for k, t in encoder.state_dict().items()}
    weigh = torch.randn(3, encoder.width, dtype=torch.double)
    (naive_panns(state, features, training) * weigh).sum().backward()
    expected, features.grad = features.grad, None
    (encoder(features) * weigh).sum().backward()
    torch.testing.assert_close(features.grad, expected)
    for key, parameter in encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, state[key].grad, msg=key)
        assert parameter.grad.abs().max() > 0, key


def test_the_networks_share_the_features_in_the_cache(networks):
    assert len({encoder.feature_key for encoder in networks.values()}) == 1


# --- clips of many lengths ---------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(1, 150), min_size=2, max_size=5),
    fill_value=st.sampled_from([0.0, -100.0, 1e4, float("nan")]),
    kind=st.sampled_from([NarrowCnn, NarrowResNet]),
)
@settings(max_examples=40, deadline=None)
def test_a_clip_is_encoded_alone_as_in_any_batch(lengths, fill_value, kind):
    encoder, features = fill(kind("saved")).double(), [clip.double() for clip in clips(lengths)]
    with torch.no_grad():
        together = encoder(*padded(features, fill_value))
        for row, clip in enumerate(features):
            torch.testing.assert_close(together[row], encoder(clip[None])[0], rtol=1e-9, atol=1e-9)


def test_a_short_clip_is_followed_by_silence(narrow):
    (clip,) = clips([5])
    silence = torch.full((27, 64), -100.0)
    assert torch.equal(narrow(clip[None]), narrow(torch.cat([clip, silence])[None]))


def test_a_sound_of_ten_milliseconds_has_a_vector_of_its_own(narrow):
    vectors = [
        narrow(narrow.features(torch.from_numpy(hiss(0.01, level)))[None]) for level in (0.1, 0.2)
    ]
    assert all(vector.isfinite().all() for vector in vectors)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_lengths_that_are_all_full_change_nothing(narrow):
    features = torch.stack(clips([40] * 3))
    assert torch.equal(narrow(features, torch.tensor([40] * 3)), narrow(features))


def test_a_padded_batch_can_be_trained_on_in_half_precision(narrow):
    features, lengths = padded(clips([70, 33, 5]))
    with torch.autocast("cpu", torch.bfloat16):
        found = narrow.train()(features, lengths)
    found.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in narrow.parameters())


def test_training_statistics_are_those_of_the_clips_own_frames(narrow):
    features, lengths = padded(clips([70, 33, 64]), fill=1e3)
    twice = torch.cat([features, features]), torch.cat([lengths, lengths])
    more = torch.nn.functional.pad(features, (0, 0, 0, 50), value=-1e3), lengths
    states = []
    for batch in ((features, lengths), twice, more):
        encoder = copy.deepcopy(narrow).train()
        encoder(*batch)
        states.append(encoder.state_dict())
    for key in states[0]:
        if key.endswith("running_mean"):
            torch.testing.assert_close(states[0][key], states[1][key], msg=key)
            torch.testing.assert_close(states[0][key], states[2][key], msg=key)
    own = torch.cat([f[:n] for f, n in zip(features, lengths, strict=True)]).mean(0)
    before = filled("bn0.running_mean", (64,))
    torch.testing.assert_close(states[0]["bn0.running_mean"], 0.9 * before + 0.1 * own)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_do_not_see_the_padding(training, narrow):
    gradients = []
    for value in (0.0, 1e3):
        features, lengths = padded(clips([70, 33, 64]), value)
        encoder = copy.deepcopy(narrow).double().train(training)
        features = features.double().requires_grad_()
        encoder(features, lengths).square().sum().backward()
        gradients.append([features.grad, *(p.grad for p in encoder.parameters())])
        for row, length in enumerate(lengths.tolist()):
            assert (features.grad[row, length:] == 0).all()
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_of_a_padded_batch_is_that_of_its_clips_alone(narrow):
    encoder = narrow.double()
    features = [f.double() for f in clips([70, 5, 33])]
    encoder(*padded(features, 7.0)).square().sum().backward()
    together = {k: p.grad.clone() for k, p in encoder.named_parameters()}
    encoder.zero_grad()
    for clip in features:
        encoder(clip[None]).square().sum().backward()
    for key, parameter in encoder.named_parameters():
        torch.testing.assert_close(together[key], parameter.grad, msg=key)


# --- random weights and dropout ----------------------------------------------------------------


def test_random_weights_are_drawn_as_panns_draws_them():
    encoder = Cnn10()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            out, into, *size = module.weight.shape
            bound = (6 / ((into + out) * size[0] * size[1])) ** 0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
    assert (encoder.bn0.weight == 1).all()


def test_the_residual_network_warns_that_it_is_untrained_and_starts_as_its_shortcuts():
    with pytest.warns(UserWarning, match="ResNet38 without its checkpoint trains from scratch"):
        encoder = NarrowResNet()
    scales = [t for k, t in encoder.state_dict().items() if "resnet" in k and "bn2.weight" in k]
    assert len(scales) == 16
    assert all((scale == 0).all() for scale in scales)


def test_dropout_is_for_training_only_and_can_be_set():
    features = torch.stack(clips([40] * 2))
    for dropout, same in ((0.5, False), (0.0, True)):
        encoder = NarrowCnn(dropout=dropout).train()
        assert torch.equal(encoder(features), encoder(features)) == same
        encoder.eval()
        assert torch.equal(encoder(features), encoder(features))
    assert {m.p for m in Cnn10().modules() if isinstance(m, torch.nn.Dropout)} == {0.2}
    residual = NarrowResNet("saved").resnet
    assert {m.p for m in residual.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}


def test_a_wrong_dropout_is_refused():
    with pytest.raises(InvalidInputError, match=r"Cnn10.*dropout"):
        audio_encoder("Cnn10", dropout=2)


# --- checkpoints -------------------------------------------------------------------------------


def checkpoint_of(kind):
    """A whole checkpoint of a network, as published: weights, front end, classifier, sampler."""
    state = {k: filled(k, t.shape) for k, t in kind("saved").state_dict().items()}
    shapes = dict.fromkeys(FRONT_END, (513, 1, 1024)) | {
        "fc1.weight": (kind.width, kind.width),
        "fc1.bias": (kind.width,),
        "fc_audioset.weight": (527, kind.width),
        "fc_audioset.bias": (527,),
    }
    state |= {key: filled(key, shape) for key, shape in shapes.items()}
    state["logmel_extractor.melW"] = torch.from_numpy(
        mel_filterbank(32000, 1024, 64, 50.0, 14000.0).T.copy()
    )
    return {"iteration": 600000, "model": state, "sampler": {"pointer": 3, "queue": [1, 2]}}


@pytest.fixture
def narrow_checkpoint():
    return checkpoint_of(NarrowCnn)


def save(checkpoint, folder, name="weights.pth"):
    torch.save(checkpoint, folder / name)
    return folder / name


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_whole_checkpoint_is_loaded_and_what_is_not_used_left_out(as_path, tmp_path):
    checkpoint = checkpoint_of(Cnn10)
    assert len(checkpoint["model"]) == ENTRIES["Cnn10"]
    encoder = audio_encoder("Cnn10", as_path(save(checkpoint, tmp_path)))
    state = encoder.state_dict()
    assert checkpoint["model"].keys() - state.keys() == LEFT_OUT
    assert all(torch.equal(tensor, checkpoint["model"][key]) for key, tensor in state.items())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_the_arrays_of_the_sampler_do_not_hinder_loading(
    zipped, module, tmp_path, narrow_checkpoint
):
    # The published files hold NumPy's arrays, which torch does not load without being told to.
    narrow_checkpoint["sampler"] = {"indexes_per_class": [np.arange(5), np.array([7])]}
    path = tmp_path / "weights.pth"
    torch.save(narrow_checkpoint, path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # then the name can be replaced by that of an earlier NumPy
        content = path.read_bytes()
        names = (b"numpy._core.multiarray", b"numpy.core.multiarray")
        assert any(name in content for name in names)
        path.write_bytes(content.replace(names[0], module).replace(names[1], module))
    assert torch.equal(NarrowCnn(path).bn0.weight, narrow_checkpoint["model"]["bn0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc1.bias": None, "bn0.bias": None}, r"another network.*missing: bn0\.bias, fc1\.bias"),
        ({"extra.weight": torch.ones(2)}, r"unexpected: extra\.weight"),
        ({"bn0.weight": torch.ones(32)}, r"of another shape: bn0\.weight"),
        ({f"extra{i}": torch.ones(2) for i in range(7)}, r"extra4 and 2 more"),
        ({"logmel_extractor.melW": torch.ones(513, 64)}, r"mel filters .* other features"),
        ({"logmel_extractor.melW": torch.full((513, 64), torch.nan)}, r"mel filters"),
    ],
)
def test_a_checkpoint_of_another_network_names_what_differs(
    change, message, tmp_path, narrow_checkpoint
):
    state = {**narrow_checkpoint["model"], **change}
    state = {key: tensor for key, tensor in state.items() if tensor is not None}
    with pytest.raises(ModelError, match=message):
        NarrowCnn(save({"model": state}, tmp_path))


def test_the_checkpoint_of_one_network_is_refused_by_another(tmp_path):
    path = save(checkpoint_of(Cnn10), tmp_path)
    with pytest.raises(ModelError, match=r"another network than Cnn14_mAP=0\.431\.pth.*missing"):
        audio_encoder("Cnn14", path)


class Code:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        pickle.dumps({"model": {}}, protocol=2),
        {"weights": {}},
        {"model": {"bn0.weight": "x"}},
        {"model": torch.ones(3)},
        torch.ones(3),
        {"model": {}, "code": Code()},
    ],
)
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(content, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ModelError, match=r"Narrow_mAP=0\.1\.pth") as error:
        NarrowCnn(path)
    assert str(path) in str(error.value)
    assert "weights_only=False" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_missing_checkpoint_says_what_to_give(tmp_path):
    with pytest.raises(ModelError, match=r"no such checkpoint.*Cnn10_mAP=0\.380\.pth.*'download'"):
        audio_encoder("Cnn10", tmp_path / "nothing.pth")


def test_a_file_with_the_published_name_must_have_the_published_sum(tmp_path, narrow_checkpoint):
    path = save(narrow_checkpoint, tmp_path, NarrowCnn.published.name)
    with pytest.raises(ModelError, match=f"expected {'0' * 32}; download the file again from https"):
        NarrowCnn(path)


def test_download_fetches_the_published_file_into_the_cache(
    cache, monkeypatch, tmp_path, narrow_checkpoint
):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return save(narrow_checkpoint, tmp_path)

    monkeypatch.setattr(panns_checkpoint, "download", download)
    assert torch.equal(NarrowCnn("download").bn0.bias, narrow_checkpoint["model"]["bn0.bias"])
    url = "https://zenodo.org/record/3987831/files/Narrow_mAP%3D0.1.pth?download=1"
    assert asked == [(url, "Narrow_mAP=0.1.pth", "0" * 32, cache / "panns")]


def test_the_published_files_are_those_of_the_three_networks():
    kinds = {kind.__name__: kind.published for kind in (Cnn10, Cnn14, ResNet38)}
    assert all(published.name.startswith(f"{name}_mAP=") for name, published in kinds.items())
    assert len({published.md5 for published in kinds.values()}) == 3


# --- saving ------------------------------------------------------------------------------------


def test_an_encoder_that_is_rebuilt_needs_no_checkpoint_and_warns_of_nothing(networks):
    description = networks["ResNet38"].describe()
    again = audio_encoder(**json.loads(json.dumps(description)))
    assert again.describe() == description
    assert again.dropout == 0.0


def test_a_model_with_a_pretrained_encoder_is_saved_and_loaded_without_the_checkpoint(
    tmp_path, tiny_bert
):
    path = save(checkpoint_of(Cnn10), tmp_path)
    encoder = audio_encoder("Cnn10", path, dropout=0.1)
    model = AudioTextModel(encoder, text_encoder(str(tiny_bert)), dim=12, hidden=16)
    path.unlink()
    model.save_pretrained(tmp_path / "model")
    again = AudioTextModel.from_pretrained(tmp_path / "model")
    sounds = [(tone(440, seconds), 32000) for seconds in (0.01, 0.5)]
    assert torch.equal(again.embed_audio(sounds), model.embed_audio(sounds))
    assert again.fingerprint == model.fingerprint
    assert again.audio_encoder.dropout == 0.1
