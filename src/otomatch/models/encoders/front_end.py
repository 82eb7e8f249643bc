"""The fixed part of an audio encoder: from a waveform to log-mel features."""

import torch
from torch import Tensor

from otomatch.audio.log_mel import LogMel, LogMelConfig
from otomatch.models.encoders.freezing import Freezable


class LogMelEncoder(Freezable):
    """Front end of an audio encoder; subclasses add the learned layers and ``width``.

    The attributes are documented in `AudioEncoder`.

    Args:
        config: Configuration of the log-mel spectrogram.
    """

    width: int

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.front_end = LogMel(config)
        self.sample_rate, self.bands = config.sample_rate, config.mels
        self.frame_rate = config.sample_rate / config.hop
        self.feature_key = repr(config)
        self.window_seconds: float | None = None

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Compute features (frames, bands) in dB of a waveform (samples,) at ``sample_rate``."""
        frames: Tensor = self.front_end(waveform.to(self.front_end.window.device))
        return frames.to(waveform.device)
