"""Sections of the configuration: every field with its type, its default and its meaning."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of every section: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class DataConfig(Section):
    """The training and validation data."""

    path: str = ""
    """Folder of the data set (with captions.csv), or NAME:FOLDER, e.g. clotho:data/clotho."""
    val: str = ""
    """Data set to validate on; empty: rows of split 'val', else a random share of the clips."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the clips held out if there are no validation rows."""
    noise: Share = 0.0
    """Share of the training clips that get mismatched captions on purpose."""
    noise_kind: Literal["clip", "caption", "similar"] = "clip"
    """One of clip, similar, caption: captions of random or similar clips, or exchanged singly."""
    clips: Annotated[int, Field(ge=2)] | None = None
    """Number of training clips to use, the first in a random order; none: all."""
    pairs: str = ""
    """pairs.csv of an earlier run; captions with a weight below min_weight are left out."""
    min_weight: Share = 0.5
    """Minimum weight in pairs.csv to keep a caption."""

    @model_validator(mode="after")
    def _every_field_counts(self) -> Self:
        if self.min_weight != 0.5 and not self.pairs:
            raise ValueError("min_weight does nothing without pairs")
        return self


class AudioConfig(Section):
    """The audio encoder."""

    encoder: str = "small"
    """small, Cnn10, Cnn14, ResNet38, or 'clap:' and the name or folder of an unfused CLAP."""
    trainable: Annotated[bool, Field(strict=False)] = True
    """True to train the encoder; a frozen one runs once per window of a clip and is cached."""
    settings: dict[str, Any] = {}
    """Arguments of that encoder; Cnn10, Cnn14, ResNet38: {checkpoint = "download"} or a path."""


class TextConfig(Section):
    """The text encoder."""

    encoder: str = "minilm"
    """'minilm' (packaged, no download), a Hugging Face name or a folder, or 'clap:NAME'."""
    pooling: Literal["mean", "cls"] | None = None
    """One of mean (over tokens), cls (first token); none: the mean, or a CLAP's projection."""
    trainable: Annotated[bool, Field(strict=False)] = False
    """True to fine-tune the encoder; a frozen one runs once per caption and is cached."""
    max_tokens: Annotated[int, Field(ge=3)] = 64
    """Maximum number of tokens; longer captions are cut."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Every dropout probability of a fine-tuned encoder; none: the encoder's own."""


class ModelConfig(Section):
    """The joint space and the windows of long sounds."""

    dim: Count = 256
    """Dimensions of the joint space."""
    hidden: Annotated[int, Field(ge=0)] = 512
    """Hidden units of the two heads (linear, ReLU, linear); 0: no heads, for encoders dim wide."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout probability between the layers of the heads."""
    window_seconds: Positive = 10.0
    """Window length in seconds; longer clips are cropped in training, windowed in evaluation."""


class GroundConfig(Section):
    """The ground metric d_M."""

    name: Literal["identity", "diagonal"]
    """One of full, low-rank, diagonal (a weight per dimension), identity (Euclidean)."""


class FullConfig(Section):
    """The ground metric d_M."""

    name: Literal["full"] = "full"
    """One of full (a symmetric matrix M), low-rank, diagonal, identity."""
    project: Annotated[bool, Field(strict=False)] = True
    """True to project M to the positive semi-definite cone after every step, as in the paper."""


class LowRankConfig(Section):
    """The ground metric d_M with M = L^T L."""

    name: Literal["low-rank"]
    """One of full, low-rank (M = L^T L, L of shape (rank, dim)), diagonal, identity."""
    rank: Count = 64
    """Number of rows of L."""


GroundMetricConfig = Annotated[
    GroundConfig | FullConfig | LowRankConfig, Field(discriminator="name")
]
"""Section ``ground``, by name of the metric."""


class MatchingConfig(Section):
    """The training criterion: KL divergence between the target matching and the transport plan."""

    name: Literal["matching"] = "matching"
    """One of matching (optimal transport), triplet, weighted-triplet, ntxent."""
    epsilon: Positive = 0.05
    """Strength of the entropic regularisation, in units of the cost."""
    mass: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] | None = None
    """Mass of the plan; none: 1, a balanced plan; auto: estimated (with target trimmed only)."""
    target: Literal["full", "trimmed"] = "full"
    """One of full (the paper's), trimmed (the plan's mass, without the pairs of highest cost)."""
    scale: Literal["max"] | Positive = "max"
    """Divisor of the distances: the largest of the batch, or a number."""
    tolerance: Positive = 1e-8
    """Mass by which the plan may violate its constraints."""
    max_iterations: Count = 1000
    """Maximum number of solver iterations per step."""
    gradient: Literal["implicit", "unrolled"] = "implicit"
    """One of implicit (at the optimum), unrolled (through every iteration): the plan's gradient."""

    @model_validator(mode="after")
    def _every_field_counts(self) -> Self:
        if self.mass == "auto" and self.target != "trimmed":
            raise ValueError("mass = 'auto' needs target = 'trimmed'")
        return self


