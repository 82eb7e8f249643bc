"""The configuration of a training run: a frozen, validated tree read from TOML.

Every field can be overridden with a dotted assignment such as ``loss.epsilon=0.03``. Unknown
keys are errors, and all errors of a file are reported at once.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from otomatch.errors import ConfigError
from otomatch.training.sections import (
    AudioConfig,
    AugmentConfig,
    DataConfig,
    FullConfig,
    GroundMetricConfig,
    LossConfig,
    MatchingConfig,
    MismatchConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    Section,
    TextConfig,
)


class Config(Section):
    """Everything that defines a training run."""

    data: DataConfig = DataConfig()
    audio: AudioConfig = AudioConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    ground: GroundMetricConfig = FullConfig()
    loss: LossConfig = MatchingConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    mismatch: MismatchConfig = MismatchConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_the_default_kinds(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        named = {
            section: {"name": default, **tree[section]}
            for section, default in _DEFAULT_KIND.items()
            if isinstance(tree.get(section), dict)
        }
        return {**tree, **named}

    @field_validator("schedule", "mismatch")
    @classmethod
    def _every_field_counts(cls, section: Section, info: ValidationInfo) -> Section:
        if "loss" not in info.data:  # invalid, and reported on its own
            return section
        mass = getattr(info.data["loss"], "mass", None)
        if isinstance(section, MismatchConfig):
            if section != MismatchConfig() and mass != "auto":
                raise ValueError("unit and null do nothing without loss.mass = 'auto'")
        elif section != ScheduleConfig() and not isinstance(mass, float):
            raise ValueError("mass_epochs does nothing without a loss.mass that is a number")
        return section


_DEFAULT_KIND = {"ground": "full", "loss": "matching"}
# Before the sections were sorted; files of earlier runs have these keys.
_MOVED = {
    "data.max_seconds": "model.window_seconds",
    "loss.evidence": "mismatch.unit",
    "loss.mass_epochs": "schedule.mass_epochs",
    "loss.null": "mismatch.null",
    "optim.encoder_lr": "optim.text_encoder_lr",
}
_DEPEND_ON_KIND = {"loss": ("schedule", "mismatch")}


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file, or start from the defaults, and apply dotted overrides.

    Args:
        path: TOML file; None for the defaults.
        overrides: Assignments ``section.field=value``. The value is TOML, or a bare word for a
            string.

    Raises:
        ConfigError: The file cannot be read, or a field is unknown or has an invalid value. The
            message lists every such field with its value and what is allowed.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    for section in _DEFAULT_KIND:
        _forget_other_kind(tree, section, overrides)
    for override in overrides:
        _apply(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None


def dump_toml(config: Config) -> str:
    """Return the whole tree as TOML, defaults included, with every field's meaning as a comment."""
    lines = []
    for section, model in config:
        lines += [f"# {type(model).__doc__}", f"[{section}]"]
        for field, value in model:
            about = type(model).model_fields[field].description
            text = f"# {field} = none" if value is None else f"{field} = {_toml_value(value)}"
            lines.append(f"{text}  # {about}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):  # TOML has no null
        pairs = [(_toml_key(k), _toml_value(v)) for k, v in value.items() if v is not None]
        return "{" + ", ".join(f"{key} = {text}" for key, text in pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    # JSON and TOML write integers, booleans and strings alike, except for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _toml_value(key)


def _forget_other_kind(tree: dict[str, Any], section: str, overrides: Sequence[str]) -> None:
    """Drop a file's fields for one kind of loss or metric if an override names another kind."""
    own = tree.get(section)
    pairs = [override.partition("=") for override in overrides]
    named = [kind for key, _, kind in pairs if key.strip() == f"{section}.name"]
    if not named or not isinstance(own, dict):
        return
    if named[-1].strip().strip("\"'") != own.get("name", _DEFAULT_KIND[section]):
        tree[section] = {}
        for dependent in _DEPEND_ON_KIND.get(section, ()):
            tree.pop(dependent, None)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, _, field = key.strip().partition(".")
    if not (equals and section and field):
        raise ConfigError(f"override {override!r}: expected section.field=value")
    branch = tree.setdefault(section, {})
    *parents, leaf = field.split(".")
    for parent in parents:
        branch = branch.setdefault(parent, {}) if isinstance(branch, dict) else None
    if not isinstance(branch, dict):
        raise ConfigError(f"override {override!r}: {key.rpartition('.')[0]} is not a section")
    text = text.strip()
    if text.lower() == "none":
        branch[leaf] = None
        return
    try:
        branch[leaf] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        branch[leaf] = text  # a bare word or a path


def _explain(error: ValidationError, path: str | Path | None) -> str:
    problems: dict[str, list[str]] = {}
    for field, problem in map(_explain_one, error.errors()):
        problems.setdefault(field, []).append(problem)  # one per branch of a union
    lines = [f"  {field}: {', or: '.join(found)}" for field, found in problems.items()]
    where = "the configuration" if path is None else str(path)
    return "\n".join([f"{where} has {len(lines)} invalid field(s):", *lines])


def _explain_one(detail: Any) -> tuple[str, str]:
    """Return the field with its value, and what is allowed."""
    path = [str(part) for part in detail["loc"]]
    if path and path[0] in _DEFAULT_KIND and len(path) > 1:
        del path[1]  # pydantic inserts the kind that it validated against
    if detail["type"] == "extra_forbidden":
        if (moved := _MOVED.get(".".join(path))) is not None:
            return f"{'.'.join(path)} = {detail['input']!r}", f"unknown key; it is now {moved}"
        known = ", ".join(_known(detail["loc"]))
        return f"{'.'.join(path)} = {detail['input']!r}", f"unknown key; known here: {known}"
    name = ".".join(path[:2])  # the rest names the branch of a union
    if detail["type"] == "union_tag_invalid":
        name, allowed = f"{name}.name", detail["ctx"]["expected_tags"]
        return f"{name} = {detail['ctx']['tag']!r}", f"expected one of {allowed}"
    return f"{name} = {detail['input']!r}", detail["msg"].removeprefix("Value error, ")


def _known(location: tuple[str, ...]) -> list[str]:
    if len(location) == 1:
        return list(Config.model_fields)
    kinds = get_args(Config.model_fields[location[0]].annotation)
    if not kinds:
        return list(type(getattr(Config(), location[0])).model_fields)
    return next(
        list(kind.model_fields)
        for kind in kinds
        if location[1] in get_args(kind.model_fields["name"].annotation)
    )
