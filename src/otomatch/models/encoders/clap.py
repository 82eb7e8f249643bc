"""CLAP (Wu et al., 2023): audio and text encoders that share a space, loaded with transformers.

Each encoder is one half of a ``ClapModel``: the transformer and its projection. The log-mel front
end is the feature extractor's, without its random truncation. A clip of up to the extractor's
length (10 s) is repeated to that length, and its embedding equals transformers' own; a longer clip
has features of its whole length, which are then cut into windows.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from otomatch.audio.log_mel import LogMel, LogMelConfig
from otomatch.errors import InvalidInputError, ModelError
from otomatch.models.encoders.freezing import Freezable
from otomatch.models.encoders.pretrained import explaining, load_network, override_dropout

PREFIX = "clap:"
MODEL_TYPE = "clap"
"""Value of ``model_type`` in the ``config.json`` of a whole ``ClapModel``."""
_ADVICE = "use the name or folder of a CLAP, such as laion/clap-htsat-unfused"


class ClapAudioEncoder(Freezable):
    """Audio half of an unfused CLAP: HTS-AT and its projection.

    Pass either a checkpoint, or the three other arguments for a network with random weights.

    Args:
        checkpoint: Hugging Face name or local folder of a CLAP.
        config: Configuration of the network, as returned by `describe`.
        front_end: Configuration of the log-mel spectrogram, as returned by `describe`.
        window_seconds: Length of the clips that the network accepts, in seconds.

    Raises:
        InvalidInputError: Neither a checkpoint nor the three settings are given, or both.
        ModelError: The checkpoint cannot be loaded, is not a CLAP, or is a fused one.

    Shape:
        - features: (B, frames, bands), decibels, all clips of exactly ``window_seconds``
        - output: (B, width)
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        config: dict[str, Any] | None = None,
        front_end: dict[str, Any] | None = None,
        window_seconds: float | None = None,
    ) -> None:
        super().__init__()
        if checkpoint is not None and (config, front_end, window_seconds) == (None, None, None):
            half = _load_audio(str(checkpoint))
        elif checkpoint is None and config and front_end and window_seconds:
            half = _build_audio(config, LogMelConfig(**front_end), window_seconds)
        else:
            raise InvalidInputError(f"a CLAP needs a checkpoint; {_ADVICE}, after 'clap:'")
        self.network = half.network
        self.window_seconds: float | None = half.window_seconds
        self.front_end = LogMel(half.front_end, torch.float64)  # as in the extractor
        self.sample_rate, self.bands = half.front_end.sample_rate, half.front_end.mels
        self.frame_rate = half.front_end.sample_rate / half.front_end.hop
        self.feature_key = f"clap {half.front_end} {half.window_seconds}"
        self.width = int(self.network.config.projection_dim)
        self._samples = round(half.window_seconds * self.sample_rate)
        self._frames = 1 + self._samples // half.front_end.hop

    def describe(self) -> dict[str, Any]:
        """Return the arguments of `audio_encoder` that rebuild this encoder, not its weights."""
        return {
            "name": "clap",
            "config": _own_settings(self.network.config),
            "front_end": asdict(self.front_end.config),
            "window_seconds": self.window_seconds,
        }

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Compute features (frames, bands) in dB of a waveform (samples,).

        A sound shorter than ``window_seconds`` is repeated, then padded to that length.
        """
        wave = waveform.to(self.front_end.window)
        wave = wave.repeat(max(1, self._samples // len(wave)))
        wave = nn.functional.pad(wave, (0, max(0, self._samples - len(wave))))
        frames: Tensor = self.front_end(wave)
        return frames.to(waveform)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode a batch of windows, all of the length that the network accepts."""
        short = lengths is not None and bool((lengths != self._frames).any())
        if features.shape[1] != self._frames or short:
            raise InvalidInputError(
                f"this CLAP takes windows of exactly {self._frames} frames "
                f"({self.window_seconds} s), got a batch of shape {tuple(features.shape)}"
            )
        vectors: Tensor = self.network(input_features=features[:, None]).audio_embeds
        return vectors


class _AudioHalf(NamedTuple):
    network: Any
    front_end: LogMelConfig
    window_seconds: float


def _build_audio(
    settings: dict[str, Any], front_end: LogMelConfig, window_seconds: float
) -> _AudioHalf:
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection

    network = ClapAudioModelWithProjection(ClapAudioConfig(**settings))
    return _AudioHalf(network, front_end, window_seconds)


def _load_audio(source: str) -> _AudioHalf:
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    with explaining("audio encoder", source, _ADVICE):
        config = _half_config(ClapAudioConfig, source)
        extractor = ClapFeatureExtractor.from_pretrained(source)
        if config.enable_fusion or extractor.truncation == "fusion":
            raise ModelError(
                f"{source!r} is a fused CLAP, whose features of a long sound are random crops; "
                "use an unfused one, such as laion/clap-htsat-unfused"
            )
        if extractor.padding != "repeatpad":
            raise ModelError(
                f"{source!r} pads short sounds by {extractor.padding!r}, expected 'repeatpad'; "
                f"{_ADVICE}"
            )
        network = load_network(ClapAudioModelWithProjection, source, config)
    front_end = LogMelConfig(
        sample_rate=extractor.sampling_rate,
        n_fft=extractor.fft_window_size,
        hop=extractor.hop_length,
        mels=extractor.feature_size,
        low=float(extractor.frequency_min),
        high=float(extractor.frequency_max),
    )
    return _AudioHalf(network, front_end, float(extractor.max_length_s))


def load_text(source: str, dropout: float | None) -> tuple[Any, Any]:
    """Load the tokenizer and the text half (transformer and projection) of a CLAP.

    Args:
        source: Hugging Face name or local folder of a CLAP, or of a text half saved on its own.
        dropout: Dropout probability in training, see `override_dropout`.

    Raises:
        ModelError: The source cannot be loaded, or is not a CLAP.
    """
    from transformers import AutoTokenizer, ClapTextConfig, ClapTextModelWithProjection

    with explaining("text encoder", source, _ADVICE):
        config = _half_config(ClapTextConfig, source)
        override_dropout(config, dropout)
        network = load_network(ClapTextModelWithProjection, source, config)
        return AutoTokenizer.from_pretrained(source), network


def _half_config(kind: Any, source: str) -> Any:
    description, _ = kind.get_config_dict(source)
    found = description.get("model_type")
    if found not in (MODEL_TYPE, kind.model_type):
        what = f"is of the type {found!r}, not a CLAP" if found else "has no config.json"
        raise ModelError(f"{source!r} {what}; {_ADVICE}")
    return kind.from_pretrained(source)


def _own_settings(config: Any) -> dict[str, Any]:
    """Return the network's own settings, without those that all configurations have."""
    from transformers import PretrainedConfig

    general = {*PretrainedConfig().to_dict(), "model_type"}
    settings: dict[str, Any] = config.to_dict()
    return {key: value for key, value in settings.items() if key not in general}
