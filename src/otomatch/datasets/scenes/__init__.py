"""Compose captioned scenes from labelled recordings or rendered sounds."""

from otomatch.datasets.scenes.composition import compose, compose_sounds
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.datasets.scenes.rendered import rendered_sounds
from otomatch.datasets.scenes.sounds import SourceSound

__all__ = ["SourceSound", "compose", "compose_sounds", "find_recordings", "rendered_sounds"]
