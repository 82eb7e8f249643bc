"""Load test of the server: 50 clients for 60 s, with searches, audio ranges and spectrograms.

    python bench/serve.py [--clients 50] [--seconds 60] [--pause 0.2] [--sounds 200] [--library LIB]

Starts ``otomatch serve`` in a separate process on a library of rendered sounds, or on a given one.
The model has the usual size but is untrained, since only time is measured. Each client sends one
request after another, with pauses of ``--pause`` s on average and of Retry-After seconds after a
503. Prints the requests per second and latency percentiles per kind of request, and the server's
resident memory, without and with the decoder process, at the start, middle and end. Any status
other than 200, 206 and 503 is an error, and the exit code is then 1. Clients and server share the
processors. Linux only.
"""

import argparse
import asyncio
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx2
import numpy as np
import soundfile

from otomatch.datasets.scenes.composition import compose
from otomatch.library import SoundLibrary, find_sounds
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import SmallAudioEncoder, text_encoder

THINGS = (
    "trumpet", "guitar", "cymbal", "helicopter", "waves", "choir", "piano", "claps", "birds",
    "bass", "violin", "gunshot",
)  # fmt: skip
MANNERS = ("", "a quiet ", "a loud ", "a distant ", "a low ", "a long ", "a sudden ", "two of a ")
# Kinds of requests, and their weights.
MIX = {
    "text": 45, "similar": 12, "audio": 20, "spectrogram": 18, "upload": 2, "health": 2, "map": 1,
}  # fmt: skip


def rendered_library(folder: Path, sounds: int) -> Path:
    """Index rendered scenes and return the library's folder."""
    compose("midi", folder / "sounds", split="test", clips=sounds)
    model = AudioTextModel(SmallAudioEncoder(), text_encoder("minilm"))
    model.eval().save_pretrained(folder / "model")
    library = SoundLibrary.create(folder / "library", folder / "model")
    library.add(find_sounds(folder / "sounds"))
    return folder / "library"


