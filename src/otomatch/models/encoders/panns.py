"""PANNs: convolutional networks pretrained on AudioSet (Kong et al., 2020, arXiv 1912.10211).

Modules have the names of the published state dicts. The classifier and the front end in those are
left out: the clip vector does not use the classifier, and `LogMel` replaces the front end.
"""

import warnings
from abc import ABC, abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from otomatch.audio.log_mel import LogMelConfig
from otomatch.models.encoders.front_end import LogMelEncoder
from otomatch.models.encoders.masking import (
    frame_mask,
    mean_and_max,
    norm_features,
    norm_maps,
    unless_full,
    zero_beyond_,
)
from otomatch.models.encoders.panns_checkpoint import Published, read_checkpoint

_SILENCE = -100.0  # dB, the floor of `LogMel`
_DOWNLOAD, _SAVED = "download", "saved"


class _ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and ReLU, then optional halving."""

    def __init__(self, channels_in: int, channels_out: int, halves: bool, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels_out, 3)
        self.conv2 = _conv(channels_out, channels_out, 3)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.halves, self.dropout = halves, nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = norm_maps(self.bn1, self.conv1(x), lengths).relu_()
        x = norm_maps(self.bn2, self.conv2(x), lengths).relu_()
        if self.halves:
            x, lengths = _halve(x, lengths)
        return self.dropout(x), lengths


class _BasicBlock(nn.Module):
    """Residual block; halves the maps first if it has more output channels than input channels."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels_out, 3)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv(channels_out, channels_out, 3)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if channels_in != channels_out:  # "0" is the pooling, without weights
            norm = nn.BatchNorm2d(channels_out)
            self.downsample = nn.ModuleDict({"1": _conv(channels_in, channels_out, 1), "2": norm})

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        shortcut = x
        if self.downsample is not None:
            x, lengths = _halve(x, lengths)
            shortcut = norm_maps(self.downsample["2"], self.downsample["1"](x), lengths)
        x = self.dropout(norm_maps(self.bn1, self.conv1(x), lengths).relu_())
        x = norm_maps(self.bn2, self.conv2(x), lengths)
        return (x + shortcut).relu_(), lengths


