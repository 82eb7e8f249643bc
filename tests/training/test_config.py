"""Configuration: what is read and written."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from otomatch.training.config import Config, dump_toml, load_config


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


# --- reading and writing ---------------------------------------------------------------------


def test_without_file_and_overrides_every_field_has_its_default():
    assert load_config() == Config()


@pytest.mark.slow
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
