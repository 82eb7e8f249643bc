"""Quality of a library: precision of searches, calibration of relevance, words, duplicates.

    python bench/library_quality.py --data ESC-10 --model run/model [--fold 4] [--midi demo/model]
        [--queries test] [--only search] [--work FOLDER]

ESC-10 is a folder as described in docs/results.md; the model must not have been trained on the
fold. The queries are in bench/queries.toml. Precision at 5 is the share of the first five hits that
belong to the described class. Intervals are 95 % bootstrap intervals over the classes.
"""

import argparse
import itertools
import random
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from otomatch import audio
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.datasets.scenes.rendered import rendered_sounds
from otomatch.evaluation.tables import markdown_table
from otomatch.library import SoundFile, SoundLibrary
from otomatch.library.search.fulltext import match_words
from otomatch.library.table_indexes import refresh_word_index

QUERIES = tomllib.loads((Path(__file__).parent / "queries.toml").read_text(encoding="utf-8"))
Labels = Mapping[str, str]
Queries = Mapping[str, Sequence[str]]


def percentage(values: Sequence[float]) -> str:
    """Return the mean of values and its bootstrap interval, in percent."""
    means = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * np.mean(values):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n{markdown_table(header, rows)}", flush=True)


def make_library(place: Path, model: str, files: Mapping[Path, str]) -> tuple[SoundLibrary, Labels]:
    """Return a library of some files, and the class of each by its path."""
    library = SoundLibrary.create(place, model)
    library.add([SoundFile(path) for path in files])
    refresh_word_index(library.store)
    return library, {str(path): label for path, label in files.items()}


def linked(data: Path, fold: int, place: Path, named: str) -> dict[Path, str]:
    """Link to the recordings of a fold under names that give no class, their own, or another."""
    rng, found = random.Random(0), dict[Path, str]()  # noqa: S311
    sounds = find_recordings(data, [fold])
    classes = sorted({sound.label for sound in sounds})
    place.mkdir(parents=True)
    for row, sound in enumerate(sounds):
        shown, turn = None, row % 10
        if named != "nothing" and turn % 2 == 0:
            shown = sound.label
        elif named == "mislead" and turn in (1, 5):
            shown = rng.choice([label for label in classes if label != sound.label])
        suffix = Path(sound.name).suffix
        name = f"{shown.replace(' ', '_')}_{row:03d}{suffix}" if shown else sound.name
        (place / name).symlink_to((data / "audio" / sound.name).resolve())
        found[place / name] = sound.label
    return found


def rendered(place: Path, each: int = 16) -> dict[Path, str]:
    """Write rendered test sounds, ``each`` per class, under names that do not give the class."""
    place.mkdir(parents=True)
    found: dict[Path, str] = {}
    counts: dict[str, int] = {}
    for row, sound in enumerate(rendered_sounds("test")):
        counts[sound.label] = counts.get(sound.label, 0) + 1
        if counts[sound.label] <= each:
            path = place / f"{row:04d}.flac"
            waveform = sound.load()
            soundfile.write(path, waveform / max(1e-6, 2 * np.abs(waveform).max()), 32000)
            found[path] = sound.label
    return found


def precision(labels: Labels, paths: Sequence[str], label: str, k: int = 5) -> float:
    return sum(labels[path] == label for path in paths[:k]) / k


def search(library: SoundLibrary, labels: Labels, queries: Queries) -> None:
    """Show the precision by class and by wording."""

    def precision_of(text: str, label: str) -> float:
        hits = library.search(text, k=5, hybrid=False)
        return precision(labels, [hit.path for hit in hits], label)

    table = {
        label: [precision_of(text, label) for text in texts] for label, texts in queries.items()
    }
    lines = [
        [label, f"{100 * np.mean(values):.0f}", *(f"{5 * value:.0f}" for value in values)]
        for label, values in table.items()
    ]
    wordings = [f"{i + 1}" for i in range(len(next(iter(table.values()))))]
    by_wording = [f"{100 * np.mean(column):.0f} %" for column in zip(*table.values(), strict=True)]
    lines.append(["mean", percentage([np.mean(v) for v in table.values()]), *by_wording])
    counts = {label: list(labels.values()).count(label) for label in queries}
    chance = 100 * np.mean([count / len(labels) for count in counts.values()])
    title = (
        f"Precision at 5, %, {len(labels)} sounds (chance {chance:.1f}), and hits of 5 by wording"
    )
    show(title, ["class", "P@5", *wordings], lines)