class _Halving(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x, lengths = _halve(x, lengths)
        return self.dropout(x), lengths


class PannsEncoder(LogMelEncoder, ABC):
    """Base class of the three networks.

    The clip vector is the mean over frequency, then the sum of mean and maximum over time. A clip
    shorter than ``shortest`` frames (at most a third of a second) is padded with silence to that
    length, in a batch as well as alone.

    Args:
        checkpoint: Path of the published file; ``download`` to download it once to the cache
            folder (`otomatch.files`); None for random weights, initialised as PANNs does;
            ``saved`` if the weights of a saved model are loaded next, see `describe`.
        dropout: Dropout probability after every block, in training. The residual blocks use half
            of it inside.

    Raises:
        DownloadError: The checkpoint cannot be downloaded.
        ModelError: The checkpoint is missing, damaged or of another network.
        ValueError: ``dropout`` is not a probability.

    Shape:
        - features: (B, frames, 64), decibels, 100 frames per second
        - output: (B, width)
    """

    published: ClassVar[Published]
    shortest: ClassVar[int]
    width: int

    def __init__(self, checkpoint: str | Path | None = None, dropout: float = 0.2) -> None:
        super().__init__(LogMelConfig())
        self.dropout = dropout
        self.bn0 = nn.BatchNorm1d(self.bands)
        self.blocks = self._build(dropout)
        if checkpoint is None:
            self._initialize()
        elif checkpoint != _SAVED:
            path = self.published.fetch() if checkpoint == _DOWNLOAD else Path(checkpoint)
            self.load_state_dict(read_checkpoint(path, self.published, self))

    @abstractmethod
    def _build(self, dropout: float) -> list[nn.Module]:
        """Register the blocks under their published names; return them in order of use."""

    def _initialize(self) -> None:
        """Initialise the convolutions; batch norms already start as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def describe(self) -> dict[str, Any]:
        """Return the arguments of `audio_encoder` that rebuild this encoder, not its weights."""
        return {"name": type(self).__name__, "checkpoint": _SAVED, "dropout": self.dropout}

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode a batch; ``lengths`` (B,) are the clips' frames, None if no clip is padded."""
        features, lengths = _pad_to(self.shortest, features, lengths)
        x = norm_features(self.bn0, features, lengths)
        for block in self.blocks:
            x, lengths = block(x, lengths)
        mean, maximum = mean_and_max(x.mean(3).transpose(1, 2), lengths)
        return mean + maximum


class _Cnn(PannsEncoder):
    channels: ClassVar[tuple[int, ...]]
    halvings: ClassVar[int]

    def _build(self, dropout: float) -> list[nn.Module]:
        blocks: list[nn.Module] = []
        for i, (channels_in, channels_out) in enumerate(pairwise((1, *self.channels))):
            blocks.append(_ConvBlock(channels_in, channels_out, i < self.halvings, dropout))
            self.add_module(f"conv_block{i + 1}", blocks[-1])
        return blocks


class Cnn10(_Cnn):
    """PANNs Cnn10 with 5 million weights; see `PannsEncoder`."""

    published = Published("Cnn10_mAP=0.380.pth", "bfb1f1f9968938fa8ef4012b8471f5f6")
    channels, halvings, shortest = (64, 128, 256, 512), 4, 16
    width = 512


class Cnn14(_Cnn):
    """PANNs Cnn14 with 75 million weights; see `PannsEncoder`."""

    published = Published("Cnn14_mAP=0.431.pth", "541141fa2ee191a88f24a3219fff024e")
    channels, halvings, shortest = (64, 128, 256, 512, 1024, 2048), 5, 32
    width = 2048


class ResNet38(PannsEncoder):
    """PANNs ResNet38 with 69 million weights, as in the m-LTM release; see `PannsEncoder`.

    Warns:
        UserWarning: There is no checkpoint.
    """

    published = Published("ResNet38_mAP=0.434.pth", "bf12f36aaabac4e0855e22d3c3239c1b")
    layers: ClassVar[tuple[tuple[int, int], ...]] = ((64, 3), (128, 4), (256, 6), (512, 3))
    shortest = 32
    width = 2048

    def _build(self, dropout: float) -> list[nn.Module]:
        channels_in = self.layers[0][0]
        self.conv_block1 = _ConvBlock(1, channels_in, True, dropout)
        self.resnet = nn.ModuleDict()
        residual: list[nn.Module] = []
        for i, (channels, count) in enumerate(self.layers):
            widths = pairwise([channels_in] + [channels] * count)
            layer = [_BasicBlock(*pair, dropout / 2) for pair in widths]
            self.resnet[f"layer{i + 1}"] = nn.ModuleList(layer)
            residual += layer
            channels_in = channels
        self.halving = _Halving(dropout)
        self.conv_block_after1 = _ConvBlock(channels_in, self.width, False, dropout)
        return [self.conv_block1, *residual, self.halving, self.conv_block_after1]

    def _initialize(self) -> None:
        super()._initialize()
        for module in self.modules():
            if isinstance(module, _BasicBlock):  # each block starts as its shortcut
                nn.init.zeros_(module.bn2.weight)
        warnings.warn(
            "ResNet38 without its checkpoint trains from scratch, and its 69 million weights need "
            "far more sounds than captioned data sets have; use checkpoint='download', or the "
            f"path of {self.published.name}",
            stacklevel=2,
        )


def _conv(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False)


def _halve(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Average over 2 x 2 cells; an odd last frame is dropped."""
    x = functional.avg_pool2d(x, 2)
    if lengths is None:
        return x, None
    lengths = lengths // 2
    return zero_beyond_(x, lengths), lengths


def _pad_to(frames: int, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Pad shorter clips with silence to a number of frames, and count them as that long."""
    missing = max(0, frames - features.shape[1])
    features = functional.pad(features, (0, 0, 0, missing), value=_SILENCE)
    if lengths is None:
        return features, None
    own = frame_mask(lengths, features.shape[1])[:, :, None]
    lengths = unless_full(lengths.clamp(min=frames), features.shape[1])
    return torch.where(own, features, _SILENCE), lengths
