"""Length of the windows of a library: how well a sound is located in a long file.

    python bench/library_windows.py ESC-10 run/model --fold 4

Each of 24 long files consists of recordings of one fold, one after another: 6 of the 10 classes
once each, cut to 2.5 to 5 s so that no window fits by chance. Each class of each file is searched
for in that file alone. ``found``: share of searches, in %, whose best window has its middle in the
correct recording; ``off``, ``mean``: median and mean seconds between the starts of window and
recording; ``index``: seconds of indexing.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import soundfile

from otomatch.datasets.scenes.mixing import RATE
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.datasets.scenes.sounds import SourceSound
from otomatch.library import SoundLibrary

FILES, PARTS = 24, 6
SETTINGS = ((10.0, 5.0), (10.0, 2.5), (5.0, 2.5), (5.0, 1.25), (2.5, 1.25), (2.5, 0.625))
QUERIES = {
    "dog bark": "a dog barks", "rain": "rain falls", "sea waves": "waves wash ashore",
    "baby cry": "a baby cries", "clock tick": "a clock ticks", "person sneeze": "a person sneezes",
    "helicopter": "a helicopter flies", "chainsaw": "a chainsaw is running",
    "rooster": "a rooster crows", "fire crackling": "a fire crackles",
}  # fmt: skip


class Part(NamedTuple):
    folder: Path
    label: str
    start: float
    end: float


def long_files(source: Path, fold: int, place: Path, seed: int) -> list[Part]:
    """Write long files, each in a folder of its own; return where each recording is."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[SourceSound]] = {}
    for sound in find_recordings(source, [fold]):
        by_label.setdefault(sound.label, []).append(sound)
    parts = []
    for number in range(FILES):
        pieces, folder = [np.zeros(0, np.float32)], place / f"{number:02d}"
        for label in rng.permutation(sorted(by_label))[:PARTS]:
            sounds = by_label[label]
            wave = sounds[rng.integers(len(sounds))].load()
            wave = wave[: round(RATE * rng.uniform(2.5, 5))]
            start = sum(map(len, pieces)) / RATE
            parts.append(Part(folder, str(label), start, start + len(wave) / RATE))
            pieces.append(wave)
        folder.mkdir(parents=True)
        soundfile.write(folder / "long.wav", np.concatenate(pieces), RATE)
    return parts


def measure(place: Path, parts: list[Part], model: Path, window: float, hop: float) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        library = SoundLibrary.create(Path(scratch) / "library", model, window=window, hop=hop)
        began = time.perf_counter()
        library.index(place)
        seconds = time.perf_counter() - began
        found, off = [], []
        for part in parts:
            hit = library.search(QUERIES[part.label], folder=part.folder, k=1)[0]
            found.append(part.start <= (hit.start + hit.end) / 2 <= part.end)
            off.append(abs(hit.start - part.start))
        print(
            f"{window:6g} {hop:6g} {100 * mean(found):6.1f} {median(off):6.2f} {mean(off):6.2f} "
            f"{len(library):8d} {seconds:6.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--fold", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.model is None:
        print("needs recordings and a model not trained on them: ESC-10 MODEL")
        return
    with tempfile.TemporaryDirectory() as scratch:
        parts = long_files(given.source, given.fold, Path(scratch), given.seed)
        print("window    hop  found    off   mean  windows  index")
        for window, hop in SETTINGS:
            measure(Path(scratch), parts, given.model, window, hop)


if __name__ == "__main__":
    main()
