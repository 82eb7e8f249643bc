"""Playback of hits with an installed audio player."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from otomatch import audio
from otomatch.errors import LibraryError, MissingDependencyError
from otomatch.library.records import Hit

PLAYERS: dict[str, tuple[str, ...]] = {
    "ffplay": ("-nodisp", "-autoexit", "-loglevel", "error"),
    "mpv": ("--no-video", "--really-quiet"),
    "afplay": (),
    "pw-play": (),
    "paplay": (),
    "play": ("-q",),
    "aplay": ("-q",),
}
"""Programs in order of preference, with the arguments before the file."""


def find_player() -> Callable[[Hit], None]:
    """Return a function that plays the window of a hit and returns when it has ended.

    The window is decoded here and passed to the player as WAV, so that any player can play any
    format.

    Raises:
        MissingDependencyError: No player is installed.
    """
    name = next((name for name in PLAYERS if shutil.which(name)), None)
    if name is None:
        raise MissingDependencyError(
            f"no audio player is installed (looked for {', '.join(PLAYERS)}); install one, for "
            "example with: apt install ffmpeg"
        )
    command = [str(shutil.which(name)), *PLAYERS[name]]

    def play(hit: Hit) -> None:
        _play(command, hit)

    return play


def _play(command: list[str], hit: Hit) -> None:
    waveform, rate = audio.decode(hit.path, hit.start, hit.end)
    with tempfile.TemporaryDirectory(prefix="otomatch-") as folder:
        file = Path(folder) / "hit.wav"
        soundfile.write(file, np.clip(waveform, -1, 1), rate, subtype="PCM_16")
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        message = done.stderr.strip() or f"exit status {done.returncode}"
        raise LibraryError(f"{Path(command[0]).name} cannot play sounds here: {message}")
