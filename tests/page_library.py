"""A small library of tones, hisses and odd file names for the tests of the page."""

from pathlib import Path

import numpy as np
from sounds import hiss, silence, tone, write_audio
from tiny import tiny_model

from otomatch.library import SoundLibrary

RATE = 16_000
ODD_NAMES = (
    "<img src=x onerror=document.title='owned'>.wav",
    "<b>bold<b> & \"double\" 'single'.wav",
    "🎹 雨の音 пиано.wav",
    "  spaces   within  .wav",
    "100% #hash?query=1&x=%3Cscript%3E+plus.wav",
    "‮gnirts desrever.wav",
    f"{'long-' * 40}name.wav",
)
FOLDERS = ("bells", "rain", "odd <names>")


def write_sounds(root: Path) -> Path:
    """Write 8 bells of 1 to 3 s, 6 stretches of rain of 4 to 9 s, and a short sound by odd name."""
    for i in range(8):
        sound = tone(300.0 * (i + 1), 1.0 + i % 3, rate=RATE)
        write_audio(root / "bells" / f"bell {i}.wav", sound, RATE)
    for i in range(6):
        # Silence first, so that the best second is not the first.
        parts = [silence(2.0, RATE), hiss(2.0 + i, 0.1 + 0.02 * i, seed=i, rate=RATE)]
        write_audio(root / "rain" / f"rain {i}.wav", np.concatenate(parts), RATE)
    for i, name in enumerate(ODD_NAMES):
        write_audio(root / "odd <names>" / name, tone(200.0 + 37 * i, 0.8, rate=RATE), RATE)
    return root


def make_library(folder: Path, bert: Path) -> Path:
    """Index the sounds with an untrained model; returns the library's folder."""
    sounds = write_sounds(folder / "sounds")
    library = SoundLibrary.create(folder / "page-library", tiny_model(bert))
    library.index([sounds])
    return folder / "page-library"
