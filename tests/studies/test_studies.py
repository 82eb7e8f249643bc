import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from otomatch.datasets import open_dataset
from otomatch.errors import ConfigError, RunError
from otomatch.evaluation.evaluator import evaluate
from otomatch.evaluation.ranks import rank_embeddings
from otomatch.evaluation.retrieval import summarise
from otomatch.evaluation.zero_shot import zeroshot
from otomatch.studies import cells, runner
from otomatch.studies import worker as cell_process
from otomatch.studies.data import TestSet, prepare_data
from otomatch.studies.grids import BASE, QUICK, STUDIES, Given, Study
from otomatch.studies.measure import Measuring, recalls_by_clip
from otomatch.studies.planning import Settings, base_config, plan_cells
from otomatch.studies.results import Arm
from otomatch.studies.runner import run_study
from otomatch.training.config import load_config
from tests.support.sounds import write_csv, write_labelled_folder
from tests.support.tiny import tiny_config, tiny_model, write_tones

QUIET = Console(quiet=True)
MATCHING = Arm("m-LTM", {"loss": "m-LTM"}, ("loss.name=matching",))
NTXENT = Arm("NT-Xent", {"loss": "NT-Xent"}, ("loss.name=ntxent",))
BROKEN = Arm("broken", {"loss": "broken"}, ("data.clips=9999",))


def study_of(*arms):
    return Study("losses", "Which is better?", lambda _quick: list(arms))


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    splits = ("train", "train", "val", "test")
    return write_tones(tmp_path_factory.mktemp("tones"), clips=40, splits=splits)


@pytest.fixture
def settings(tones, tiny_bert, tmp_path):
    """Settings of a study on tones, with tiny models."""

    def make(data=tones, **changes):
        config = tiny_config(data, tiny_bert, "optim.epochs=1")
        path = tmp_path / "base.toml"
        path.write_text(cells.dump_toml(config))
        return Settings(
            [str(data)], tmp_path / "studies", **{"seeds": 1, "config": path, **changes}
        )

    return make


@pytest.fixture
def in_process(monkeypatch):
    """Cells are worked on in this process, which is faster; gives the list of those."""
    worked = []
    monkeypatch.setattr(cells.subprocess, "run", in_this_process(worked))
    return worked


def in_this_process(worked):
    def run(command, **_):
        folder = cells.Path(command[4])
        worked.append(folder.name)
        return SimpleNamespace(returncode=cell_process.main(folder, quiet=True))

    return run


# --- grids


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_arm_of_a_grid_is_a_valid_configuration_under_a_name_of_its_own(study, quick):
    base = load_config(overrides=[*BASE, *(QUICK if quick else ())])
    arms = study.arms(Given(quick, base, 6400, ("recordings", "rendered")))
    assert len({arm.label for arm in arms}) == len(arms) >= 2
    assert len({tuple(arm.factors.items()) for arm in arms}) == len(arms)
    assert len({tuple(arm.factors) for arm in arms}) == 1  # one set of columns
    before = set()
    for arm in arms:
        load_config(overrides=[*BASE, *(QUICK if quick else ()), *arm.overrides])
        assert arm.after is None or arm.after in before
        before.add(arm.label)


def test_arms_of_different_studies_that_say_the_same_are_the_same_cell(settings):
    found = {}
    for name in ("losses", "metric", "epsilon", "noise"):
        data = prepare_data(
            settings().data, settings().out, scenes=1, draws=1, zeroshot=None, console=QUIET
        )
        settings_of = settings(config=None)
        found[name] = {c.arm.label: c.key for c in plan_cells(STUDIES[name], settings_of, data)}
    same = {
        found["losses"]["m-LTM"],
        found["metric"]["full"],
        found["epsilon"]["epsilon 0.05, scale max"],
        found["noise"]["m-LTM; clean"],
    }
    assert len(same) == 1
    assert found["losses"]["NT-Xent"] == found["noise"]["NT-Xent; clean"]
    noise = found["noise"]  # of 40 % wrong pairs, the share that partial is told is 0.6
    for kind in ("random", "similar"):
        key = noise.pop(f"partial, told; 40 % {kind}")
        assert key == noise[f"partial 0.6; 40 % {kind}"]
    assert len(set(noise.values())) == len(noise)


