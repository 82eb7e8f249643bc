"""Looking through a data set before anything is trained on it: what is there, what is not."""

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

_THREADS = 8  # reading is waiting for the disk, and libsndfile lets go of the interpreter's lock
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Durations:
    """Lengths of clips in seconds."""

    min: float
    median: float
    max: float
    total: float


@dataclass(frozen=True)
class SplitSummary:
    """The clips of one split, or all of them.

    Attributes:
        split: None for all.
        clips: their number.
        captions: their number.
        captions_per_clip: number of clips by number of captions.
        seconds: of the clips that could be read; None if none could.
        sample_rates: number of clips by sample rate in Hz.
        shared_captions: captions that describe several of these clips, word by word.
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
    """What `check_dataset` found.

    Attributes:
        name: of the data set.
        root: its folder.
        decoded: whether every file was decoded in full, or only its header read.
        parts: each split, then all clips.
        labels: number of classes.
        missing: rows whose file is not there.
        broken: rows whose file cannot be used, or that cannot be used themselves.
        audio_in_splits: groups of clips in different splits whose files are the same, byte by byte.
        captions_in_splits: captions that occur in several splits, and those splits.
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
        """Plain values for JSON."""
        return asdict(self)


def check_dataset(
    dataset: CaptionDataset,
    decode: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Count clips and captions, read every header, and look for duplicates between splits.

    Args:
        dataset: any.
        decode: decode every file in full instead of reading its header, which finds files that
            are damaged further in.
        progress: is told the number of files that were read, and of all.
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
    """Seconds and sample rate of every file, or what is wrong with it."""
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
        return f"{path}: {seconds:.2f} s of {told:.2f} s can be decoded; replace or remove it"
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
    """Only files of one size, then of one beginning, are read in full."""
    groups = [[clip for clip in clips if clip.split is not None]]
    for key in (_size, _head_digest, _digest):
        groups = [group for old in groups for group in _grouped(old, key)]
    return tuple(tuple(clip.id for clip in group) for group in groups)


def _grouped(clips: Sequence[Clip], key: Callable[[Path], Hashable]) -> list[list[Clip]]:
    """Clips with the same key, where they are in different splits."""
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
