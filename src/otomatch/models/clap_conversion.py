"""A whole CLAP as an audio-text model: both halves, no heads, the Euclidean metric."""

from typing import Any

from otomatch.models.encoders import audio_encoder, clap, text_encoder


def is_clap(description: dict[str, Any]) -> bool:
    """Return True if a ``config.json`` describes a whole CLAP."""
    return description.get("model_type") == clap.MODEL_TYPE


def clap_arguments(source: str) -> dict[str, Any]:
    """Return the arguments of `AudioTextModel` that turn a CLAP into one, with frozen encoders.

    Args:
        source: Hugging Face name or local folder of an unfused CLAP.

    Raises:
        ModelError: The CLAP cannot be loaded, or is a fused one.
    """
    audio = audio_encoder(f"{clap.PREFIX}{source}", trainable=False)
    return {
        "audio": audio,
        "text": text_encoder(f"{clap.PREFIX}{source}"),
        "ground": {"name": "identity"},
        "dim": audio.width,
        "hidden": 0,
        "dropout": 0.0,
        "window_seconds": audio.window_seconds,
    }
