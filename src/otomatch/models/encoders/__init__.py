"""Audio and text encoders, built by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from otomatch.errors import InvalidInputError
from otomatch.models.encoders.clap import ClapAudioEncoder
from otomatch.models.encoders.freezing import is_frozen, trainable_parameters
from otomatch.models.encoders.panns import Cnn10, Cnn14, ResNet38
from otomatch.models.encoders.protocols import AudioEncoder, TextEncoder
from otomatch.models.encoders.small import SmallAudioEncoder
from otomatch.models.encoders.text import HuggingFaceTextEncoder

__all__ = [
    "AUDIO_ENCODERS",
    "AudioEncoder",
    "ClapAudioEncoder",
    "Cnn10",
    "Cnn14",
    "HuggingFaceTextEncoder",
    "ResNet38",
    "SmallAudioEncoder",
    "TextEncoder",
    "audio_encoder",
    "is_frozen",
    "text_encoder",
    "trainable_parameters",
]

AUDIO_ENCODERS: dict[str, Callable[..., AudioEncoder]] = {
    "Cnn10": Cnn10,
    "Cnn14": Cnn14,
    "ResNet38": ResNet38,
    "clap": ClapAudioEncoder,
    "small": SmallAudioEncoder,
}


def audio_encoder(
    name: str, checkpoint: str | Path | None = None, trainable: bool = True, **settings: Any
) -> AudioEncoder:
    """Build an audio encoder.

    Args:
        name: a key of `AUDIO_ENCODERS`, or one with its checkpoint, as in
            ``clap:laion/clap-htsat-unfused``.
        checkpoint: pretrained weights, for an encoder that takes some.
        trainable: let training update the encoder; otherwise it is frozen.
        settings: the other arguments of its constructor.

    Raises:
        InvalidInputError: the name is unknown, or the encoder has no such setting.
        ModelError: the checkpoint cannot be loaded.
    """
    kind, _, named = name.partition(":")
    if kind not in AUDIO_ENCODERS:
        raise InvalidInputError(
            f"unknown audio encoder {name!r}; available: {', '.join(sorted(AUDIO_ENCODERS))}"
        )
    if named and checkpoint is not None:
        raise InvalidInputError(
            f"audio encoder {name!r} names a checkpoint already; leave {checkpoint} out"
        )
    if named or checkpoint is not None:
        settings["checkpoint"] = checkpoint or named
    encoder = _build(AUDIO_ENCODERS[kind], name, settings)
    if not trainable:
        encoder.freeze()
    return encoder  # type: ignore[no-any-return]


def text_encoder(name: str = "minilm", **settings: Any) -> TextEncoder:
    """Build a text encoder: ``minilm`` (no download), a Hugging Face name or a local folder.

    Behind ``clap:``, the name or folder of a CLAP. For the settings see `HuggingFaceTextEncoder`.

    Raises:
        InvalidInputError: the encoder has no such setting, or not with this value.
        MissingDependencyError: ``minilm`` is asked for and its package is not installed.
        ModelError: the name or folder cannot be loaded.
    """
    encoder: TextEncoder = _build(HuggingFaceTextEncoder, name, {"name": name, **settings})
    return encoder


def _build(factory: Callable[..., Any], name: str, settings: dict[str, Any]) -> Any:
    try:
        return factory(**settings)
    except InvalidInputError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"encoder {name!r}: {error}") from error
