"""A small library behind the server's application, for the tests of the web package."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import uvicorn
from starlette.testclient import TestClient

from otomatch.library import SoundLibrary, find_sounds
from otomatch.library.records import Sound
from otomatch.web.access import Access
from otomatch.web.app import create_app
from otomatch.web.limits import Limits
from otomatch.web.services import Services
from otomatch.web.serving import listening
from tests.support.sounds import hiss, tone, write_audio, write_container
from tests.support.tiny import tiny_model

HOST = "127.0.0.1:8765"
PITCHES = {
    "low tone.wav": 200.0,
    "middle.wav": 800.0,
    "high.wav": 3000.0,
    "deep/shrill.flac": 9000.0,
}
ODD_NAMES = (
    "it's.wav", 'a "b".wav', "<img src=x onerror=alert(1)>.wav", "ドラム 🥁.wav", "100%25 & co.wav",
    "a+b #1;?.wav",
)  # fmt: skip


def write_sounds(folder: Path) -> Path:
    """Write four tones and a hiss, two of them in a subfolder."""
    for name, hertz in PITCHES.items():
        write_audio(folder / name, tone(hertz, 0.5))
    write_audio(folder / "deep" / "hiss.ogg", hiss(0.5))
    return folder


def write_model(folder: Path, bert: Path) -> Path:
    """Save a tiny model and return its folder."""
    tiny_model(bert).save_pretrained(folder / "model")
    return folder / "model"


def make_library(folder: Path, model: Path, sounds: Path) -> SoundLibrary:
    """Index a folder of sounds."""
    library = SoundLibrary.create(folder / "library", model)
    library.add(find_sounds(sounds))
    return library


@contextmanager
def served(
    library: SoundLibrary,
    access: Access | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[TestClient]:
    """Yield a client of a server on this machine, whose failures are answers, not exceptions."""
    app = create_app(library, access, limits, warm=False, **options)
    with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def running(
    library: SoundLibrary, access: Access | None = None, limits: Limits | None = None
) -> Iterator[str]:
    """Yield the address of a real server in a thread."""
    with listening("127.0.0.1", 0) as own:
        config = uvicorn.Config(
            create_app(library, access, limits, warm=False),
            lifespan="on",
            log_level="warning",
            ws="none",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{own.getsockname()[1]}"  # connections wait until it accepts
        finally:
            server.should_exit = True
            thread.join()


def services(client: TestClient) -> Services:
    """Return what the server works with."""
    found: Services = client.app.app.state.services  # type: ignore[attr-defined]
    return found


def ids(library: SoundLibrary) -> dict[str, str]:
    """Return the ids of the sounds by file name."""
    return {Path(sound.path).name: sound.id for sound in library.sounds()}


def audio_path(library: SoundLibrary, name: str) -> str:
    """Return the API path of a sound's audio."""
    return f"/api/sounds/{ids(library)[name]}/audio"


def sound_of(path: Path, id_: str = "0" * 16) -> Sound:
    """Return a file as a sound of a library whose indexed folder is the file's."""
    info = soundfile.info(path)
    return Sound(id_, str(path), str(path.parent), info.duration, 1)


def write_tone(path: Path, codec: str, seconds: float = 1.0) -> Path:
    """Write a stereo tone of 1 kHz to a container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.stack([tone(1000, seconds, rate=48000)] * 2)
    return write_container(path, codec, sound, 48000, bit_rate=128_000 if codec != "alac" else None)


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds; fail if it does not within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.01)


def wait_for_map(client: TestClient) -> dict[str, Any]:
    """Return the map as soon as it is no longer being computed."""
    found: dict[str, Any] = {}

    def computed() -> bool:
        found.update(client.get("/api/map").json())
        return found["state"] != "computing"

    eventually(computed, 120)
    return found
