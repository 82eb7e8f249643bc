"""What otomatch asks of an encoder; anything that has these members can be one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class AudioEncoder(Protocol):
    """Waveform -> features (cheap, fixed, cached on disk) -> one vector per clip (learned).

    Attributes:
        sample_rate: Hz that `features` expects.
        width: length of the clip vector.
        bands: length of one feature frame.
        frame_rate: feature frames per second.
        feature_key: identifies what `features` computes, for caches.
        window_seconds: the one length of clip that it takes, which `features` fills with a shorter
            sound; None for any length.
        trainable: whether training updates the encoder; a frozen one's outputs are cached.
    """

    sample_rate: int
    width: int
    bands: int
    frame_rate: float
    feature_key: str
    window_seconds: float | None
    trainable: bool

    def features(self, waveform: Tensor) -> Tensor:
        """(samples,) at `sample_rate` -> (frames, bands); deterministic, without gradient."""
        ...

    def __call__(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, frames, bands) -> (B, width); frames at or beyond ``lengths[i]`` have no effect."""
        ...

    def describe(self) -> dict[str, Any]:
        """Arguments of `audio_encoder` that build this encoder again, as JSON values."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Captions -> one vector per caption.

    Attributes:
        width: length of the caption vector.
        trainable: whether training updates the encoder; a frozen one's outputs are cached.
    """

    width: int
    trainable: bool

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Encode n captions, (n, width), each the same whatever the others are."""
        ...

    def fingerprint(self) -> str:
        """Identify the weights and settings that the outputs depend on, as 64 hex digits."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what cannot be had by name; return the arguments of `text_encoder`.

        A ``name`` that begins with ``./``, alone or behind a prefix such as ``clap:``, is relative
        to the folder.
        """
        ...
