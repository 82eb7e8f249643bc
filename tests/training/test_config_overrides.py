"""Configuration: dotted overrides."""

import pytest

from otomatch.errors import ConfigError
from otomatch.training.config import Config, load_config


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optim.lr=3e-4", 3e-4),
        ("optim.lr=1", 1.0),
        (" optim.lr = 0.5 ", 0.5),
        ("optim.epochs=1_000", 1000),
        ("data.path=clips", "clips"),
        ("data.path=/a folder/with = and # and, é", "/a folder/with = and # and, é"),
        ("data.path='quoted folder'", "quoted folder"),
        ('data.path="with \\t tab"', "with \t tab"),
        (r"data.path=C:\new\tables", r"C:\new\tables"),
        ("data.path=", ""),
        ("text.trainable=true", True),
        ("text.trainable=True", True),
        ("text.trainable=false", False),
        ("loss.mass=none", None),
        ("loss.mass=None", None),
        ("loss.mass=1", 1.0),
        ("loss.scale=max", "max"),
        ("loss.scale=2", 2.0),
        ("optim.text_encoder_lr=none", None),
        ("ground.name=identity", "identity"),
        ("audio.settings={channels = [4, 6], hidden = 8}", {"channels": [4, 6], "hidden": 8}),
        ("audio.settings.hidden=8", {"hidden": 8}),
        ("audio.settings.a.b=x", {"a": {"b": "x"}}),
        ("audio.settings.name=none", {"name": None}),
    ],
)
def test_an_override_is_toml_or_a_bare_word(override, value):
    section, _, field = override.partition("=")[0].strip().partition(".")
    found = getattr(getattr(load_config(overrides=[override]), section), field.split(".")[0])
    assert found == value
    assert type(found) is type(value)


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[optim]\nlr = 0.5\nbatch = 4\n[audio]\nsettings = {hidden = 8, depth = 2}\n")
    config = load_config(path, ["optim.lr=0.1", "optim.lr=0.2", "audio.settings.hidden=9"])
    assert (config.optim.lr, config.optim.batch) == (0.2, 4)
    assert config.audio.settings == {"hidden": 9, "depth": 2}


def test_none_takes_back_what_the_file_says(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[loss]\nmass = 0.9\n")
    assert load_config(path, ["loss.mass=none"]).loss.mass is None


def test_the_kind_of_loss_and_ground_metric_brings_its_own_fields():
    config = load_config(overrides=["loss.name=ntxent", "loss.temperature=0.1"])
    assert config.loss.model_dump() == {"name": "ntxent", "temperature": 0.1, "entropy": 0.0}
    config = load_config(overrides=["loss.margin=0.3", "loss.name=triplet"])
    assert config.loss.model_dump() == {"name": "triplet", "margin": 0.3, "negatives": "sum"}
    config = load_config(overrides=["ground.name=low-rank", "ground.rank=3"])
    assert config.ground.model_dump() == {"name": "low-rank", "rank": 3}
    config = load_config(overrides=["loss.epsilon=0.03"])
    assert (config.loss.name, config.ground.name) == ("matching", "full")


def test_another_kind_of_loss_drops_what_a_file_says_of_the_mass_of_the_plan(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[loss]\nmass = 0.9\n[schedule]\nmass_epochs = 2.0\n[optim]\nlr = 0.5\n")
    config = load_config(path, ["loss.name=ntxent"])
    assert (config.schedule.mass_epochs, config.optim.lr) == (None, 0.5)
    assert load_config(path, ["loss.name=matching"]).schedule.mass_epochs == 2
    path.write_text("[loss]\nmass = 'auto'\ntarget = 'trimmed'\n[mismatch]\nunit = 'caption'\n")
    assert load_config(path, ["loss.name=triplet"]).mismatch == Config().mismatch


@pytest.mark.parametrize("override", ["lr=0.1", "optim.lr", "optim.=3", ".lr=3", "=", ""])
def test_an_override_that_names_no_field_is_refused_with_the_form_expected(override):
    with pytest.raises(ConfigError, match=r"expected section\.field=value") as error:
        load_config(overrides=[override])
    assert repr(override) in str(error.value)


def test_an_override_below_something_that_is_no_section_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("loss = 3\n[audio]\nsettings = 4\n")
    with pytest.raises(ConfigError, match=r"'loss.epsilon=1'.* loss is not a section"):
        load_config(path, ["loss.epsilon=1"])
    with pytest.raises(ConfigError, match=r"audio\.settings\.x is not a section"):
        load_config(path, ["audio.settings.x.y=1"])
