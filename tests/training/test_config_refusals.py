"""Configuration: what is refused, and the message."""

import pytest

from otomatch.errors import ConfigError
from otomatch.training.config import load_config

SECTIONS = "data, audio, text, model, ground, loss, schedule, mismatch, optim, augment, run"


def refused(*overrides, path=None):
    """The lines of the message that refuses a configuration, without the first."""
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    first, *lines = str(error.value).split("\n")
    assert first.endswith(f"has {len(lines)} invalid field(s):")
    return [line.strip() for line in lines]


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
    assert refused(path=path) == [
        "data.max_seconds = 10.0: unknown key; it is now model.window_seconds",
        "loss.mass_epochs = 2.0: unknown key; it is now schedule.mass_epochs",
        "loss.evidence = 'clip': unknown key; it is now mismatch.unit",
        "loss.null = 'random': unknown key; it is now mismatch.null",
        "optim.encoder_lr = 0.0001: unknown key; it is now optim.text_encoder_lr",
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
    with pytest.raises(ConfigError, match=r"run\.toml has 4 invalid field"):
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


def test_an_invalid_loss_casts_no_blame_on_a_section_that_depends_on_it():
    overrides = ["loss.mass=0.8", "loss.epsilon=-1.0", "schedule.mass_epochs=2"]
    with pytest.raises(ConfigError, match="has 1 invalid") as caught:
        load_config(overrides=overrides)
    assert "schedule" not in str(caught.value)
