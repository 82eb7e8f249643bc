"""The network of an audio-text model: two encoders, two heads and a ground metric."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from otomatch.errors import InvalidInputError
from otomatch.models.encoders import AudioEncoder, TextEncoder
from otomatch.models.heads import projection_head
from otomatch.transport import GROUND_METRICS, GroundMetric


class DualEncoder(nn.Module):
    """Two encoders with heads that project into one space, and the ground metric of that space.

    `AudioTextModel` adds the methods for files and captions, and documents the arguments.

    Attributes:
        audio_encoder: Audio encoder.
        text_encoder: Text encoder.
        ground: Ground metric of the joint space.
        settings: All other arguments, as JSON values.
    """

    def __init__(
        self,
        audio: AudioEncoder,
        text: TextEncoder,
        ground: dict[str, Any] | None = None,
        dim: int = 256,
        hidden: int = 512,
        dropout: float = 0.1,
        window_seconds: float = 10.0,
    ) -> None:
        super().__init__()
        if audio.window_seconds not in (None, window_seconds):
            raise InvalidInputError(
                f"the audio encoder takes windows of exactly {audio.window_seconds} s, but "
                f"window_seconds = {window_seconds}; use window_seconds = {audio.window_seconds}"
            )
        self.audio_encoder, self.text_encoder = audio, text
        self.settings: dict[str, Any] = {
            "ground": ground or {"name": "full"},
            "dim": dim,
            "hidden": hidden,
            "dropout": dropout,
            "window_seconds": window_seconds,
        }
        self.audio_head = projection_head(audio.width, hidden, dim, dropout)
        self.text_head = projection_head(text.width, hidden, dim, dropout)
        self.ground = _ground_metric(dim, **self.settings["ground"])

    def forward(
        self, audio: Tensor, lengths: Tensor | None, text: Tensor | Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Embed a batch of pairs; see `project_audio` and `project_text` for the arguments."""
        return self.project_audio(audio, lengths), self.project_text(text)

    def project_audio(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Project features, or the audio encoder's outputs for them, to unit vectors (B, D).

        Args:
            audio: Features (B, frames, bands), or outputs of the audio encoder (B, width).
            lengths: Frames of each clip, (B,); None if no clip is padded. Ignored for outputs.
        """
        states = audio if audio.ndim == 2 else self.audio_encoder(audio, lengths)
        return unit_vectors(self.audio_head(states))

    def project_text(self, text: Tensor | Sequence[str]) -> Tensor:
        """Project B captions, or the text encoder's outputs (B, width), to unit vectors (B, D)."""
        states = text if isinstance(text, Tensor) else self.text_encoder(text)
        return unit_vectors(self.text_head(states))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def window_frames(self) -> int:
        """Number of feature frames in the longest window."""
        return 1 + round(float(self.settings["window_seconds"]) * self.audio_encoder.frame_rate)


def unit_vectors(vectors: Tensor) -> Tensor:
    """Return the vectors (n, D) scaled to unit length, in float32 or wider."""
    # Under autocast a norm computed in bfloat16 is off by up to 0.4 %.
    return nn.functional.normalize(vectors.float() if vectors.itemsize < 4 else vectors, dim=1)


def own_weights(model: DualEncoder) -> dict[str, Tensor]:
    """Return all weights and buffers except the text encoder's, on the CPU.

    The text encoder is saved by name, or beside these weights in its own format.
    """
    return {
        key: tensor.detach().cpu().contiguous()
        for key, tensor in model.state_dict().items()
        if not key.startswith("text_encoder.")
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode without gradients; restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _ground_metric(dim: int, name: str, **settings: Any) -> GroundMetric:
    if name not in GROUND_METRICS:
        raise InvalidInputError(
            f"unknown ground metric {name!r}; available: {', '.join(GROUND_METRICS)}"
        )
    metric: GroundMetric = GROUND_METRICS[name](dim, **settings)
    return metric
