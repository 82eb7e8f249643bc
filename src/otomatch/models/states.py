"""Outputs of the audio encoder, called states: one vector per window of a clip."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from otomatch.models.dual_encoder import DualEncoder, evaluating, unit_vectors
from otomatch.models.windowing import feature_windows

BATCH = 64
"""Number of windows that are encoded at once."""


def audio_states(model: DualEncoder, clips: Sequence[Tensor]) -> list[Tensor]:
    """Encode all windows of n clips.

    Args:
        model: Model whose audio encoder and window length are used.
        clips: Features of whole clips, n tensors (frames, bands).

    Returns:
        States of each clip, n tensors (windows, width), float32, on the CPU.
    """
    windows = [[window.features for window in feature_windows(model, clip)] for clip in clips]
    flat = [features for clip in windows for features in clip]
    order = sorted(range(len(flat)), key=lambda i: len(flat[i]))  # similar lengths: less padding
    states = torch.zeros(len(flat), model.audio_encoder.width)
    with evaluating(model):
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            states[rows] = _encode(model, [flat[i] for i in rows])
    return list(torch.split(states, [len(clip) for clip in windows]))


def embed_audio_states(model: DualEncoder, clips: Sequence[Tensor]) -> Tensor:
    """Embed n clips given as `audio_states`: the mean direction of their windows.

    Args:
        model: Model whose audio head is used.
        clips: States of each clip, n tensors (windows, width).

    Returns:
        Unit vectors, float32 (n, D), on the CPU.
    """
    total = torch.zeros(len(clips), model.settings["dim"])
    if len(clips):
        rows = torch.arange(len(clips)).repeat_interleave(torch.tensor(list(map(len, clips))))
        with evaluating(model):
            vectors = model.project_audio(torch.cat(list(clips)).to(model.device))
        total.index_add_(0, rows, vectors.float().cpu())
    return unit_vectors(total)


def _encode(model: DualEncoder, windows: Sequence[Tensor]) -> Tensor:
    lengths = torch.tensor([len(window) for window in windows], device=model.device)
    batch = nn.utils.rnn.pad_sequence(
        [window.to(model.device, torch.float32) for window in windows], batch_first=True
    )
    return model.audio_encoder(batch, lengths).float().cpu()
