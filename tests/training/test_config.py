"""Configuration: what is read, overridden, refused and written."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from otomatch.errors import ConfigError
from otomatch.training.config import Config, dump_toml, load_config

SECTIONS = "data, audio, text, model, ground, loss, schedule, mismatch, optim, augment, run"


def between(low, high, open_low=False, open_high=False):
    return st.floats(low, high, exclude_min=open_low, exclude_max=open_high)


def count(low=1):
    return st.integers(low, 2**31)


def section(**fields):
    """Any choice of these fields, each with a value that is allowed."""
    return st.fixed_dictionaries({}, optional=fields)


positive = between(0, 1e300, open_low=True)
text = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
sections_but_the_loss = section(
    data=section(
        path=text,
        val=text,
        val_share=between(0, 1, open_low=True, open_high=True),
        noise=between(0, 1),
        noise_kind=st.sampled_from(["clip", "caption", "similar"]),
    ),
    audio=section(
        encoder=text,
        trainable=st.booleans(),
        settings=st.dictionaries(text, values, max_size=3),
    ),
    text=section(
        encoder=text,
        pooling=st.sampled_from([None, "mean", "cls"]),
        trainable=st.booleans(),
        max_tokens=count(3),
        dropout=st.none() | between(0, 1, open_high=True),
    ),
    model=section(
        dim=count(),
        hidden=count(0),
        dropout=between(0, 1, open_high=True),
        window_seconds=positive,
    ),
    ground=section(name=st.sampled_from(["identity", "diagonal", "full"]))
    | st.builds(lambda rest: {"name": "full", **rest}, section(project=st.booleans()))
    | st.builds(lambda rank: {"name": "low-rank", **rank}, section(rank=count())),
    optim=section(
        lr=positive,
        text_encoder_lr=st.none() | positive,
        audio_encoder_lr=st.none() | positive,
        weight_decay=between(0, 1e300),
        batch=count(2),
        drop_last=st.booleans(),
        accumulate=count(),
        epochs=count(),
        warmup=between(0, 1, open_high=True),
        clip_norm=positive,
    ),
    augment=section(
        time_masks=count(0),
        time_share=between(0, 1, open_high=True),
        band_masks=count(0),
        band_share=between(0, 1, open_high=True),
    ),
    run=section(
        seed=st.integers(0, 2**63 - 1),
        patience=count(0),
        wandb=text,
        precision=st.sampled_from(["auto", "no", "bf16", "fp16"]),
        checkpoint_minutes=positive,
    ),
)

losses = (
    section(
        name=st.just("matching"),
        epsilon=positive,
        mass=st.none() | between(0, 1, open_low=True),
        target=st.sampled_from(["full", "trimmed"]),
        scale=st.just("max") | positive,
        gradient=st.sampled_from(["implicit", "unrolled"]),
    )
    | st.builds(
        lambda rest: {"name": "triplet", **rest},
        section(margin=between(0, 1e300), negatives=st.sampled_from(["sum", "hardest"])),
    )
    | st.builds(
        lambda rest: {"name": "weighted-triplet", **rest}, section(margin=between(0, 1e300))
    )
    | st.builds(
        lambda rest: {"name": "ntxent", **rest},
        section(temperature=positive, entropy=between(0, 1e300)),
    )
)
loss_sections = (
    section(loss=losses)
    | st.builds(
        lambda rest: {"loss": {"mass": "auto", "target": "trimmed"}, "mismatch": rest},
        section(
            unit=st.sampled_from(["clip", "caption"]),
            null=st.sampled_from(["random", "similar"]),
        ),
    )
    | st.builds(
        lambda rest: {"loss": {"mass": 0.5}, "schedule": rest},
        section(mass_epochs=st.none() | between(0, 1e300)),
    )
)
trees = st.builds(lambda rest, loss: rest | loss, sections_but_the_loss, loss_sections)


def refused(*overrides, path=None):
    """The lines of the message that refuses a configuration, without the first."""
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    first, *lines = str(error.value).split("\n")
    assert first.endswith(f"has {len(lines)} wrong field(s):")
    return [line.strip() for line in lines]


# --- reading and writing ---------------------------------------------------------------------


def test_without_file_and_overrides_every_field_has_its_default():
    assert load_config() == Config()


@settings(max_examples=200, deadline=None)
@given(trees)
def test_what_is_written_as_toml_reads_back_equal(tmp_path_factory, tree):
    config = Config.model_validate(tree)
    path = tmp_path_factory.getbasetemp() / "round-trip.toml"
    path.write_text(dump_toml(config), encoding="utf-8")
    assert load_config(path) == config
    assert dump_toml(load_config(path)) == dump_toml(config)


def test_every_field_is_written_with_its_value_and_its_meaning():
    written = dump_toml(load_config(overrides=["optim.lr=0.25", "loss.mass=0.95"])).splitlines()
    assert "# AdamW and its schedule." in written
    assert "lr = 0.25  # Peak learning rate." in written
    about = (
        "Mass of the plan; none: 1, a balanced plan; auto: estimated (with target trimmed only)."
    )
    assert f"mass = 0.95  # {about}" in written
    for name, part in Config():
        assert f"[{name}]" in written
        for field in type(part).model_fields:
            assert any(line.startswith((f"{field} = ", f"# {field} = ")) for line in written)


def test_a_field_that_is_none_is_written_as_a_comment_because_toml_has_no_null():
    about = (
        "Mass of the plan; none: 1, a balanced plan; auto: estimated (with target trimmed only)."
    )
    assert f"# mass = none  # {about}" in dump_toml(Config()).splitlines()


def test_none_among_the_encoder_settings_is_left_out_because_toml_has_no_null(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        dump_toml(load_config(overrides=["audio.settings={a = 1}", "audio.settings.b=none"]))
    )
    assert load_config(path).audio.settings == {"a": 1}


def sections(model: type[BaseModel]):
    """The models of a tree, every kind of each section."""
    for field in model.model_fields.values():
        for kind in get_args(field.annotation) or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield kind


def test_every_section_and_every_field_says_what_it_is():
    kinds = list(sections(Config))
    assert len(kinds) == 16
    for kind in kinds:
        assert kind.__doc__
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{name}"
            assert "\n" not in field.description, f"{kind.__name__}.{name}"


def test_a_file_gives_some_fields_and_the_rest_keep_their_defaults(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[optim]\nlr = 0.5\n[audio.settings]\nhidden = 8\n[data]\npath = "a"\n')
    config = load_config(path)
    assert (config.optim.lr, config.audio.settings, config.data.path) == (0.5, {"hidden": 8}, "a")
    assert config.optim.batch == Config().optim.batch
    assert config.loss == Config().loss


def test_a_config_cannot_be_changed():
    config = load_config()
    with pytest.raises(ValidationError, match="frozen"):
        config.optim.lr = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        config.optim = Config().optim


def test_one_configuration_never_shares_its_encoder_settings_with_another():
    load_config().audio.settings["hidden"] = 8
    assert load_config().audio.settings == {}


# --- overrides -------------------------------------------------------------------------------


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


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.val_share=0", "0: Input should be greater than 0"),
        ("data.val_share=1.0", "1.0: Input should be less than 1"),
        ("model.window_seconds=0.0", "0.0: Input should be greater than 0"),
        ("data.noise=1.5", "1.5: Input should be less than or equal to 1"),
        ("data.noise=-0.5", "-0.5: Input should be greater than or equal to 0"),
        ("data.noise_kind=clips", "'clips': Input should be 'clip', 'caption' or 'similar'"),
        ("data.path=2024", "2024: Input should be a valid string"),
        ("audio.settings=3", "3: Input should be a valid dictionary"),
        ("text.pooling=max", "'max': Input should be 'mean' or 'cls'"),
        ("text.trainable=maybe", "'maybe': Input should be a valid boolean"),
        ("text.max_tokens=2", "2: Input should be greater than or equal to 3"),
        ("model.dim=0", "0: Input should be greater than or equal to 1"),
        ("model.dim=2.5", "2.5: Input should be a valid integer"),
        ("model.dropout=1.0", "1.0: Input should be less than 1"),
        ("loss.epsilon=0", "0: Input should be greater than 0"),
        ("loss.epsilon=-0.05", "-0.05: Input should be greater than 0"),
        ("loss.epsilon=inf", "inf: Input should be a finite number"),
        ("loss.epsilon=nan", "nan: Input should be a finite number"),
        ("loss.epsilon=small", "'small': Input should be a valid number"),
        ("loss.mass=1.01", "1.01: Input should be less than or equal to 1"),
        ("loss.mass=nan", "nan: Input should be less than or equal to 1"),
        ("loss.scale=mean", "'mean': Input should be 'max', or: Input should be a valid number"),
        ("loss.gradient=full", "'full': Input should be 'implicit' or 'unrolled'"),
        ("optim.lr=none", "None: Input should be a valid number"),
        ("optim.lr.x=1", "{'x': 1}: Input should be a valid number"),
        ("optim.weight_decay=-1", "-1: Input should be greater than or equal to 0"),
        ("optim.batch=1", "1: Input should be greater than or equal to 2"),
        ("optim.epochs=true", "True: Input should be a valid integer"),
        ("optim.epochs=many", "'many': Input should be a valid integer"),
        ("optim.lr=true", "True: Input should be a valid number"),
        ("augment.time_share=1", "1: Input should be less than 1"),
        ("augment.band_masks=-1", "-1: Input should be greater than or equal to 0"),
        ("run.seed=-1", "-1: Input should be greater than or equal to 0"),
        ("run.seed=9223372036854775808", "9223372036854775808: Input should be less than"),
        ("run.precision=fp8", "'fp8': Input should be 'auto', 'no', 'bf16' or 'fp16'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_what_is_allowed(override, message):
    (line,) = refused(override)
    name = override.partition("=")[0].removesuffix(".x")
    assert line.startswith(f"{name} = {message}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.rate=1", "optim.rate = 1: unknown key; known here: lr, text_encoder_lr, "
         "audio_encoder_lr, weight_decay, batch, drop_last, accumulate, epochs, warmup, clip_norm"),
        ("train.lr=1", f"train = {{'lr': 1}}: unknown key; known here: {SECTIONS}"),
        ("loss.temperature=1", "loss.temperature = 1: unknown key; known here: name, epsilon, "
         "mass, target, scale, tolerance, max_iterations, gradient"),
        ("ground.rank=8", "ground.rank = 8: unknown key; known here: name, project"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_keys_that_are_known_there(override, message):
    assert refused(override) == [message]


def test_the_keys_of_an_old_file_are_refused_one_by_one(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        "[data]\nmax_seconds = 10.0\n[loss]\nname = 'matching'\nmass_epochs = 2.0\n"
        "evidence = 'clip'\nnull = 'random'\n[optim]\nencoder_lr = 1e-4\n"
    )
    lines = refused(path=path)
    assert [line.partition(": unknown key; known here: ")[0] for line in lines] == [
        "data.max_seconds = 10.0",
        "loss.mass_epochs = 2.0",
        "loss.evidence = 'clip'",
        "loss.null = 'random'",
        "optim.encoder_lr = 0.0001",
    ]


def test_a_key_of_another_kind_of_loss_or_ground_metric_is_unknown():
    assert refused("loss.name=ntxent", "loss.epsilon=0.1") == [
        "loss.epsilon = 0.1: unknown key; known here: name, temperature, entropy"
    ]
    assert refused("loss.name=triplet", "loss.temperature=0.1") == [
        "loss.temperature = 0.1: unknown key; known here: name, margin, negatives"
    ]
    for name, known in (("identity", "name"), ("diagonal", "name"), ("full", "name, project")):
        assert refused(f"ground.name={name}", "ground.rank=8") == [
            f"ground.rank = 8: unknown key; known here: {known}"
        ]
    assert refused("ground.name=low-rank", "ground.dim=8", "ground.rank=0") == [
        "ground.rank = 0: Input should be greater than or equal to 1",
        "ground.dim = 8: unknown key; known here: name, rank",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.mass=auto"], "mass = 'auto' needs target = 'trimmed'"),
        (["mismatch.unit=caption"], "unit and null do nothing without loss.mass = 'auto'"),
        (["loss.mass=0.5", "mismatch.null=similar"], "unit and null do nothing without"),
        (["schedule.mass_epochs=2"], "mass_epochs does nothing without a loss.mass that is a "),
        (["loss.name=ntxent", "schedule.mass_epochs=2"], "mass_epochs does nothing without"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(overrides, message):
    (line,) = refused(*overrides)
    assert line.startswith(f"{overrides[-1].partition('.')[0]} = {{'")
    assert message in line
    assert "Value error" not in line


@pytest.mark.parametrize("value", ["sinkhorn", "none", "3", "[1]"])
def test_an_unknown_kind_of_loss_is_refused_with_the_kinds_there_are(value):
    (line,) = refused(f"loss.name={value}")
    assert line.startswith("loss.name = ")
    assert value in line.lower()
    assert line.endswith("expected one of 'matching', 'triplet', 'weighted-triplet', 'ntxent'")


def test_an_unknown_kind_of_ground_metric_is_refused_with_the_kinds_there_are():
    assert refused("ground.name=diag") == [
        "ground.name = 'diag': expected one of 'identity', 'diagonal', 'full', 'low-rank'"
    ]


def test_all_mistakes_of_a_file_are_reported_in_one_run_below_its_name(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[optim]\nlr = -1\nfoo = 1\n[loss]\nname = 'ntxent'\nepsilon = 1\n[bar]\n")
    lines = refused("run.seed=x", path=path)
    assert {line.partition(" = ")[0] for line in lines} == {
        "optim.lr", "optim.foo", "loss.epsilon", "bar", "run.seed",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"run\.toml has 4 wrong field"):
        load_config(path)


def test_a_section_that_is_a_plain_value_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("loss = 3\noptim = 4\nground = [1]\n")
    lines = refused(path=path)
    assert [line.partition(":")[0] for line in lines] == ["ground = [1]", "loss = 3", "optim = 4"]
    assert all("should be a valid dictionary" in line for line in lines)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize("content", [b"[optim\nlr = 1", b"lr = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml: is not valid TOML: ."):
        load_config(path)


def test_the_least_weight_of_a_pair_does_nothing_without_pairs():
    assert refused("data.min_weight=0.7")[0].endswith("min_weight does nothing without pairs")
    assert load_config(overrides=["data.pairs=x.csv", "data.min_weight=0.7"]).data.pairs == "x.csv"


def test_only_a_full_metric_can_be_left_unprojected():
    assert load_config(overrides=["ground.project=false"]).ground.model_dump() == {
        "name": "full",
        "project": False,
    }
    assert "unknown key" in refused("ground.name=diagonal", "ground.project=false")[0]
