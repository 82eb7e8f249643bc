"""Check a data set before training: counts, durations, unusable files and duplicates."""

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from otomatch import audio
from otomatch.datasets.base import CaptionDataset, Clip, Skipped
from otomatch.errors import AudioError

_THREADS = 8  # reads wait for the disk, and libsndfile releases the interpreter lock
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Durations:
    """Statistics of the lengths of clips, in seconds."""

    min: float
    median: float
    max: float
    total: float


@dataclass(frozen=True)
class SplitSummary:
    """Summary of the clips of one split, or of all clips.

    Attributes:
        split: Name of the split; None for all clips.
        clips: Number of clips.
        captions: Number of captions.
        captions_per_clip: Number of clips for each number of captions.
        seconds: Durations of the readable clips; None if no clip is readable.
        sample_rates: Number of clips for each sample rate in Hz.
        shared_captions: Number of captions that several clips have, ignoring case and spacing.
    """

    split: str | None
    clips: int
    captions: int
    captions_per_clip: dict[int, int]
    seconds: Durations | None
    sample_rates: dict[int, int]
    shared_captions: int


@dataclass(frozen=True)
class CheckReport:
    """Result of `check_dataset`.

    Attributes:
        name: Name of the data set.
        root: Folder of the data set.
        decoded: True if every file was decoded in full, False if only its header was read.
        parts: Summary of each split, then of all clips.
        labels: Number of classes.
        missing: Rows whose file does not exist.
        broken: Rows that are unusable, or whose file is.
        audio_in_splits: Ids of clips in different splits whose files have the same bytes, by group.
        captions_in_splits: Names of the splits of each caption that occurs in several splits.
    """

    name: str
    root: str
    decoded: bool
    parts: tuple[SplitSummary, ...]
    labels: int
    missing: tuple[Skipped, ...]
    broken: tuple[Skipped, ...]
    audio_in_splits: tuple[tuple[str, ...], ...]
    captions_in_splits: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return asdict(self)


def check_dataset(
    dataset: CaptionDataset,
    decode: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Count clips and captions, read every header, and find duplicates across splits.

    Args:
        dataset: Data set to check.
        decode: Decode every file in full instead of reading its header, to find damage further
            into the files.
        progress: Called with the number of files read and the number of all files.
    """
    found = _read_all(dict.fromkeys(clip.path for clip in dataset.clips), decode, progress)
    broken = [
        Skipped(clip.id, problem)
        for clip in dataset.clips
        if isinstance(problem := found[clip.path], str)
    ]
    readable = {path: value for path, value in found.items() if not isinstance(value, str)}
    parts = [_part(split, dataset.select(split).clips, readable) for split in dataset.splits]
    return CheckReport(
        name=dataset.name,
        root=str(dataset.root),
        decoded=decode,
        parts=(*parts, _part(None, dataset.clips, readable)),
        labels=len(dataset.labels),
        missing=tuple(entry for entry in dataset.skipped if entry.missing),
        broken=(*(entry for entry in dataset.skipped if not entry.missing), *broken),
        audio_in_splits=_audio_in_splits([c for c in dataset.clips if c.path in readable]),
        captions_in_splits=_captions_in_splits(dataset.clips),
    )


def _read_all(
    paths: Iterable[Path], decode: bool, progress: Callable[[int, int], None] | None
) -> dict[Path, tuple[float, int] | str]:
    """Return the length in seconds and the sample rate of each file, or the reason it is broken."""
    paths = list(paths)
    found: dict[Path, tuple[float, int] | str] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        results = threads.map(_decoded if decode else _header, paths)
        for path, result in zip(paths, results, strict=True):
            found[path] = result
            if progress is not None:
                progress(len(found), len(paths))
    return found


def _header(path: Path) -> tuple[float, int] | str:
    try:
        return audio.duration(path)
    except AudioError as error:
        return str(error)


def _decoded(path: Path) -> tuple[float, int] | str:
    try:
        waveform, rate = audio.decode(path)
        told, _ = audio.duration(path)
    except AudioError as error:
        return str(error)
    seconds = waveform.size / rate
    if seconds < 0.99 * told:
        return f"{path}: only {seconds:.2f} of {told:.2f} s can be decoded; replace or remove it"
    return seconds, rate


def _part(
    split: str | None, clips: Sequence[Clip], readable: dict[Path, tuple[float, int]]
) -> SplitSummary:
    captions = Counter(text for clip in clips for text in {_words(c) for c in clip.captions})
    lengths = [_length(clip, *readable[clip.path]) for clip in clips if clip.path in readable]
    rates = Counter(readable[clip.path][1] for clip in clips if clip.path in readable)
    counts = Counter(len(clip.captions) for clip in clips)
    return SplitSummary(
        split=split,
        clips=len(clips),
        captions=sum(len(clip.captions) for clip in clips),
        captions_per_clip=dict(sorted(counts.items())),
        seconds=_durations(lengths) if lengths else None,
        sample_rates=dict(sorted(rates.items())),
        shared_captions=sum(clips > 1 for clips in captions.values()),
    )


def _length(clip: Clip, seconds: float, _rate: int) -> float:
    end = seconds if clip.end is None else min(clip.end, seconds)
    return max(end - (clip.start or 0.0), 0.0)


def _durations(lengths: Sequence[float]) -> Durations:
    return Durations(min(lengths), statistics.median(lengths), max(lengths), sum(lengths))


def _words(caption: str) -> str:
    return " ".join(caption.split()).casefold()


def _captions_in_splits(clips: Sequence[Clip]) -> dict[str, tuple[str, ...]]:
    splits = defaultdict(set)
    for clip in clips:
        for caption in clip.captions:
            if clip.split is not None:
                splits[_words(caption)].add(clip.split)
    return {text: tuple(sorted(found)) for text, found in splits.items() if len(found) > 1}


def _audio_in_splits(clips: Sequence[Clip]) -> tuple[tuple[str, ...], ...]:
    """Group clips with equal files, reading only files of equal size and equal head in full."""
    groups = [[clip for clip in clips if clip.split is not None]]
    for key in (_size, _head_digest, _digest):
        groups = [group for old in groups for group in _grouped(old, key)]
    return tuple(tuple(clip.id for clip in group) for group in groups)


def _grouped(clips: Sequence[Clip], key: Callable[[Path], Hashable]) -> list[list[Clip]]:
    """Group the clips by key, and keep the groups with clips in different splits."""
    groups = defaultdict(list)
    with ThreadPoolExecutor(_THREADS) as threads:
        keys = threads.map(key, [clip.path for clip in clips])
        for clip, value in zip(clips, keys, strict=True):
            groups[value].append(clip)
    return [group for group in groups.values() if len({clip.split for clip in group}) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _head_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