def test_arms_are_what_their_labels_say_whatever_the_file_they_start_from_says(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(
        "[loss]\nname = 'matching'\nmass = 0.9\ntarget = 'trimmed'\n[schedule]\nmass_epochs = 1.0\n"
        "[ground]\nname = 'identity'\n[optim]\nlr = 1e-4\nbatch = 64\nepochs = 3\n"
    )
    base = load_config(path)
    given = Given(False, base, 6400, ("a", "b"))
    configs = {
        name: {arm.label: load_config(path, arm.overrides) for arm in study.arms(given)}
        for name, study in STUDIES.items()
    }
    plain = configs["losses"]["m-LTM"]
    assert (plain.loss.mass, plain.loss.target) == (None, "full")
    assert plain.schedule.mass_epochs is None
    assert configs["noise"]["partial 0.6; 20 % random"].loss.mass == 0.6
    assert configs["metric"]["full"].ground.model_dump() == {"name": "full", "project": True}
    assert configs["metric"]["full, not projected"].ground.project is False
    assert configs["batch"]["m-LTM, batch 256"].optim.lr == pytest.approx(2e-4)
    lengths = {label: config.optim.epochs for label, config in configs["scale"].items()}
    assert lengths["1000 pairs, same epochs"] == 3
    assert lengths["1000 pairs, same steps"] == 6
    path.write_text("[loss]\nname = 'triplet'\nnegatives = 'hardest'\n")
    sums = next(a for a in STUDIES["losses"].arms(given) if a.label == "triplet (sum)")
    assert load_config(path, sums.overrides).loss.negatives == "sum"


def test_sizes_that_the_data_do_not_have_are_left_out(settings):
    few = Given(False, load_config(), 900, ("a",))
    assert {arm.factors["pairs"] for arm in STUDIES["scale"].arms(few)} == {250, 500}
    assert max(arm.factors["batch"] for arm in STUDIES["batch"].arms(few)) == 512
    with pytest.raises(ConfigError, match=r"scale has no setting for 20 training clips"):
        run_study(STUDIES["scale"], settings(), QUIET)


@pytest.mark.parametrize("override", ["run.seed=3", "data.path=x", "data.pairs=x.csv"])
def test_what_a_study_chooses_itself_is_refused(settings, override):
    with pytest.raises(ConfigError, match=f"--set {override}: a study chooses"):
        run_study(study_of(MATCHING), settings(overrides=[override]), QUIET)


def test_an_override_that_an_arm_does_not_know_names_the_arm(settings):
    with pytest.raises(ConfigError, match=r"NT-Xent: .*\n.*loss\.epsilon = 0\.03: unknown key"):
        run_study(study_of(MATCHING, NTXENT), settings(overrides=["loss.epsilon=0.03"]), QUIET)


def test_another_encoder_is_not_given_the_settings_of_the_default_one(tones):
    given = Settings([str(tones)], tones, overrides=["audio.encoder=Cnn10"])
    assert base_config(given).audio.settings == {}
    assert base_config(Settings([str(tones)], tones)).audio.settings["channels"][0] == 16


# --- what a grid does


def test_a_study_trains_and_measures_every_arm_with_every_seed(tones, settings, in_process):
    found = run_study(study_of(MATCHING, NTXENT), settings(seeds=2), QUIET)
    assert len(in_process) == found.planned == 4
    assert [(o.arm.label, o.seed, o.test) for o in found.outcomes] == [
        (label, seed, f"{tones.name}-test") for seed in (0, 1) for label in ("m-LTM", "NT-Xent")
    ]
    for outcome in found.outcomes:
        assert outcome.values["clips"] == 10
        assert outcome.values["metric_parameters"] == 12 * 13 / 2
        assert outcome.values["peak_mb"] > 50
        assert outcome.values["best_epoch"] == len(outcome.curve) == 1
        assert outcome.values["steps"] == 2  # 20 clips in batches of 8
        for k in (1, 5, 10):
            for side in ("t2a", "a2t"):
                values = outcome.per_clip[f"{side}_r{k}"]
                assert np.mean(values) == pytest.approx(outcome.values[f"{side}_r{k}"])
    assert found.outcomes[0].values["iterations"] > 0
    assert np.isnan(found.outcomes[1].values["iterations"])  # NT-Xent has no plan


def test_what_is_done_is_not_done_again_and_a_changed_grid_reruns_what_changed(
    settings, in_process
):
    first = run_study(study_of(MATCHING), settings(), QUIET)
    again = run_study(study_of(MATCHING, NTXENT), settings(seeds=2), QUIET)
    assert len(in_process) == 4
    assert len(set(in_process)) == 4
    assert again.outcomes[0].values == first.outcomes[0].values
    run_study(study_of(NTXENT, MATCHING), settings(seeds=2), QUIET)
    assert len(in_process) == 4


def test_changed_data_are_another_cell(tiny_bert, settings, in_process, tmp_path):
    data = write_tones(tmp_path / "own", clips=24, splits=("train", "val", "test"))
    run_study(study_of(MATCHING), settings(data), QUIET)
    rows = [line.split(",") for line in (data / "captions.csv").read_text().splitlines()]
    rows[1][1] = "a short whistle"
    write_csv(data / "captions.csv", rows)
    run_study(study_of(MATCHING), settings(data), QUIET)
    assert len(set(in_process)) == 2


def test_other_data_to_validate_on_are_another_cell(settings, in_process, tmp_path):
    val = write_tones(tmp_path / "val", clips=8)
    run_study(study_of(MATCHING), settings(), QUIET)
    run_study(study_of(MATCHING), settings(overrides=[f"data.val={str(val)!r}"]), QUIET)
    assert len(set(in_process)) == 2


def test_a_study_of_other_data_is_not_written_over(settings, in_process, tmp_path):
    other = write_tones(tmp_path / "other", clips=24, splits=("train", "val", "test"))
    run_study(study_of(MATCHING), settings(), QUIET)
    with pytest.raises(RunError, match=r"holds this study of other data.*choose another --out"):
        run_study(study_of(MATCHING), settings(other), QUIET)


def test_data_that_moved_are_the_same_and_a_stopped_run_on_them_goes_on(
    tiny_bert, settings, in_process, tmp_path, monkeypatch
):
    data = write_tones(tmp_path / "first" / "own", clips=24, splits=("train", "val", "test"))
    monkeypatch.setattr(cell_process, "_cost", lambda *_: 1 / 0)  # stopped before its end
    assert len(run_study(study_of(MATCHING), settings(data), QUIET).failures) == 1
    monkeypatch.undo()
    data.parent.rename(tmp_path / "second")
    moved = tmp_path / "second" / "own"
    found = run_study(study_of(MATCHING), settings(moved, retry=True), QUIET)
    assert found.failures == ()
    assert len({*(p.name for p in (settings().out / "cells").iterdir())}) == 1


def test_a_test_set_that_changed_is_measured_again_without_training(
    settings, in_process, tmp_path, monkeypatch
):
    run_study(study_of(MATCHING), settings(), QUIET)
    monkeypatch.setattr(cells, "VERSION", cells.VERSION + 1)
    monkeypatch.setattr(cell_process, "train", None)  # would fail
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert len(in_process) == 2
    assert len(set(in_process)) == 1
    assert len(found.outcomes) == 1


def test_a_failed_cell_is_recorded_and_the_rest_goes_on(settings, in_process):
    needy = Arm("needy", {"loss": "needy"}, after="broken")
    study = study_of(BROKEN, needy, NTXENT)
    found = run_study(study, settings(), QUIET)
    assert [o.arm.label for o in found.outcomes] == ["NT-Xent"]
    errors = {f.arm.label: f.error for f in found.failures}
    assert errors["broken"].startswith("DatasetError: ")
    assert "data.clips asks for 9999 training clips, but there are 20" in errors["broken"]
    assert errors["needy"] == "it needs 'broken', which failed"
    run_study(study, settings(), QUIET)
    assert len(in_process) == 2  # not tried again
    run_study(study, settings(retry=True), QUIET)
    assert len(in_process) == 3  # unless asked to


def test_a_measurement_that_failed_does_not_stick_to_the_cell(
    tones, settings, in_process, monkeypatch
):
    def fail(*_):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(cell_process, "save_measurement", fail)
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert found.failures[0].error.startswith("RuntimeError: no such luck")
    monkeypatch.undo()
    monkeypatch.setattr(cell_process, "train", None)  # would fail
    monkeypatch.setattr(cells.subprocess, "run", in_this_process([]))
    labelled = write_labelled_folder(tones.parent / "labelled")
    found = run_study(study_of(MATCHING), settings(zeroshot=f"esc-50:{labelled}"), QUIET)
    assert found.failures == ()
    assert 0 <= found.outcomes[0].values["zeroshot"] <= 100


def test_an_arm_trains_with_the_pairs_that_another_judged(settings, in_process):
    auto = Arm(
        "auto",
        {"loss": "auto"},
        ("loss.target=trimmed", "loss.mass=auto", "data.noise=0.5", "optim.epochs=2"),
    )
    audit = Arm(
        "audit", {"loss": "audit"}, ("data.noise=0.5", "data.min_weight=0.01"), after="auto"
    )
    study = study_of(auto, audit)
    found = run_study(study, settings(), QUIET)
    assert found.failures == ()
    assert len(found.outcomes) == 2
    data = prepare_data(
        settings().data, settings().out / "data", scenes=1, draws=1, zeroshot=None, console=QUIET
    )
    first, second = plan_cells(study, settings(), data)
    assert second.config.data.pairs == str(first.folder / "run" / "pairs.csv")
    other = replace(auto, overrides=(*auto.overrides, "optim.lr=0.02"))
    keys = [cell.key for cell in plan_cells(study_of(other, audit), settings(), data)]
    assert not {first.key, second.key} & set(keys)  # it depends on what was judged


def test_a_cell_whose_process_is_killed_is_a_failure_that_says_so(settings, monkeypatch):
    ended = SimpleNamespace(returncode=-signal.SIGKILL)
    monkeypatch.setattr(cells.subprocess, "run", lambda *_, **__: ended)
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert found.failures[0].error == "its process was ended by SIGKILL (out of memory?)"


def test_a_study_that_is_interrupted_writes_what_is_done(settings, in_process, monkeypatch):
    working = cells.subprocess.run

    def run(command, **options):
        if in_process:
            return SimpleNamespace(returncode=130)
        return working(command, **options)

    monkeypatch.setattr(cells.subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(MATCHING, NTXENT), settings(), QUIET)
    rows = (settings().out / "losses" / "rows.csv").read_text()
    assert len(rows.splitlines()) == 2
    assert "m-LTM" in rows
    assert "NT-Xent" not in rows


def _hold(folder, ready, leave):
    with cells.FileLock(folder / "lock"):
        ready.set()
        leave.wait(60)


def test_a_cell_that_another_process_works_on_is_left_to_it(settings, in_process, monkeypatch):
    study, given = study_of(MATCHING, NTXENT), settings()
    data = prepare_data(
        given.data, given.out / "data", scenes=1, draws=1, zeroshot=None, console=QUIET
    )
    mine, other = plan_cells(study, given, data)
    other.folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(other.folder, ready, leave))
    process.start()
    assert ready.wait(60)
    asleep = []

    def sleep(seconds):  # once there is nothing else to do, the other process ends
        asleep.append(list(in_process))
        leave.set()
        process.join(60)

    monkeypatch.setattr(runner.time, "sleep", sleep)
    run_study(study, given, QUIET)
    assert asleep == [[mine.key]]
    assert in_process == [mine.key, other.key]  # it left the cell undone


