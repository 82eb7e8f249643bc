"""A stand-in for a model, whose embeddings are given angles in the plane."""

import math
import types

import torch

from otomatch.datasets import CaptionDataset
from otomatch.datasets.base import Clip
from otomatch.transport.ground_metrics import Identity
from tests.support.sounds import tone, write_audio

RATE = 32000


class Oracle:
    """Stands in for a model: the n-th clip is n hundredths of a second long, captions are words."""

    def __init__(self, clips: list[float], captions: dict[str, float]) -> None:
        self.clips, self.captions, self.ground = clips, captions, Identity()
        self.settings = {"dim": 2}
        self.audio_encoder = types.SimpleNamespace(
            sample_rate=RATE, features=lambda waveform: waveform[:, None]
        )
        self.text_encoder = types.SimpleNamespace(trainable=True)

    def embed_features(self, features):
        return at_angles([self.clips[round(len(clip) * 100 / RATE) - 1] for clip in features])

    def embed_text(self, captions):
        return at_angles([self.captions[caption] for caption in captions])

    def whiten(self, vectors):
        return self.ground.whiten(vectors)

    def distance(self, audio, text):
        return self.ground(audio, text)


def at_angles(degrees: list[float]) -> torch.Tensor:
    """Unit vectors in the plane."""
    radians = torch.tensor(degrees) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def dataset_of(root, captions: list[list[str]]) -> CaptionDataset:
    """One clip for each list of captions; the n-th is n hundredths of a second long."""
    clips = []
    for i, texts in enumerate(captions):
        path = write_audio(root / f"{i}.wav", tone(440, (i + 1) / 100))
        clips.append(Clip(path, tuple(texts), path.name, label="tone"))
    return CaptionDataset("angles", root, tuple(clips))
