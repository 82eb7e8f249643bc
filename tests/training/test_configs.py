"""Published configurations: they state what was published, and run."""

import json
from pathlib import Path

import pytest
import torch

from otomatch.models.encoders import audio_encoder
from otomatch.training.config import load_config
from tests.cli.test_cli import invoke
from tests.support.layouts import write_audiocaps, write_clotho, write_esc50

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(path.stem for path in FOLDER.glob("*.toml"))
CLAP = "clap:laion/clap-htsat-unfused"
LOSSES = {
    "ntxent": {"name": "ntxent", "temperature": 0.07, "entropy": 0.0},
    "triplet": {"name": "triplet", "margin": 0.2, "negatives": "hardest"},
    "weighted-triplet": {"name": "weighted-triplet", "margin": 0.2},
}
MATCHING = ("resnet38-bert", "cnn14-bert", "noise", "clap-heads")
SMALL = (
    "audio.encoder=small",
    "audio.settings={channels = [4, 6, 8, 8], hidden = 8}",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with miniatures of the three data sets."""
    root = tmp_path_factory.mktemp("data")
    write_audiocaps(root / "audiocaps", clips=(6, 2, 2))
    write_clotho(root / "clotho", clips=(6, 2, 2))
    write_esc50(root / "esc50", folds=(1,))
    return root


def published(name):
    return load_config(FOLDER / f"{name}.toml")


def run_of(name):
    return name.partition("-")[2]


def test_there_is_a_file_for_every_published_run():
    runs = {f"audiocaps-{run}" for run in (*MATCHING, *LOSSES)}
    assert set(FILES) == {*runs, "clotho-resnet38-bert"}


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_how_it_is_started(name):
    command = f"otomatch train --config configs/{name}.toml --data {name.partition('-')[0]}:FOLDER"
    assert f"# Start: {command} --run RUN\n" in (FOLDER / f"{name}.toml").read_text()
    assert published(name).data.path == ""  # each has the data elsewhere


@pytest.mark.parametrize("name", FILES)
def test_joint_space_batch_clipping_and_seed_are_those_published(name):
    config = published(name)
    assert (config.model.dim, config.model.hidden) == (1024, 2048)
    assert (config.optim.batch, config.optim.clip_norm, config.run.seed) == (256, 2, 1997)
    assert config.model.window_seconds == (30 if name.startswith("clotho") else 10)
    assert config.optim.epochs == (5 * 30 if name.startswith("clotho") else 30)
    assert config.data.noise == (0.4 if run_of(name) == "noise" else 0)


@pytest.mark.parametrize("name", FILES)
def test_the_loss_its_metric_and_its_rate_are_those_published(name):
    config, run = published(name), run_of(name)
    assert (config.ground.name == "full") == (run in MATCHING)
    assert (config.ground.name == "identity") == (run in LOSSES)
    if run in LOSSES:
        assert config.loss.model_dump() == LOSSES[run]
    else:
        assert (config.loss.name, config.loss.epsilon) == ("matching", 0.03)
        assert config.loss.mass == (0.95 if run == "noise" else None)
        assert (config.loss.target, config.loss.scale) == ("full", "max")
    if run != "clap-heads":
        assert config.optim.lr == config.optim.text_encoder_lr == (1e-4 if run in LOSSES else 5e-5)
        assert (config.optim.weight_decay, config.optim.warmup) == (0, 0)


@pytest.mark.parametrize("name", [name for name in FILES if "clap" not in name])
def test_encoders_are_pretrained_and_fine_tuned_with_the_published_dropout_and_masks(name):
    config = published(name)
    assert config.audio.encoder == ("Cnn14" if "cnn14" in name else "ResNet38")
    assert (config.audio.settings, config.audio.trainable) == (
        {"checkpoint": "download", "dropout": 0.2},
        True,
    )
    text = config.text
    assert (text.encoder, text.pooling, text.trainable) == ("bert-base-uncased", "cls", True)
    assert (text.dropout, config.model.dropout) == (0.2, 0)
    assert (config.augment.time_masks, config.augment.band_masks) == (2, 2)
    assert config.augment.band_share == 8 / 64
    seconds = 22.5 if name.startswith("clotho") else config.model.window_seconds
    assert config.augment.time_share == pytest.approx(64 / (100 * seconds), abs=5e-4)
    with torch.device("meta"):  # no weights are needed to see that the settings fit the network
        settings = {**config.audio.settings, "checkpoint": "saved"}
        encoder = audio_encoder(config.audio.encoder, trainable=True, **settings)
    assert encoder.width == 2048


def test_the_heads_are_trained_on_a_frozen_clap():
    config = published("audiocaps-clap-heads")
    for part in (config.audio, config.text):
        assert (part.encoder, part.trainable) == (CLAP, False)
    assert config.model.hidden > 0


# Four steps at the published rates teach untrained networks nothing, and the run says so.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")
@pytest.mark.parametrize("name", FILES)
def test_a_run_in_miniature_trains_is_evaluated_and_classifies(
    name, data, tiny_bert, tiny_clap, tmp_path
):
    dataset = name.partition("-")[0]
    overrides = [*SMALL, f"text.encoder={tiny_bert}"]
    if run_of(name) == "clap-heads":
        overrides = [f"{part}.encoder=clap:{tiny_clap}" for part in ("audio", "text")]
        overrides.append("model.window_seconds=1")  # what the small CLAP takes
    overrides += ["model.dim=12", "model.hidden=16", "optim.batch=3", "optim.epochs=2"]
    arguments = [part for override in overrides for part in ("--set", override)]
    trained = invoke(
        "train", "--config", FOLDER / f"{name}.toml", "--data", f"{dataset}:{data / dataset}",
        "--run", tmp_path / "run", *arguments, "--json",
    )  # fmt: skip
    report = json.loads(trained)
    assert report["dataset"] == f"{dataset} (test)"
    assert (report["clips"], report["captions"]) == (2, 10)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 1 + 2
    run = load_config(tmp_path / "run" / "config.toml")
    assert (run.loss, run.ground) == (published(name).loss, published(name).ground)
    assert run.data.noise == published(name).data.noise
    esc50 = f"esc-50:{data / 'esc50'}"
    figures = json.loads(invoke("zeroshot", tmp_path / "run" / "model", esc50, "--json"))
    assert (figures["dataset"], figures["clips"]) == ("esc-50", 4)