def command_of(given, epochs):
    """A process that runs a study of one arm."""
    code = (
        "from rich.console import Console\n"
        "from pathlib import Path\n"
        "from otomatch.studies.grids import Study\n"
        "from otomatch.studies.results import Arm\n"
        "from otomatch.studies.planning import Settings\n"
        "from otomatch.studies.runner import run_study\n"
        f"overrides = ('loss.name=matching', 'optim.epochs={epochs}')\n"
        "arms = [Arm('m-LTM', {'loss': 'm-LTM'}, overrides)]\n"
        "study = Study('losses', 'Which is better?', lambda _: arms)\n"
        f"settings = Settings({list(given.data)!r}, Path({str(given.out)!r}), seeds=1,"
        f" config=Path({str(given.config)!r}))\n"
        "run_study(study, settings, Console(quiet=True))\n"
    )
    return [sys.executable, "-c", code]


def started(command, given):
    """It, in a session of its own, once training is under way."""
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(given.out.glob("cells/*/run/checkpoint/*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_killed_study_goes_on_where_it_stopped(settings):
    given = settings()
    command = command_of(given, epochs=3)
    process = started(command, given)
    os.killpg(process.pid, signal.SIGKILL)  # it, and the cell's process
    process.wait()
    assert not list(given.out.glob("cells/*/cost.json"))
    subprocess.run(command, check=True)
    assert len(list(given.out.glob("cells/*/cost.json"))) == 1
    assert "m-LTM" in (given.out / "losses" / "rows.csv").read_text()


def test_the_process_of_a_cell_that_outlives_its_runner_is_left_to_finish(settings, monkeypatch):
    given = settings(overrides=["optim.epochs=60"])
    process = started(command_of(given, epochs=60), given)
    process.kill()  # the runner alone
    process.wait()
    (cell,) = given.out.glob("cells/*")
    with pytest.raises(cells.Timeout), cells.FileLock(cell / "worker.lock", timeout=0):
        pass
    assert cell_process.main(cell, quiet=True) == cells.BUSY
    os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_that_is_no_study_is_left_alone(settings, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="is not empty and holds no studies"):
        run_study(study_of(MATCHING), settings(), QUIET)


def test_transfer_takes_two_data_sets(settings):
    with pytest.raises(ConfigError, match=r"transfer takes 2 data set\(s\), got 1"):
        run_study(STUDIES["transfer"], settings(), QUIET)


# --- what is measured


def test_a_model_is_measured_as_evaluate_and_zeroshot_measure_it(tiny_bert, tmp_path):
    root = write_tones(tmp_path / "tones", clips=16)
    rows = [line.split(",") for line in (root / "captions.csv").read_text().splitlines()]
    labelled = [(*row, "label" if i == 0 else ("rain", "dog")[i % 2]) for i, row in enumerate(rows)]
    write_csv(root / "captions.csv", labelled)
    model = tiny_model(tiny_bert)
    test = TestSet("tones", str(root), labelled=str(root))
    found = Measuring(model)(test).values
    report, classes = evaluate(model, root), zeroshot(model, root)
    for side, direction, plan in (
        ("t2a", report.text_to_audio, report.transductive.text_to_audio),
        ("a2t", report.audio_to_text, report.transductive.audio_to_text),
    ):
        for k in (1, 5, 10):
            assert found[f"{side}_r{k}"] == direction.recall[k]
            assert found[f"plan_{side}_r{k}"] == plan.recall[k]
        assert found[f"{side}_map10"] == direction.map[10]
        assert found[f"{side}_median"] == direction.median_rank
    assert found["gap"] == pytest.approx(report.modality_gap)
    assert found["zeroshot"] == classes.accuracy
    assert found["plan_zeroshot"] == classes.transductive.accuracy
    assert (found["clips"], found["captions"]) == (16, 32)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(0, 99))
def test_the_mean_of_recalls_by_clip_is_the_recall(captions, seed):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(len(captions), 3, generator=generator)
    text = torch.randn(sum(captions), 3, generator=generator)
    text_clip = np.repeat(np.arange(len(captions)), captions).tolist()
    ranks = rank_embeddings(audio, text, text_clip)
    report = summarise(ranks)
    for name, values in recalls_by_clip(ranks).items():
        direction = report.text_to_audio if name.startswith("t2a") else report.audio_to_text
        assert len(values) == len(captions)
        assert np.mean(values) == pytest.approx(direction.recall[int(name[5:])])


def test_a_measurement_is_read_as_it_was_saved(tiny_bert, tones, tmp_path):
    found = Measuring(tiny_model(tiny_bert))(TestSet("test", str(tones), "test"))
    cells.save_measurement(tmp_path / "m.json", found)
    again = cells.read_measurement(tmp_path / "m.json")
    assert again.values == found.values
    assert "zeroshot" not in again.values
    for name, values in found.per_clip.items():
        np.testing.assert_array_equal(again.per_clip[name], values)


# --- the record


def test_the_record_says_how_to_repeat_a_study(tones, settings, in_process):
    given = settings(command="otomatch study losses --data tones")
    about = run_study(study_of(NTXENT), given, QUIET).about
    assert about["command"] == "otomatch study losses --data tones"
    assert f"{tones.name}-test (10 clips)" in about["test sets"]
    assert f"torch {torch.__version__.split('+')[0]}" in about["versions"]
    assert "cores" in about["machine"]
    assert open_dataset(given.data[0]).splits == ("test", "train", "val")
    assert json.dumps(about)
