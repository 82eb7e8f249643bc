"""Miniatures of AudioCaps, Clotho and ESC-50 with rendered audio, in every layout they come in."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from otomatch.datasets import CaptionDataset
from tests.support.sounds import hiss, tone, write_audio, write_csv
from tests.support.tiny import PITCHES

SPLITS = ("train", "val", "test")
CLOTHO_FOLDERS = {"train": "development", "val": "validation", "test": "evaluation"}
# The one name that a real training and a real evaluation clip of Clotho share.
SHARED = "City Ambience w_ Car Passing_1-2.wav"
CLASSES = ("dog", "clock_tick", "sea_waves", "rooster")
RATE = 44100

REAL = Path(
    os.environ.get("OTOMATCH_CAPTIONS", Path(__file__).parents[3] / "shared" / "data" / "captions")
)
needs_real_captions = pytest.mark.skipif(
    not (REAL / "clotho_train.csv").is_file(),
    reason=f"no caption files at {REAL}; name their folder in OTOMATCH_CAPTIONS",
)


def captions(place: int, count: int) -> list[str]:
    """Descriptions of the sound at a place, in words that the tiny encoder knows."""
    pitch, texture = _kind(place)
    frames = ("a {} {}", "the {} steady {}", "a long {} {}", "the {} rising {}", "a short {} {}")
    return [frames[i % len(frames)].format(pitch, texture) for i in range(count)]


def write_sound(path: Path, place: int, seconds: float, rate: int = RATE) -> Path:
    """The sound at a place: a pitch, with or without noise; no two places sound the same."""
    pitch, texture = _kind(place)
    sound = tone(PITCHES[pitch] * (1 + 0.001 * place), seconds, 0.2, rate)
    if texture == "hiss":
        sound = sound + hiss(seconds, 0.05, seed=place, rate=rate)
    return write_audio(path, sound, rate)


def write_audiocaps(
    root: Path, layout: str = "mei", clips: Sequence[int] = (8, 4, 4), seconds: float = 0.5
) -> Path:
    """AudioCaps: ``mei`` (the paper's release), ``authors`` (with Y*.wav) or ``aac`` (FLAC).

    ``clips`` are those of train, val and test; training clips have one caption, others five.
    """
    place = 0
    for split, count in zip(SPLITS, clips, strict=True):
        rows: list[Sequence[object]] = []
        for _ in range(count):
            video, start, texts = f"-{place:04d}_xYz", 10 * place, captions(place, 5)
            texts = texts[:1] if split == "train" else texts
            if layout == "aac":
                name = f"AUDIOCAPS/audio_32000Hz/{split}/{video}_{start}.flac"
            else:
                name = f"waveforms/{split}/Y{video}.wav"
            write_sound(root / name, place, seconds, rate=32000)
            if layout == "mei":
                rows.append((f"Y{video}.wav", *texts))
            else:
                rows += [(100 * place + i, video, start, text) for i, text in enumerate(texts)]
            place += 1
        numbered = ("caption",) if split == "train" else tuple(f"caption_{i}" for i in range(1, 6))
        header = ("file_name", *numbered)
        if layout != "mei":
            header = ("audiocap_id", "youtube_id", "start_time", "caption")
        folder = {"mei": "csv_files", "authors": "dataset", "aac": "AUDIOCAPS"}[layout]
        write_csv(root / folder / f"{split}.csv", [header, *rows])
    return root


def write_clotho(
    root: Path, layout: str = "zenodo", clips: Sequence[int] = (8, 4, 4), seconds: float = 0.5
) -> Path:
    """Clotho: ``zenodo`` (as published), ``mei`` (the paper's release) or ``aac`` (aac-datasets).

    As in the real one, names hold spaces, some rows have stray ones at the ends, one name occurs
    in two splits, and the metadata are ISO-8859-1. ``clips`` are those of train, val and test.
    """
    place = 0
    for split, count in zip(SPLITS, clips, strict=True):
        published = CLOTHO_FOLDERS[split]
        folder, table = {
            "zenodo": (published, f"clotho_captions_{published}.csv"),
            "mei": (f"waveforms/{split}", f"csv_files/{split}.csv"),
            "aac": (
                f"CLOTHO_v2.1/clotho_audio_files/{published}",
                f"CLOTHO_v2.1/clotho_csv_files/clotho_captions_{published}.csv",
            ),
        }[layout]
        rows: list[Sequence[object]] = [("file_name", *(f"caption_{i}" for i in range(1, 6)))]
        for i in range(count):
            name = SHARED if i == 0 and split != "val" else f"Night birds {place}.wav"
            stray = {1: f" {name}", 2: f"{name} "}.get(i, name)
            write_sound(root / folder / name, place, seconds)
            rows.append((stray, *captions(place, 5)))
            place += 1
        write_csv(root / table, rows)
        _write_metadata((root / table).parent / f"clotho_metadata_{published}.csv", rows[1:])
    return root


def write_esc50(
    root: Path,
    classes: Sequence[str] = CLASSES,
    folds: Iterable[int] = (1, 2, 3, 4, 5),
    each: int = 1,
    seconds: float = 0.5,
) -> Path:
    """ESC-50 as published: ``each`` clips per class and fold."""
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    rows: list[Sequence[object]] = [header]
    place = 0
    for fold in folds:
        for target, category in enumerate(classes):
            for take in "ABCDEFGH"[:each]:
                name = f"{fold}-{100 + place}-{take}-{target}.wav"
                write_sound(root / "audio" / name, place, seconds)
                rows.append((name, fold, target, category, target == 0, 100 + place, take))
                place += 1
    write_csv(root / "meta" / "esc50.csv", rows)
    return root


def counts(data: CaptionDataset) -> dict[str, tuple[int, int]]:
    """Number of clips and captions of every split."""
    parts = {split: data.select(split) for split in data.splits}
    return {split: (len(part), len(part.captions)) for split, part in parts.items()}


def _kind(place: int) -> tuple[str, str]:
    return list(PITCHES)[place % 4], ("tone", "hiss")[place // 4 % 2]


def _write_metadata(path: Path, rows: Sequence[Sequence[object]]) -> None:
    header = "file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license"
    lines = [f"{row[0]},birds;night,1,Not found,[0 1],\u00c1lvaro,CC0" for row in rows]
    path.write_bytes("\n".join([header, *lines]).encode("iso-8859-1"))
