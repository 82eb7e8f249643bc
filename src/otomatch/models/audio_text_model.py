"""The joint audio-text model: sounds and descriptions in one space, under a learned metric."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.models.dual_encoder import DualEncoder, evaluating
from otomatch.models.fingerprints import model_fingerprint
from otomatch.models.saving import load_model, save_model
from otomatch.models.states import audio_states, embed_audio_states
from otomatch.models.windowing import AudioInput, sound_features


class AudioTextModel(DualEncoder):
    """Embeds sounds and descriptions in one space, under a learned ground metric.

    Clips longer than ``window_seconds`` are cut into windows, whose embeddings are averaged.

    Args:
        audio: Audio encoder.
        text: Text encoder.
        ground: Name of the ground metric and its other arguments, see `GROUND_METRICS`; None for
            ``{"name": "full"}``.
        dim: Dimensions D of the joint space.
        hidden: Hidden units of both heads; 0 for no heads, which requires encoders of width D.
        dropout: Dropout probability in the heads, in training.
        window_seconds: Length of a window in seconds.

    Raises:
        InvalidInputError: The ground metric is unknown, there are no heads but an encoder's width
            is not D, or the audio encoder requires another window length.
    """

    def embed_audio(self, clips: Sequence[AudioInput]) -> Tensor:
        """Embed sounds.

        Args:
            clips: Paths, or pairs (waveform, sample rate in Hz) with a waveform of shape
                (samples,) or (channels, samples).

        Returns:
            Unit vectors, float32 (n, D), on the CPU. The vector of a clip does not depend on the
            other clips.

        Raises:
            AudioError: A clip cannot be read, or contains no audio.
            InvalidInputError: ``clips`` is a single sound, or a rate is not a positive number.
        """
        if isinstance(clips, str | os.PathLike):
            raise InvalidInputError(f"clips must be a list, got the single path {clips}")
        if isinstance(clips, tuple) and len(clips) == 2 and isinstance(clips[1], int):
            raise InvalidInputError("clips must be a list; put the (waveform, rate) into one")
        return self.embed_features([sound_features(self, clip) for clip in clips])

    def embed_features(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed sounds given as features of whole clips.

        Args:
            clips: Features, n tensors (frames, bands).

        Returns:
            Unit vectors, float32 (n, D), on the CPU.
        """
        return embed_audio_states(self, audio_states(self, clips))

    def embed_text(self, captions: Sequence[str] | Tensor) -> Tensor:
        """Embed descriptions.

        Args:
            captions: n strings, or the text encoder's outputs for them, (n, width).

        Returns:
            Unit vectors, float32 (n, D), on the CPU.

        Raises:
            InvalidInputError: ``captions`` is a single string.
        """
        if isinstance(captions, str):
            raise InvalidInputError("captions must be a list of strings, got one string")
        text = captions.to(self.device) if isinstance(captions, Tensor) else captions
        with evaluating(self):
            return self.project_text(text).float().cpu()

    @torch.no_grad()
    def whiten(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (n, D) to where Euclidean distance is the learned one, on the CPU."""
        return self.ground.whiten(embeddings.to(self.device)).cpu()

    @torch.no_grad()
    def distance(self, audio: Tensor, text: Tensor) -> Tensor:
        """Return learned distances d_M between embeddings (n, D) and (m, D), (n, m), on the CPU."""
        distances: Tensor = self.ground(audio.to(self.device), text.to(self.device))
        return distances.cpu()

    @property
    def fingerprint(self) -> str:
        """Digest of everything that embeddings depend on, 64 hex digits."""
        return model_fingerprint(self)

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the model as a folder; a model that is already there is replaced atomically.

        Args:
            folder: Folder to write.
            card: Model card (Markdown), written as ``README.md``.

        Raises:
            ModelError: The folder exists and contains something other than a model.
        """
        save_model(self, Path(folder), card)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> Self:
        """Load a model from its folder, or by its name on the Hugging Face hub.

        Args:
            name: Folder or Hugging Face name of a model. The name of an unfused CLAP, such as
                ``laion/clap-htsat-unfused``, gives a model without heads, with both encoders
                frozen and the Euclidean metric.
            device: Device to compute on. Embeddings are returned on the CPU in any case.

        Returns:
            The model, in evaluation mode.

        Raises:
            ModelError: There is no such model, a part of it is missing or damaged, or its text
                encoder is not the one that it was trained with.
        """
        return load_model(cls, name).to(device).eval()
