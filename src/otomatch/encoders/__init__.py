"""Audio and text encoders, built by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from otomatch.encoders.panns import Cnn10, Cnn14, ResNet38
from otomatch.encoders.protocols import AudioEncoder, TextEncoder
from otomatch.encoders.small import SmallAudioEncoder
from otomatch.encoders.text import HuggingFaceTextEncoder
from otomatch.errors import InvalidInputError

__all__ = [
    "AUDIO_ENCODERS",
    "AudioEncoder",
    "Cnn10",
    "Cnn14",
    "HuggingFaceTextEncoder",
    "ResNet38",
    "SmallAudioEncoder",
    "TextEncoder",
    "audio_encoder",
    "text_encoder",
]

AUDIO_ENCODERS: dict[str, Callable[..., AudioEncoder]] = {
    "Cnn10": Cnn10,
    "Cnn14": Cnn14,
    "ResNet38": ResNet38,
    "small": SmallAudioEncoder,
}


def audio_encoder(name: str, checkpoint: str | Path | None = None, **settings: Any) -> AudioEncoder:
    """Build an audio encoder.

    Args:
        name: a key of `AUDIO_ENCODERS`.
        checkpoint: pretrained weights, for an encoder that takes some.
        settings: the other arguments of its constructor.

    Raises:
        InvalidInputError: the name is unknown, or the encoder has no such setting.
    """
    if name not in AUDIO_ENCODERS:
        raise InvalidInputError(
            f"unknown audio encoder {name!r}; available: {', '.join(sorted(AUDIO_ENCODERS))}"
        )
    if checkpoint is not None:
        settings["checkpoint"] = checkpoint
    encoder: AudioEncoder = _build(AUDIO_ENCODERS[name], name, settings)
    return encoder


def text_encoder(name: str = "minilm", **settings: Any) -> TextEncoder:
    """Build a text encoder: ``minilm`` (no download), a Hugging Face name or a local folder.

    Raises:
        InvalidInputError: the encoder has no such setting.
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