def scales(library: SoundLibrary, labels: Labels, queries: Queries) -> None:
    """Show how well one threshold works for all queries: pairs of queries and sounds, pooled."""
    pairs = [(text, label) for label, texts in queries.items() for text in texts]
    pairs += [(text, "") for text in QUERIES["nonsense"]["queries"]]
    found: dict[str, list[list[float]]] = {"relevance": [], "distance": []}
    truth = []
    for text, label in pairs:
        hits = sorted(library.search(text, k=len(labels), hybrid=False), key=lambda hit: hit.path)
        found["relevance"].append([hit.relevance for hit in hits])
        found["distance"].append([-hit.distance for hit in hits])
        truth.append([labels[hit.path] == label for hit in hits])
    correct, real = np.array(truth), np.array([bool(label) for _, label in pairs])
    lines = []
    for name, values in found.items():
        scores = np.array(values)
        best = roc_auc_score(real, scores.max(axis=1))
        ranked = np.take_along_axis(correct, np.argsort(-scores, axis=1, kind="stable"), axis=1)
        figures = (
            100 * ranked[real][:, :5].mean(),
            roc_auc_score(correct[real].ravel(), scores[real].ravel()),
            average_precision_score(correct[real].ravel(), scores[real].ravel()),
            average_precision_score(correct.ravel(), scores.ravel()),
            best,
        )
        lines.append([name, f"{figures[0]:.1f}", *(f"{value:.3f}" for value in figures[1:])])
    header = ["ordered by", "P@5", "AUROC", "AP", "AP, with nonsense", "AUROC, real or nonsense"]
    show("One scale for all queries", header, lines)
    reliability(np.array(found["relevance"])[real], correct[real])
    top = np.sort(np.array(found["relevance"]), axis=1)[:, ::-1]
    shown = [
        [name, *(f"{value:.0%}" for value in np.percentile(part, [5, 25, 50, 75, 95]))]
        for name, part in (
            ("first five hits", top[real][:, :5]),
            ("best hit", top[real][:, 0]),
            ("best hit of nonsense", top[~real][:, 0]),
        )
    ]
    show("Relevance as shown", ["", "5 %", "25 %", "median", "75 %", "95 %"], shown)


def reliability(shown: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> None:
    """Show the share of correct pairs by relevance."""
    edges = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0001)
    lines = []
    for low, high in itertools.pairwise(edges):
        inside = (shown >= low) & (shown < high)
        if inside.any():
            share, mean = correct[inside].mean(), shown[inside].mean()
            span = f"{100 * low:.0f} to {min(100, 100 * high):.0f} %"
            lines.append([span, str(inside.sum()), f"{mean:.1%}", f"{share:.1%}"])
    show("Calibration of the relevance", ["relevance", "pairs", "mean", "correct"], lines)


def words(data: Path, fold: int, model: str, work: Path, queries: Queries) -> None:
    """Compare search by sound, by words, and by both, for names with and without the class."""
    table: dict[str, list[str]] = {"sound": [], "words": [], "both": []}
    for named in ("nothing", "half", "mislead"):
        files = linked(data, fold, work / named / "recordings", named)
        library, labels = make_library(work / named / "library", model, files)
        ways = {
            "sound": partial(_by_hits, library, hybrid=False),
            "words": partial(_by_words, library),
            "both": partial(_by_hits, library, hybrid=True),
        }
        for name, find in ways.items():
            means = [
                np.mean([precision(labels, find(text), label) for text in texts])
                for label, texts in queries.items()
            ]
            table[name].append(percentage(means))
    header = ["P@5 by", "no classes in names", "the class in half", "and another in a fifth"]
    show("Words of names", header, [[name, *values] for name, values in table.items()])