class TripletConfig(Section):
    """The training criterion: triplet loss; pairs must score higher than negatives by a margin."""

    name: Literal["triplet"]
    """One of matching, triplet, weighted-triplet, ntxent."""
    margin: NonNegative = 0.2
    """Margin in units of cosine similarity."""
    negatives: Literal["sum", "hardest"] = "sum"
    """One of sum, hardest: all negatives of the batch count, or only the hardest one."""


class WeightedTripletConfig(Section):
    """The training criterion: triplet loss of the hardest negatives, with polynomial weights."""

    name: Literal["weighted-triplet"]
    """One of matching, triplet, weighted-triplet (polynomial weights), ntxent."""
    margin: NonNegative = 0.2
    """Margin in units of cosine similarity."""


class NTXentConfig(Section):
    """The training criterion: cross-entropy of pairs among their negatives, in both directions."""

    name: Literal["ntxent"]
    """One of matching, triplet, weighted-triplet, ntxent (contrastive)."""
    temperature: Positive = 0.07
    """Softmax temperature."""
    entropy: NonNegative = 0.0
    """Weight of the softmaxes' entropy, which is subtracted from the loss."""


LossConfig = Annotated[
    MatchingConfig | TripletConfig | WeightedTripletConfig | NTXentConfig,
    Field(discriminator="name"),
]
"""Section ``loss``, by name of the loss."""


class ScheduleConfig(Section):
    """The schedule of the plan's mass."""

    mass_epochs: NonNegative | None = None
    """Epochs in which the mass falls from 1 to loss.mass; none: 3 if trimmed, else 0."""


class MismatchConfig(Section):
    """The estimate of mismatched pairs, for loss.mass = "auto"."""

    unit: Literal["clip", "caption"] = "clip"
    """One of clip, caption: all captions of a clip are mismatched together, or each by itself."""
    null: Literal["random", "similar"] = "random"
    """One of random, similar (if similar clips were mixed up): captions to compare pairs with."""


class OptimConfig(Section):
    """AdamW and its schedule."""

    lr: Positive = 1e-3
    """Peak learning rate."""
    text_encoder_lr: Positive | None = None
    """Peak learning rate of a fine-tuned text encoder; none: a tenth of lr."""
    audio_encoder_lr: Positive | None = None
    """Peak learning rate of a trained audio encoder; none: lr."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay of matrices; vectors and the ground metric have none."""
    batch: Annotated[int, Field(ge=2)] = 128
    """Number of pairs per batch, over all processes."""
    drop_last: Annotated[bool, Field(strict=False)] = True
    """True to drop the last, incomplete batch of an epoch."""
    accumulate: Count = 1
    """Number of batches whose gradients are averaged for one step."""
    epochs: Count = 12
    """Number of passes over the training clips."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the rate rises to its peak; then it falls as a cosine."""
    clip_norm: Positive = 2.0
    """Maximum norm of the gradient."""


class AugmentConfig(Section):
    """SpecAugment: random stretches of time and frequency are masked in training."""

    time_masks: Annotated[int, Field(ge=0)] = 2
    """Number of masked stretches of time."""
    time_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Maximum length of a stretch, as a share of the clip."""
    band_masks: Annotated[int, Field(ge=0)] = 2
    """Number of masked stretches of frequency."""
    band_share: Annotated[float, Field(ge=0, lt=1)] = 0.12
    """Maximum width of a stretch, as a share of the bands."""


class RunConfig(Section):
    """The execution of the run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Random seed of the weights, batches, captions, augmentation and caption noise."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Number of epochs without a better validation score before the run stops; 0: no limit."""
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """One of auto, no, bf16, fp16; auto: bf16 where the hardware computes it natively."""
    wandb: str = ""
    """Weights & Biases project to send the log to; empty: none."""
    checkpoint_minutes: Positive = 10.0
    """Minutes between checkpoints within an epoch; one is also written after every epoch."""
