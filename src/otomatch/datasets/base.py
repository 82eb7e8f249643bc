"""Data set types: clips with captions, and the rows and files that had to be skipped."""

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
        path: Audio file.
        captions: Descriptions of the audio; may be empty only if the clip has a label.
        id: Unique name within the data set: the relative path, and the span if there is one.
        split: ``train``, ``val``, ``test``, or None if the data set has no splits.
        label: Class name for zero-shot classification; None if unknown.
        fold: Cross-validation fold; None if unknown.
        start: Start of the clip in seconds from the beginning of the file; None for the beginning.
        end: End of the clip in seconds from the beginning of the file; None for the end.

    Raises:
        InvalidInputError: The clip has neither a caption nor a label, or its span is empty or
            negative.
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
    """A row or file that cannot be used.

    Attributes:
        name: Name of the file, or of the row's file.
        reason: Reason why it cannot be used.
        missing: True if the file does not exist.
    """

    name: str
    reason: str
    missing: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class CaptionDataset:
    """Clips and their captions, in a fixed order.

    Attributes:
        name: Name of the data set in reports.
        root: Folder that clip ids are relative to.
        clips: Clips, at least one, with unique ids.
        skipped: Rows and files that cannot be used.

    Raises:
        DatasetError: There is no clip, or two clips have the same id.
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
        """All captions, in the order of their clips."""
        return [caption for clip in self.clips for caption in clip.captions]

    @cached_property
    def caption_clip(self) -> list[int]:
        """Index in `clips` of the clip of each caption, in the order of `captions`."""
        return [row for row, clip in enumerate(self.clips) for _ in clip.captions]

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted; empty if the data set has none."""
        return tuple(sorted({clip.split for clip in self.clips if clip.split is not None}))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Distinct class names, sorted; empty if the data set has none."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any caption, span, label, split, fold or audio file.

        An audio file counts as changed if its size or modification time changes; its content is
        not read. The location of the folder does not matter.
        """
        digest = hashlib.sha256()
        for clip in self.clips:
            row = (clip.id, clip.captions, clip.split, clip.label, clip.fold, clip.start, clip.end)
            digest.update(json.dumps([*row, *_stamp(clip.path)]).encode() + b"\n")
        return digest.hexdigest()

    def in_folds(self, folds: Collection[int]) -> "CaptionDataset":
        """Return the data set with only the clips of the given folds.

        Raises:
            DatasetError: No clip is in one of the folds.
        """
        clips = tuple(clip for clip in self.clips if clip.fold in folds)
        wanted = ", ".join(map(str, sorted(folds)))
        if not clips:
            present = sorted({clip.fold for clip in self.clips if clip.fold is not None})
            has = f"it has {', '.join(map(str, present))}" if present else "it names no folds"
            raise DatasetError(f"{self.name}: no clip in folds {wanted}; {has}")
        return replace(self, name=f"{self.name} (folds {wanted})", clips=clips)

    def select(self, split: str) -> "CaptionDataset":
        """Return the data set with only the clips of one split.

        Raises:
            DatasetError: The data set has no such split.
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