def _by_hits(library: SoundLibrary, text: str, hybrid: bool) -> list[str]:
    return [hit.path for hit in library.search(text, k=5, hybrid=hybrid)]


def _by_words(library: SoundLibrary, text: str) -> list[str]:
    scores = match_words(library.store, text, None, 100)
    best = sorted(scores, key=lambda id_: -scores[id_])[:5]
    return [library.sound(id_).path for id_ in best]


def copies(sound: Path, place: Path) -> list[Path]:
    """Write a recording in eight forms to a separate folder; the data are only read."""
    waveform, rate = audio.decode(sound)
    fifth = np.zeros(2 * rate // 5, np.float32)
    forms = {
        "plain.flac": (waveform, rate), "mp3": (waveform, rate), "ogg": (waveform, rate),
        "16k.wav": (soxr.resample(waveform, rate, 16000), 16000),
        "soft.wav": (waveform / 4, rate), "loud.wav": (waveform * 2, rate),
        "trimmed.wav": (waveform[rate // 3 : -rate // 4], rate),
        "padded.wav": (np.concatenate([fifth, waveform, fifth]), rate),
    }  # fmt: skip
    made = []
    for form, (values, hertz) in forms.items():
        path = place / f"{sound.stem}.{form}"
        with path.open("xb") as file:  # fails if the path exists, for example as a link
            kind = path.suffix[1:].upper()
            soundfile.write(file, np.clip(values, -1, 1), hertz, format=kind)
        made.append(path)
    return made


def duplicates(data: Path, fold: int, model: str, work: Path) -> None:
    """Show the precision and recall of duplicate detection, in pairs."""
    originals = find_recordings(data, [fold])
    place = work / "copies"
    place.mkdir()
    files = {
        path: sound.label
        for sound in originals
        for path in copies(data / "audio" / sound.name, place)
    }
    library, _ = make_library(work / "duplicates", model, files)
    correct = wrong = 0
    odd: list[str] = []
    for group in library.duplicates():
        stems = [Path(sound.path).name.partition(".")[0] for sound in group.sounds]
        same = [a == b for i, a in enumerate(stems) for b in stems[:i]]
        correct, wrong = correct + sum(same), wrong + len(same) - sum(same)
        odd += [] if all(same) else [" and ".join(sorted(set(stems)))]
    pairs = len(originals) * 28
    line = [
        f"{len(files)}",
        f"{100 * correct / (correct + wrong):.2f}",
        f"{100 * correct / pairs:.2f}",
    ]
    header = ["files", "precision of pairs, %", "recall, %", "recordings mistaken for copies"]
    show("Copies", header, [[*line, "; ".join(odd) or "none"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--midi", help="model of the rendered sounds, to measure those, too")
    parser.add_argument("--fold", type=int, default=4)
    parser.add_argument("--queries", choices=["test", "development"], default="test")
    parser.add_argument("--only", choices=["search", "words", "duplicates", "midi"])
    options = parser.parse_args()
    if options.data is None or options.model is None:
        print("needs recordings and a model not trained on them: --data ESC-10 --model MODEL")
        return
    queries = QUERIES[options.queries]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        work, only = Path(folder), options.only
        if only in (None, "search"):
            files = linked(options.data, options.fold, work / "recordings", "nothing")
            library, labels = make_library(work / "library", options.model, files)
            search(library, labels, queries["recordings"])
            scales(library, labels, queries["recordings"])
        if only in (None, "words"):
            words(options.data, options.fold, options.model, work, queries["recordings"])
        if only in (None, "duplicates"):
            duplicates(options.data, options.fold, options.model, work)
        if options.midi and only in (None, "midi"):
            library, labels = make_library(work / "midi", options.midi, rendered(work / "rendered"))
            search(library, labels, queries["rendered"])
            scales(library, labels, queries["rendered"])


if __name__ == "__main__":
    main()
