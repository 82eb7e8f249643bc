import pytest
import torch
from safetensors.torch import save_file

from otomatch import files
from otomatch.errors import RunError
from otomatch.training import checkpoint

PROGRESS = {"epoch": 3, "step": 7, "sums": {"loss": 0.1 + 0.2}, "log": [{"epoch": 1, "x": 1e-17}]}


def network(seed=0):
    """A model with batch norm, dropout and a parameter that never learns, and its optimiser."""
    torch.manual_seed(seed)
    layers = (torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5))
    model = torch.nn.Sequential(*layers, torch.nn.Linear(6, 2))
    model.unused = torch.nn.Parameter(torch.ones(3))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return model, torch.optim.AdamW(groups, lr=0.01)


def learn(model, optimizer, steps=3):
    losses = []
    for _ in range(steps):
        loss = (model(torch.randn(5, 4)) - torch.randn(5, 2)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def write(folder, pair, progress=PROGRESS):
    checkpoint.write(folder, checkpoint.capture(*pair, progress))


def test_training_goes_on_exactly_as_if_it_had_never_stopped(tmp_path):
    pair = network()
    learn(*pair)
    write(tmp_path / "checkpoint", pair)
    expected = learn(*pair)

    saved = checkpoint.read(tmp_path / "checkpoint")
    assert saved.progress == PROGRESS
    other = network(seed=1)
    checkpoint.restore(saved, *other)
    assert learn(*other) == expected
    for a, b in zip(pair[0].state_dict().values(), other[0].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    states = [p[1].state_dict() for p in (pair, other)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    for index, state in states[0]["state"].items():
        assert all(torch.equal(state[key], states[1]["state"][index][key]) for key in state)


def test_a_checkpoint_before_the_first_step_restores_too(tmp_path):
    pair = network()
    write(tmp_path, pair)
    other = network(seed=1)
    checkpoint.restore(checkpoint.read(tmp_path), *other)
    torch.manual_seed(5)
    expected = learn(*pair)
    torch.manual_seed(5)
    assert learn(*other) == expected


def test_going_on_does_not_change_what_was_read(tmp_path):
    pair = network()
    learn(*pair)
    write(tmp_path, pair)
    saved = checkpoint.read(tmp_path)
    before = {key: value.clone() for key, value in saved.tensors.items()}
    other = network(seed=1)
    checkpoint.restore(saved, *other)
    learn(*other)
    again = checkpoint.read(tmp_path).tensors
    assert all(torch.equal(value, again[key]) for key, value in before.items())


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert checkpoint.read(tmp_path) is None
    assert checkpoint.read(tmp_path / "nowhere") is None


def test_a_new_checkpoint_replaces_the_old_one(tmp_path):
    pair = network()
    write(tmp_path, pair)
    learn(*pair)
    write(tmp_path, pair, {"epoch": 4})
    assert checkpoint.read(tmp_path).progress == {"epoch": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize(
    "moment", ["before writing", "half-way", "before fsync", "before renaming"]
)
def test_a_write_that_is_cut_short_leaves_the_old_checkpoint(moment, tmp_path, monkeypatch):
    pair = network()
    write(tmp_path, pair)
    old = (tmp_path / "state.safetensors").read_bytes()

    def stop(*_, **__):
        raise KeyboardInterrupt

    def half(tensors, path, metadata):
        save_file(tensors, path, metadata)
        path.write_bytes(path.read_bytes()[:200])
        raise KeyboardInterrupt

    module, name, replacement = {
        "before writing": (checkpoint, "save_file", stop),
        "half-way": (checkpoint, "save_file", half),
        "before fsync": (files.os, "fsync", stop),
        "before renaming": (files.Path, "replace", stop),
    }[moment]
    learn(*pair)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, replacement)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, pair, {"epoch": 99})
    assert (tmp_path / "state.safetensors").read_bytes() == old
    assert checkpoint.read(tmp_path).progress == PROGRESS
    write(tmp_path, pair, {"epoch": 100})  # what was left is in nobody's way
    assert checkpoint.read(tmp_path).progress == {"epoch": 100}


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:50],
        lambda b: b[:-1],
        lambda _: b"",
        lambda b: bytes(len(b)),
        lambda b: b + b"x",
    ],
    ids=["a piece", "one byte short", "empty", "zeros", "one byte long"],
)
def test_a_damaged_checkpoint_is_named_with_what_to_do(damage, tmp_path):
    write(tmp_path, network())
    path = tmp_path / "state.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"state\.safetensors is damaged .*; delete the folder"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("metadata", [None, {}, {"progress": "{"}])
def test_tensors_without_progress_are_no_checkpoint(metadata, tmp_path):
    save_file({"model.x": torch.zeros(1)}, tmp_path / "state.safetensors", metadata)
    with pytest.raises(RunError, match="is damaged"):
        checkpoint.read(tmp_path)


def test_frozen_weights_are_left_out_and_kept_as_they_are_built(tmp_path):
    model, optimizer = network()
    model[0].requires_grad_(False)
    write(tmp_path, (model, optimizer))
    assert not any(key.startswith("model.0.") for key in checkpoint.read(tmp_path).tensors)
    other, others = network(seed=1)
    other[0].requires_grad_(False)
    built = other[0].weight.clone()
    checkpoint.restore(checkpoint.read(tmp_path), other, others)
    assert torch.equal(other[0].weight, built)
    assert torch.equal(other[3].weight, model[3].weight)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    write(tmp_path, network())
    other = torch.nn.Sequential(torch.nn.Linear(4, 6))
    with pytest.raises(RunError, match="another model"):
        checkpoint.restore(checkpoint.read(tmp_path), other, torch.optim.AdamW(other.parameters()))
