"""Small convolutional-recurrent audio encoder that trains on a CPU in minutes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from otomatch.audio.log_mel import LogMelConfig
from otomatch.errors import InvalidInputError
from otomatch.models.encoders.front_end import LogMelEncoder
from otomatch.models.encoders.masking import mean_and_max, norm_features, norm_maps, unless_full

_FRONT_END = LogMelConfig(sample_rate=32000, n_fft=1024, hop=640, mels=64, low=50.0, high=14000.0)


class _ConvBlock(nn.Module):
    """3x3 convolution, batch norm and ReLU; ``stride`` is (time, frequency)."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if lengths is not None:
            lengths = -(-lengths // self.stride[0])
        return torch.relu(norm_maps(self.norm, self.conv(x), lengths)), lengths


class SmallAudioEncoder(LogMelEncoder):
    """Log-mel -> four convolution blocks -> bidirectional GRU -> mean and maximum over time.

    With the recurrence, the pooled vector can distinguish "a, then b" from "b, then a".

    Args:
        channels: Output channels of the four blocks.
        hidden: GRU units per direction; the width of the clip vector is 4 x ``hidden``.
        dropout: Dropout probability of the GRU's input, in training.

    Raises:
        InvalidInputError: There are not four channels, or a number is below 1.

    Shape:
        - features: (B, frames, 64), decibels, 50 frames per second
        - output: (B, width)
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (32, 64, 128, 128),
        hidden: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(_FRONT_END)
        if len(channels) != 4 or min(*channels, hidden) < 1:
            raise InvalidInputError(
                f"channels must be 4 numbers and hidden one, each at least 1; "
                f"got channels = {list(channels)}, hidden = {hidden}"
            )
        self.channels, self.hidden = tuple(channels), hidden
        self.width = 4 * hidden
        self.input_norm = nn.BatchNorm1d(self.bands)
        strides = ((2, 2), (2, 2), (1, 2), (1, 2))
        widths = (1, *self.channels)
        self.blocks = nn.ModuleList(
            _ConvBlock(widths[i], widths[i + 1], stride) for i, stride in enumerate(strides)
        )
        self.dropout = nn.Dropout(dropout)
        rnn_input = self.channels[-1] * (self.bands // 16)
        self.rnn = nn.GRU(rnn_input, hidden, batch_first=True, bidirectional=True)

    def describe(self) -> dict[str, Any]:
        """Return the arguments of `audio_encoder` that rebuild this encoder, not its weights."""
        return {
            "name": "small",
            "channels": list(self.channels),
            "hidden": self.hidden,
            "dropout": self.dropout.p,
        }

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode a batch; ``lengths`` (B,) are the clips' frames, None if no clip is padded."""
        lengths = unless_full(lengths, features.shape[1])
        x = norm_features(self.input_norm, features, lengths)
        for block in self.blocks:
            x, lengths = block(x, lengths)
        x = self.dropout(x.permute(0, 2, 1, 3).flatten(2))
        return torch.cat(mean_and_max(self._recur(x, lengths), lengths), dim=1)

    def _recur(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return self.rnn(x)[0]  # type: ignore[no-any-return]
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return states