def megabytes(pid: int) -> float:
    """Return the resident memory of a process, in 2^20 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return the ids of a process and its children."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for entry in lists for child in entry.read_text().split())]


class Load:
    """Clients that send requests, and the latencies and errors they observe."""

    def __init__(self, address: str, pause: float, end: float) -> None:
        self.address, self.pause, self.end = address, pause, end
        self.times: dict[str, list[float]] = defaultdict(list)
        self.refused: dict[str, int] = defaultdict(int)
        self.errors: list[str] = []
        self.ids: list[str] = []

    async def run(self, clients: int) -> None:
        async with httpx2.AsyncClient(base_url=self.address, timeout=30) as first:
            points = (await first.get("/api/search", params={"q": "all", "k": 200})).json()
            self.ids = [hit["id"] for hit in points["hits"]]
        await asyncio.gather(*(self.client(random.Random(n)) for n in range(clients)))  # noqa: S311

    async def client(self, rng: random.Random) -> None:
        async with httpx2.AsyncClient(base_url=self.address, timeout=30) as session:
            await asyncio.sleep(rng.random() * self.pause)
            while time.monotonic() < self.end:
                kind = rng.choices([*MIX], [*MIX.values()])[0]
                wait = await self.ask(session, kind, rng)
                await asyncio.sleep(wait + rng.expovariate(1) * self.pause)

    async def ask(self, session: httpx2.AsyncClient, kind: str, rng: random.Random) -> float:
        """Send a request and return the number of seconds the server asks the client to wait."""
        began = time.perf_counter()
        try:
            answer = await session.send(self.request(session, kind, rng))
        except httpx2.HTTPError as error:
            self.errors.append(f"{kind}: {error!r}")
            return 0.0
        if answer.status_code == 503:
            self.refused[kind] += 1
            return float(answer.headers["retry-after"])
        if answer.status_code not in (200, 206):
            self.errors.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        self.times[kind].append(time.perf_counter() - began)
        return 0.0

    def request(self, session: httpx2.AsyncClient, kind: str, rng: random.Random) -> httpx2.Request:
        id_ = rng.choice(self.ids)
        if kind == "text":
            query = f"{rng.choice(MANNERS)}{rng.choice(THINGS)} and {rng.choice(THINGS)}"
            params = {"q": query, "k": rng.choice([10, 20, 20, 20, 40])}
            return session.build_request("GET", "/api/search", params=params)
        if kind == "audio":
            first = rng.choice([0, 0, 5_000])
            asked = {"Range": f"bytes={first}-{first + 65535}"}
            return session.build_request("GET", f"/api/sounds/{id_}/audio", headers=asked)
        if kind == "spectrogram":
            size = {"width": rng.choice([320, 640, 800]), "height": 96}
            return session.build_request("GET", f"/api/sounds/{id_}/spectrogram", params=size)
        if kind == "upload":
            file = io.BytesIO()
            noise = np.random.default_rng(rng.randrange(1000)).standard_normal(48000)
            soundfile.write(file, 0.1 * noise, 48000, format="OGG")
            files = {"sound": ("recording.ogg", file.getvalue())}
            return session.build_request("POST", "/api/search", files=files)
        if kind == "similar":
            return session.build_request("GET", f"/api/sounds/{id_}/similar")
        return session.build_request("GET", f"/api/{kind}")


async def measure(load: Load, pid: int, clients: int, seconds: float) -> list[tuple[float, float]]:
    """Run the load and return the server's memory at the start, middle and end."""
    memory = []

    def look() -> None:
        sizes = [megabytes(process) for process in family(pid)]
        memory.append((sizes[0], sum(sizes)))

    running = asyncio.ensure_future(load.run(clients))
    for wait in (seconds / 10, 0.4 * seconds, seconds / 2):
        await asyncio.sleep(wait)
        look()
    await running
    return memory


def show(load: Load, memory: list[tuple[float, float]], seconds: float) -> None:
    print(f"{'':12}{'answers':>9}{'per s':>8}{'p50 ms':>8}{'p95 ms':>8}{'p99 ms':>8}{'503':>7}")
    rows = {kind: load.times[kind] for kind in MIX}
    rows["all"] = [t for times in rows.values() for t in times]
    load.refused["all"] = sum(load.refused.values())
    for kind, times in rows.items():
        p50, p95, p99 = 1000 * np.percentile(times or [np.nan], [50, 95, 99])
        share = load.refused[kind] / max(1, len(times) + load.refused[kind])
        print(
            f"{kind:12}{len(times):9}{len(times) / seconds:8.1f}{p50:8.0f}{p95:8.0f}{p99:8.0f}"
            f"{share:7.1%}"
        )
    for when, (server, both) in zip(("start", "middle", "end"), memory, strict=True):
        print(f"memory at the {when:7}{server:7.0f} MB, with the decoder {both:.0f} MB")
    print(f"other errors: {len(load.errors)}", *load.errors[:10], sep="\n  ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--sounds", type=int, default=200)
    parser.add_argument("--library", help="library to serve, instead of rendered sounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.library or rendered_library(Path(folder), options.sounds)
        command = [sys.executable, "-m", "otomatch", "serve", str(place)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            address = next(word for word in server.stdout.readline().split() if "://" in word)
            print(f"{options.clients} clients, {options.seconds:g} s, {address}", flush=True)
            load = Load(address, options.pause, time.monotonic() + options.seconds)
            before = processor_seconds(server.pid)
            memory = asyncio.run(measure(load, server.pid, options.clients, options.seconds))
            taken = processor_seconds(server.pid) - before
            show(load, memory, options.seconds)
            print(f"processor time of the server: {taken:.1f} s")
        finally:
            server.terminate()
            server.wait(20)
    return 1 if load.errors or server.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
