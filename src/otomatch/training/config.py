"""The configuration of a training run: a frozen, validated tree read from TOML.

Every field can be overridden with a dotted assignment such as ``loss.epsilon=0.03``. Unknown
keys are errors, and one reading reports every error of a file.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from otomatch.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class DataConfig(_Section):
    """What to train on."""

    path: str = ""
    """Folder of the data set (with captions.csv), or NAME:FOLDER, e.g. clotho:data/clotho."""
    val: str = ""
    """Data set to validate on; empty: rows of split 'val', else a random share of the clips."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the clips held out where no validation rows exist."""
    max_seconds: Positive = 10.0
    """Longer clips are cropped at random in training, and cut into windows in evaluation."""
    noise: Share = 0.0
    """Share of the training clips whose captions are exchanged for another clip's."""
    noise_kind: Literal["clip", "caption", "similar"] = "clip"
    """clip: all captions of any other clip; similar: of one alike; caption: each on its own."""
    clips: Annotated[int, Field(ge=2)] | None = None
    """Train on so many of the training clips, the first of a random order; none: on all."""
    pairs: str = ""
    """pairs.csv of an earlier run: train only on the captions that it holds for right."""
    min_weight: Share = 0.5
    """Weight in pairs.csv from which on a caption is kept."""

    @model_validator(mode="after")
    def _every_field_counts(self) -> Self:
        if self.min_weight != 0.5 and not self.pairs:
            raise ValueError("min_weight does nothing without pairs")
        return self


class AudioConfig(_Section):
    """The audio encoder."""

    encoder: str = "small"
    """small, Cnn10, Cnn14, ResNet38, or 'clap:' and the name or folder of an unfused CLAP."""
    trainable: Annotated[bool, Field(strict=False)] = True
    """Train the encoder; a frozen one is run once per window of a clip and cached."""
    settings: dict[str, Any] = {}
    """Arguments of that encoder; Cnn10, Cnn14, ResNet38: {checkpoint = "download"} or a path."""


class TextConfig(_Section):
    """The text encoder."""

    encoder: str = "minilm"
    """'minilm' (packaged, no download), a Hugging Face name or a folder; 'clap:' and a CLAP's."""
    pooling: Literal["mean", "cls"] | None = None
    """Mean over the tokens, or the first token's state; none: the mean, or a CLAP's projection."""
    trainable: Annotated[bool, Field(strict=False)] = False
    """Fine-tune the encoder; a frozen one is run once per caption and cached."""
    max_tokens: Annotated[int, Field(ge=3)] = 64
    """Longer captions are cut."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Every dropout probability of the encoder, where it is trained; none: its own."""


class ModelConfig(_Section):
    """The joint space."""

    dim: Count = 256
    """Dimensions of the joint space."""
    hidden: Annotated[int, Field(ge=0)] = 512
    """Hidden units of the two heads (linear, ReLU, linear); 0: no heads, for encoders dim wide."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout between the layers of the heads."""


class GroundConfig(_Section):
    """The ground metric d_M."""

    name: Literal["identity", "diagonal"]
    """Euclidean, or one weight per dimension."""


class FullConfig(_Section):
    """The ground metric d_M."""

    name: Literal["full"] = "full"
    """A full symmetric matrix M."""
    project: Annotated[bool, Field(strict=False)] = True
    """Keep M positive semi-definite after every step, as the paper does; false: leave it be."""


class LowRankConfig(_Section):
    """The ground metric d_M with M = L^T L."""

    name: Literal["low-rank"]
    """M = L^T L with L of shape (rank, dim)."""
    rank: Count = 64
    """Rows of L."""


class MatchingConfig(_Section):
    """The training criterion: mini-batch learning to match (optimal transport)."""

    name: Literal["matching"] = "matching"
    """KL divergence between the target matching and the transport plan."""
    epsilon: Positive = 0.05
    """Entropic regularisation, in units of the cost."""
    mass: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] | None = None
    """Share of the mass that is transported; none: all of it; auto: estimated (trimmed only)."""
    target: Literal["full", "trimmed"] = "full"
    """The paper's, or one of the plan's mass that drops the pairs of highest cost."""
    mass_epochs: NonNegative | None = None
    """The mass falls from 1 to its value over so many epochs; none: 3 if trimmed, else 0."""
    evidence: Literal["clip", "caption"] = "clip"
    """With mass auto: a clip's captions are right or wrong together, or one by one."""
    null: Literal["random", "similar"] = "random"
    """With mass auto: captions that a pair must beat; similar where near ones were mixed up."""
    scale: Literal["max"] | Positive = "max"
    """What distances are divided by: the batch's largest, or a number."""
    tolerance: Positive = 1e-8
    """Mass by which the plan may miss its constraints."""
    max_iterations: Count = 1000
    """Limit on the solver's updates in a step."""
    gradient: Literal["implicit", "unrolled"] = "implicit"
    """Of the plan: at the optimum, or through the iterations."""

    @model_validator(mode="after")
    def _every_field_counts(self) -> Self:
        if self.mass == "auto" and self.target != "trimmed":
            raise ValueError("mass = 'auto' needs target = 'trimmed'")
        if self.mass != "auto" and (self.evidence, self.null) != ("clip", "random"):
            raise ValueError("evidence and null do nothing without mass = 'auto'")
        if self.mass_epochs is not None and not isinstance(self.mass, float):
            raise ValueError("mass_epochs does nothing without a mass that is a number")
        return self


