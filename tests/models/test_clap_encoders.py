"""The halves of a CLAP as encoders: trained under heads, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from otomatch import AudioTextModel, train
from otomatch.errors import InvalidInputError, ModelError
from otomatch.models.encoders import audio_encoder, text_encoder
from otomatch.training.trainer import build_model
from tests.support.tiny import CLAP_RATE, chirp, tiny_config, write_bert, write_clap, write_tones

CAPTIONS = ["a dog barks", "rain", "", "the deep steady hum then a whistle"]


@pytest.fixture(scope="module")
def model(tiny_clap):
    return AudioTextModel.from_pretrained(tiny_clap)


@pytest.mark.slow
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
    with pytest.raises(InvalidInputError, match="pooling is 'mean'; expected one of projection"):
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
