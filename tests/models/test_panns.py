"""The PANNs encoders; their golden values come from the original networks, see `filled`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch.errors import InvalidInputError
from otomatch.models.encoders import Cnn10, Cnn14, ResNet38, audio_encoder
from tests.support.encoders import ENTRIES, LEFT_OUT, NarrowCnn, NarrowResNet, clips, fill
from tests.support.oracles import naive_panns

FACTS = Path(__file__).parents[3] / "shared" / "facts"
NAMES = ["Cnn10", "Cnn14", "ResNet38"]


needs_facts = pytest.mark.skipif(
    not (FACTS / "panns_golden.npz").is_file(), reason="no outputs of the original networks"
)


@pytest.fixture(scope="module")
def networks():
    """Each network once, with the weights of `filled`; tests leave them in evaluation mode."""
    return {name: fill(audio_encoder(name, "saved", dropout=0.0)) for name in NAMES}


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_the_published_files_are_those_of_the_three_networks():
    kinds = {kind.__name__: kind.published for kind in (Cnn10, Cnn14, ResNet38)}
    assert all(published.name.startswith(f"{name}_mAP=") for name, published in kinds.items())
    assert len({published.md5 for published in kinds.values()}) == 3


def test_an_encoder_that_is_rebuilt_needs_no_checkpoint_and_warns_of_nothing(networks):
    description = networks["ResNet38"].describe()
    again = audio_encoder(**json.loads(json.dumps(description)))
    assert again.describe() == description
    assert again.dropout == 0.0
