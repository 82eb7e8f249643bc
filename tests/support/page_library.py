"""Small library of tones, hisses and odd file names, and its server, for tests of the page."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import uvicorn

from otomatch.library import SoundLibrary, find_sounds
from otomatch.web.access import Access
from otomatch.web.app import create_app
from otomatch.web.serving import listening
from tests.support.sounds import hiss, silence, tone, write_audio
from tests.support.tiny import tiny_model

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


def write_sounds(root: Path) -> Path:
    """Write 8 bells of 1 to 3 s, 6 files of rain of 4 to 9 s, and 7 short odd names."""
    for i in range(8):
        sound = tone(300.0 * (i + 1), 1.0 + i % 3, rate=RATE)
        write_audio(root / "bells" / f"bell {i}.wav", sound, RATE)
    for i in range(6):
        # Silence first or last, so that some files have a late best window with any model.
        parts = [silence(2.0, RATE), hiss(2.0 + i, 0.1 + 0.02 * i, seed=i, rate=RATE)]
        sound = np.concatenate(parts[:: 1 if i % 2 else -1])
        write_audio(root / "rain" / f"rain {i}.wav", sound, RATE)
    for i, name in enumerate(ODD_NAMES):
        write_audio(root / "odd <names>" / name, tone(200.0 + 37 * i, 0.8, rate=RATE), RATE)
    return root


def make_library(folder: Path, bert: Path) -> SoundLibrary:
    """Index the sounds with an untrained model whose windows are 1 s long."""
    tiny_model(bert).save_pretrained(folder / "model")
    library = SoundLibrary.create(folder / "page-library", folder / "model")
    library.add(find_sounds(write_sounds(folder / "sounds")))
    return library


@contextmanager
def served(library: SoundLibrary, access: Access | None = None) -> Iterator[str]:
    """Serve a library from a thread of this process; the context gives the address."""
    config = uvicorn.Config(create_app(library, access), lifespan="on", log_level="warning")
    server = uvicorn.Server(config)
    with listening("127.0.0.1", 0) as own:
        thread = threading.Thread(target=server.run, args=([own],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{own.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def wait_for_map(address: str, seconds: float = 120) -> None:
    """Wait until the server has computed its map, which later servers read from disk."""
    end = time.monotonic() + seconds
    while httpx2.get(f"{address}/api/map").json()["state"] == "computing":
        if time.monotonic() > end:
            raise TimeoutError(f"the map was still being computed after {seconds} s")
        time.sleep(0.2)
