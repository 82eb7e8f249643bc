"""The catalogue of studies: every grid, and what its arms share and leave out."""

import pytest

from otomatch.errors import ConfigError
from otomatch.studies.catalogue import STUDIES, GridInputs
from otomatch.studies.catalogue.recipes import BASE, QUICK
from otomatch.studies.planning import plan_cells
from otomatch.studies.runner import run_study
from otomatch.training.config import load_config
from tests.support.study_runs import QUIET, prepared


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_arm_of_a_grid_is_a_valid_configuration_under_a_name_of_its_own(study, quick):
    base = load_config(overrides=[*BASE, *(QUICK if quick else ())])
    arms = study.arms(GridInputs(quick, base, 6400, ("recordings", "rendered")))
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
        data = prepared(settings())
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
    inputs = GridInputs(False, base, 6400, ("a", "b"))
    configs = {
        name: {arm.label: load_config(path, arm.overrides) for arm in study.arms(inputs)}
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
    sums = next(a for a in STUDIES["losses"].arms(inputs) if a.label == "triplet (sum)")
    assert load_config(path, sums.overrides).loss.negatives == "sum"


def test_sizes_that_the_data_do_not_have_are_left_out(settings):
    few = GridInputs(False, load_config(), 900, ("a",))
    assert {arm.factors["pairs"] for arm in STUDIES["scale"].arms(few)} == {250, 500}
    assert max(arm.factors["batch"] for arm in STUDIES["batch"].arms(few)) == 512
    with pytest.raises(ConfigError, match=r"scale has no setting for 20 training clips"):
        run_study(STUDIES["scale"], settings(), QUIET)
