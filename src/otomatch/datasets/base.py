"""The value every loader returns: clips with their captions, and what had to be skipped."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from otomatch.errors import DatasetError, InvalidInputError


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of audio and the captions that describe it.

    Attributes:
        path: the audio file.
        captions: its descriptions, at least one unless only a label is known.
        id: unique within the data set (the file's relative path, and the span if there is one).
        split: ``train``, ``val``, ``test`` or None where the data set does not say.
        label: class name, for zero-shot classification.
        fold: cross-validation fold.
        start: seconds from the file's beginning, None for the beginning itself.
        end: seconds from the file's beginning, None for the file's end.
    """

    path: Path
    captions: tuple[str, ...]
    id: str
    split: str | None = None
    label: str | None = None
    fold: int | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if not self.captions and self.label is None:
            raise InvalidInputError(f"clip {self.id!r} has neither a caption nor a label")
        start = 0.0 if self.start is None else self.start
        if start < 0 or (self.end is not None and self.end <= start):
            raise InvalidInputError(
                f"clip {self.id!r} spans {self.start} to {self.end} s; expected 0 <= start < end"
            )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row or file that could not be used, and why.

    Attributes:
        name: the row's or the file's.
        reason: what is wrong with it.
        missing: whether there is no such file.
    """

    name: str
    reason: str
    missing: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class CaptionDataset:
    """Clips and their captions, in a fixed order.

    Attributes:
        name: how reports call it.
        root: the folder that clip ids are relative to.
        clips: at least one.
        skipped: rows and files that could not be used.
    """

    name: str
    root: Path
    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        if not self.clips:
            raise DatasetError(f"{self.name}: a data set needs at least one clip")
        if len({clip.id for clip in self.clips}) < len(self.clips):
            raise DatasetError(f"{self.name}: two clips have the same id")

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def captions(self) -> list[str]:
        """All captions, clip by clip; length: number of captions."""
        return [caption for clip in self.clips for caption in clip.captions]

    @cached_property
    def caption_clip(self) -> list[int]:
        """The row in `clips` of each caption; same length as `captions`."""
        return [row for row, clip in enumerate(self.clips) for _ in clip.captions]

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted; empty where the data set has none."""
        return tuple(sorted({clip.split for clip in self.clips if clip.split is not None}))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Distinct class names, sorted; empty where the data set has none."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any caption, span, label, split, or audio file.

        An audio file counts as changed when its size or time of modification does; its content is
        not read. Moving the whole folder changes nothing.
        """
        digest = hashlib.sha256()
        for clip in self.clips:
            row = (clip.id, clip.captions, clip.split, clip.label, clip.fold, clip.start, clip.end)
            digest.update(json.dumps([*row, *_stamp(clip.path)]).encode() + b"\n")
        return digest.hexdigest()

    def in_folds(self, folds: Collection[int]) -> "CaptionDataset":
        """The clips of these folds.

        Raises:
            DatasetError: there are none.
        """
        clips = tuple(clip for clip in self.clips if clip.fold in folds)
        wanted = ", ".join(map(str, sorted(folds)))
        if not clips:
            present = sorted({clip.fold for clip in self.clips if clip.fold is not None})
            has = f"it has {', '.join(map(str, present))}" if present else "it names no folds"
            raise DatasetError(f"{self.name}: no clip in folds {wanted}; {has}")
        return replace(self, name=f"{self.name} (folds {wanted})", clips=clips)

    def select(self, split: str) -> "CaptionDataset":
        """The clips of one split.

        Raises:
            DatasetError: there is no such split.
        """
        if split not in self.splits:
            has = f"it has {', '.join(self.splits)}" if self.splits else "it names no splits"
            raise DatasetError(f"{self.name}: no split {split!r}; {has}")
        return replace(
            self,
            name=f"{self.name} ({split})",
            clips=tuple(clip for clip in self.clips if clip.split == split),
        )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
