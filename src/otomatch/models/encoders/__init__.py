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
        name: Key of `AUDIO_ENCODERS`, optionally with a checkpoint, as in
            ``clap:laion/clap-htsat-unfused``.
        checkpoint: Pretrained weights, for encoders that accept them.
        trainable: Let training update the encoder; if False, it is frozen.
        settings: Other arguments of the encoder's constructor.

    Raises:
        InvalidInputError: The name is unknown, or the encoder has no such setting.
        ModelError: The checkpoint cannot be loaded.
    """
    kind, _, named = name.partition(":")
    if kind not in AUDIO_ENCODERS:
        raise InvalidInputError(
            f"unknown audio encoder {name!r}; available: {', '.join(sorted(AUDIO_ENCODERS))}"
        )
    if named and checkpoint is not None:
        raise InvalidInputError(
            f"audio encoder {name!r} already names a checkpoint; leave {checkpoint} out"
        )
    if named or checkpoint is not None:
        settings["checkpoint"] = checkpoint or named
    encoder = _build(AUDIO_ENCODERS[kind], name, settings)
    if not trainable:
        encoder.freeze()
    return encoder  # type: ignore[no-any-return]


def text_encoder(name: str = "minilm", **settings: Any) -> TextEncoder:
    """Build a text encoder.

    Args:
        name: ``minilm`` (packaged, no download), a Hugging Face name, a local folder, or ``clap:``
            followed by the name or folder of a CLAP.
        settings: Other arguments of `HuggingFaceTextEncoder`.

    Raises:
        InvalidInputError: The encoder has no such setting, or does not accept its value.
        MissingDependencyError: The name is ``minilm`` and its package is not installed.
        ModelError: The name or folder cannot be loaded.
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