class TripletConfig(_Section):
    """The training criterion: triplet loss."""

    name: Literal["triplet"]
    """Every pair scores higher than its negatives, by a margin."""
    margin: Positive = 0.2
    """In units of cosine similarity."""
    negatives: Literal["sum", "hardest"] = "sum"
    """Every negative of the batch, or the hardest one."""


class WeightedTripletConfig(_Section):
    """The training criterion: triplet loss with polynomial weights."""

    name: Literal["weighted-triplet"]
    """Pairs within the margin of their hardest negative, weighed by their similarities."""
    margin: Positive = 0.2
    """In units of cosine similarity."""


class NTXentConfig(_Section):
    """The training criterion: contrastive loss (NT-Xent)."""

    name: Literal["ntxent"]
    """Cross-entropy of each pair among its negatives, in both directions."""
    temperature: Positive = 0.07
    """Softmax temperature."""
    entropy: NonNegative = 0.0
    """Weight of the softmaxes' entropy, which is subtracted from the loss."""


class OptimConfig(_Section):
    """AdamW and its schedule."""

    lr: Positive = 1e-3
    """Peak learning rate."""
    encoder_lr: Positive | None = None
    """Peak learning rate of a fine-tuned text encoder; none: a tenth of lr."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay; vectors and the ground metric have none."""
    batch: Annotated[int, Field(ge=2)] = 128
    """Pairs per step, over all processes."""
    drop_last: Annotated[bool, Field(strict=False)] = True
    """Leave out the rest of an epoch that fills no batch."""
    accumulate: Count = 1
    """Batches whose gradients are averaged for one step."""
    epochs: Count = 12
    """Passes over the training clips."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the rate rises to its peak; then it falls as a cosine."""
    clip_norm: Positive = 2.0
    """Largest gradient norm."""


class AugmentConfig(_Section):
    """SpecAugment: stretches of time and frequency are hidden in training."""

    time_masks: Annotated[int, Field(ge=0)] = 2
    """Number of hidden stretches of time."""
    time_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Longest stretch, as a share of the clip."""
    band_masks: Annotated[int, Field(ge=0)] = 2
    """Number of hidden stretches of frequency."""
    band_share: Annotated[float, Field(ge=0, lt=1)] = 0.12
    """Widest stretch, as a share of the bands."""


class RunConfig(_Section):
    """How the run is carried out."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seeds the weights, the batches, the captions drawn, the augmentation and the noise."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after so many epochs without a better validation score; 0: never."""
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Mixed precision; auto: bf16 where the hardware computes it natively."""
    wandb: str = ""
    """Project of Weights & Biases that the log goes to as well; empty: none."""
    checkpoint_minutes: Positive = 10.0
    """A checkpoint is written after every epoch, and within one after so many minutes."""


class Config(_Section):
    """Everything that defines a training run."""

    data: DataConfig = DataConfig()
    audio: AudioConfig = AudioConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    ground: Annotated[GroundConfig | FullConfig | LowRankConfig, Field(discriminator="name")] = (
        FullConfig()
    )
    loss: Annotated[
        MatchingConfig | TripletConfig | WeightedTripletConfig | NTXentConfig,
        Field(discriminator="name"),
    ] = MatchingConfig()
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


_DEFAULT_KIND = {"ground": "full", "loss": "matching"}


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file (or start from the defaults) and apply dotted overrides.

    Args:
        path: TOML file; None for the defaults.
        overrides: ``section.field=value``; the value is TOML, or a bare word for a string.

    Raises:
        ConfigError: the file cannot be read, or any field is unknown or has a wrong value; the
            message lists every such field, its value and what is allowed.
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
    """The whole tree as TOML, defaults included, each field with its meaning as a comment."""
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
    # Whole numbers, booleans and strings are written alike in JSON and TOML, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _toml_value(key)


def _forget_other_kind(tree: dict[str, Any], section: str, overrides: Sequence[str]) -> None:
    """Drop a file's fields for one kind of loss or metric where an override names another."""
    own = tree.get(section)
    pairs = [override.partition("=") for override in overrides]
    named = [kind for key, _, kind in pairs if key.strip() == f"{section}.name"]
    if not named or not isinstance(own, dict):
        return
    if named[-1].strip().strip("\"'") != own.get("name", _DEFAULT_KIND[section]):
        tree[section] = {}


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
        problems.setdefault(field, []).append(problem)  # one for each branch of a union
    lines = [f"  {field}: {', or: '.join(found)}" for field, found in problems.items()]
    where = "the configuration" if path is None else str(path)
    return "\n".join([f"{where} has {len(lines)} wrong field(s):", *lines])


def _explain_one(detail: Any) -> tuple[str, str]:
    """The field with its value, and what is allowed."""
    path = [str(part) for part in detail["loc"]]
    if path and path[0] in _DEFAULT_KIND and len(path) > 1:
        del path[1]  # pydantic inserts the kind that it validated against
    if detail["type"] == "extra_forbidden":
        known = ", ".join(_known(detail["loc"]))
        return f"{'.'.join(path)} = {detail['input']!r}", f"unknown key; known here: {known}"
    name = ".".join(path[:2])  # what follows is the branch of a union; the user wrote only this
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
