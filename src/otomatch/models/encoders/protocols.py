"""Protocols of encoders: any object with these members can be used as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class AudioEncoder(Protocol):
    """Audio encoder: waveform -> features (fixed, cached on disk) -> one vector per clip (learned).

    Attributes:
        sample_rate: Sample rate of waveforms in Hz.
        width: Length of the clip vector.
        bands: Length of a feature frame.
        frame_rate: Number of feature frames per second.
        feature_key: Identifier of the computation in `features`, for caches.
        window_seconds: Required length of a clip in seconds, to which `features` extends shorter
            sounds; None for any length.
        trainable: True if training updates the encoder; the outputs of a frozen one are cached.
    """

    sample_rate: int
    width: int
    bands: int
    frame_rate: float
    feature_key: str
    window_seconds: float | None
    trainable: bool

    def features(self, waveform: Tensor) -> Tensor:
        """Compute the features (frames, bands) of a waveform (samples,) at ``sample_rate``.

        They are deterministic and have no gradient.
        """
        ...

    def __call__(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features (B, frames, bands), (B, width).

        Frames of clip i from ``lengths[i]`` on are padding and have no effect; None means that no
        clip is padded.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return the arguments of `audio_encoder` that rebuild this encoder, as JSON values."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Text encoder: captions -> one vector per caption.

    Attributes:
        width: Length of the caption vector.
        trainable: True if training updates the encoder; the outputs of a frozen one are cached.
    """

    width: int
    trainable: bool

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Encode n captions, (n, width); no vector depends on the other captions."""
        ...

    def fingerprint(self) -> str:
        """Return a digest of all weights and settings that outputs depend on, 64 hex digits."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights that cannot be loaded by name; return the arguments of `text_encoder`.

        A ``name`` that starts with ``./``, possibly after a prefix such as ``clap:``, is relative
        to the folder.
        """
        ...
