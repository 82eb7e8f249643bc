"""A small library behind the server's application, for the tests of the web package."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from otomatch.library import SoundLibrary, find_sounds
from otomatch.web.access import Access
from otomatch.web.app import create_app
from otomatch.web.limits import Limits
from otomatch.web.services import Services
from otomatch.web.serving import listening
from tests.support.sounds import hiss, tone, write_audio
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
    """Four tones and a hiss, two of them in a folder of their own."""
    for name, hertz in PITCHES.items():
        write_audio(folder / name, tone(hertz, 0.5))
    write_audio(folder / "deep" / "hiss.ogg", hiss(0.5))
    return folder


def write_model(folder: Path, bert: Path) -> Path:
    """The folder of a tiny model."""
    tiny_model(bert).save_pretrained(folder / "model")
    return folder / "model"


def make_library(folder: Path, model: Path, sounds: Path) -> SoundLibrary:
    """A library of a folder of sounds."""
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
    """A client of a server on this machine, whose failures are answers and not exceptions."""
    app = create_app(library, access, limits, warm=False, **options)
    with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def running(
    library: SoundLibrary, access: Access | None = None, limits: Limits | None = None
) -> Iterator[str]:
    """The address of a real server in a thread."""
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
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{own.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def services(client: TestClient) -> Services:
    """What the server works with."""
    found: Services = client.app.app.state.services  # type: ignore[attr-defined]
    return found


def ids(library: SoundLibrary) -> dict[str, str]:
    """Ids of the sounds, by the names of their files."""
    return {Path(sound.path).name: sound.id for sound in library.sounds()}


def wait_for_map(client: TestClient, seconds: float = 60) -> dict[str, Any]:
    """The map, once it is no longer being computed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found: dict[str, Any] = client.get("/api/map").json()
        if found["state"] != "computing":
            return found
        time.sleep(0.1)
    raise TimeoutError(f"the map was still being computed after {seconds} s")
