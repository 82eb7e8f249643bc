"""Take docs/search-page.png from a demonstration: python docs/make_search_page.py otomatch-demo.

The picture shows the search page with a library of the demonstration's test scenes, some of them
joined to longer takes, so that hits have a best window. Requires chromium, and the font Inter
(fonts-inter) to look as in README.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from otomatch.audio import Waveform
from otomatch.datasets import open_dataset
from otomatch.datasets.base import Clip
from otomatch.library import SoundLibrary, find_sounds

QUERY = "waves wash ashore while someone plays the piano"
TAKE = 4  # scenes in one of the longer files


def write_sounds(scenes: list[Clip], root: Path) -> Path:
    """Write the scenes to one folder per first sound, as single scenes and as takes of several."""
    kinds: dict[str, list[Clip]] = defaultdict(list)
    for clip in scenes:
        kinds[re.split(r" over |, then ", clip.label or "")[0]].append(clip)
    for kind, clips in kinds.items():
        folder = root / kind
        folder.mkdir(parents=True)
        for i, clip in enumerate(clips[::2]):
            shutil.copy(clip.path, folder / f"{clip.label} {i + 1:02d}.flac")
        rest = clips[1::2]
        for take in range(0, len(rest), TAKE):
            name = f"{kind} session {take // TAKE + 1}.flac"
            write_take(rest[take : take + TAKE], folder / name)
    return root


def write_take(clips: list[Clip], path: Path) -> None:
    """Write several scenes to one file, one after another."""
    parts: list[Waveform] = []
    for clip in clips:
        waveform, rate = soundfile.read(clip.path, dtype="float32")
        parts += [waveform, np.zeros(rate // 2, np.float32)]
    soundfile.write(path, np.concatenate(parts), rate)


@contextmanager
def served(library: Path) -> Iterator[str]:
    """Serve a library with the command, and yield its address."""
    command = [sys.executable, "-m", "otomatch", "serve", str(library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stdout is not None  # noqa: S101
        found = None
        while found is None:
            found = re.search(r"http://\S+:\d+/", server.stdout.readline())
        try:
            yield found.group()
        finally:
            server.terminate()


def ask(page: Page, address: str) -> None:
    """Run a query and play its second hit for a moment."""
    page.goto(f"{address}?q=warm+up")  # the first search loads the model
    page.locator(".hit .play").first.wait_for()
    page.wait_for_function("() => document.querySelector('#map-summary').textContent")
    page.locator("#q").fill(QUERY)
    page.locator("#q").press("Enter")
    page.wait_for_function("(query) => document.title.startsWith(query)", arg=QUERY)
    page.locator(".hit .play").nth(1).click()
    page.wait_for_function("() => document.querySelector('#audio').currentTime > 0")
    page.wait_for_timeout(2500)
    page.locator("#toggle").click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # for the spectrograms


def main(demo: Path) -> None:
    """Index the scenes, serve the library and take the picture."""
    picture = Path(__file__).parent / "search-page.png"
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        sounds = write_sounds(open_dataset(demo / "test").clips, folder / "rendered")
        library = SoundLibrary.create(folder / "rendered-sounds", demo / "run" / "model")
        library.add(find_sounds(sounds))
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page(viewport={"width": 1360, "height": 850}, color_scheme="dark")
        page.set_default_timeout(120_000)
        with served(folder / "rendered-sounds") as address:
            ask(page, address)
            page.screenshot(path=picture)
        chromium.close()
    # Dropping the two lowest bits of each colour is invisible and makes the file a third smaller.
    image = Image.open(picture).convert("RGB").point(lambda value: value & 0xFC)
    image.save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
