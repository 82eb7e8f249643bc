"""Features of random clips, batches of them, and narrow PANNs with reproducible weights."""

import zlib

import torch

from otomatch.models.encoders import Cnn14, ResNet38
from otomatch.models.encoders.panns_checkpoint import Published

ENTRIES = {"Cnn10": 60, "Cnn14": 84, "ResNet38": 246}
FRONT_END = [f"spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")]
LEFT_OUT = {*FRONT_END, "logmel_extractor.melW"} | {
    f"{layer}.{part}" for layer in ("fc1", "fc_audioset") for part in ("weight", "bias")
}


class NarrowResNet(ResNet38):
    """The same of ResNet38."""

    layers = ((4, 3), (5, 4), (6, 6), (7, 3))
    width = 9


class NarrowCnn(Cnn14):
    """Cnn14 with few channels, for what does not depend on their number."""

    published = Published("Narrow_mAP=0.1.pth", "0" * 32)
    channels = (4, 5, 6, 7, 8, 9)
    width = 9


def filled(key, shape, dtype=torch.float32):
    """The weights that the golden outputs belong to: random, and the same for the same key."""
    if not shape:
        return torch.tensor(0)
    random = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    values = torch.randn(tuple(shape), generator=random).to(dtype)
    if len(shape) > 1:
        return values * (2 / values[0].numel()) ** 0.5
    if key.endswith("running_var"):
        return (0.1 * values).exp()
    return 0.1 * values + (not key.endswith(("running_mean", "bias")))


def fill(encoder):
    state = encoder.state_dict()
    encoder.load_state_dict({k: filled(k, t.shape, t.dtype) for k, t in state.items()})
    return encoder.eval()


def clips(lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [20 * torch.randn(n, 64, generator=random) - 40 for n in lengths]


def padded(features, fill=0.0):
    lengths = torch.tensor([len(f) for f in features])
    batch = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=fill)
    return batch, lengths
