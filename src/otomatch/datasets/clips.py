"""Build a data set from table rows: find the audio files, and list the rows that are skipped."""

from collections.abc import Sequence
from pathlib import Path

from otomatch.datasets.audio_files import FileIndex, unreadable_reason
from otomatch.datasets.base import CaptionDataset, Clip, Skipped
from otomatch.datasets.caption_table import ClipRow
from otomatch.errors import DatasetError


def assemble(name: str, root: Path, rows: Sequence[ClipRow], source: str) -> CaptionDataset:
    """Return the data set of all rows whose files exist and hold audio; list the others as skipped.

    Args:
        name: Name of the data set.
        root: Folder that has the audio files anywhere below it.
        rows: Rows of all tables of the data set.
        source: Description of the tables for error messages.

    Raises:
        DatasetError: No row can be used.
    """
    clips, skipped = _resolve(root, rows)
    if not clips:
        first = f"; the first: {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise DatasetError(f"{source}: none of its {len(rows)} clips can be used{first}")
    return CaptionDataset(name, root, tuple(clips), tuple(skipped))


def _resolve(root: Path, rows: Sequence[ClipRow]) -> tuple[list[Clip], list[Skipped]]:
    """Turn rows into clips, checking each file once even if several rows name it."""
    index = FileIndex(root, {row.names for row in rows})
    problems: dict[str, str] = {}
    clips: dict[str, Clip] = {}
    skipped = []
    for row in rows:
        name, line = row.names[0], f"line {row.line}"
        found, reason = index.find(*row.names)
        if found is not None:
            if found not in problems:
                problems[found] = unreadable_reason(root / found)
            reason = problems[found]
        if found is None or reason:
            skipped.append(Skipped(name, f"{line}: {reason}", missing=found is None))
        elif not row.captions and row.label is None:
            skipped.append(Skipped(name, f"{line}: no caption"))
        else:
            clip = _clip(root, found, row)
            if clip.id in clips:
                skipped.append(Skipped(name, f"{line}: names {found} a second time"))
            clips.setdefault(clip.id, clip)
    return list(clips.values()), skipped


def _clip(root: Path, found: str, row: ClipRow) -> Clip:
    span = "" if row.start is None and row.end is None else f"#{row.start or 0.0}-{row.end or ''}"
    return Clip(
        path=root / found,
        captions=tuple(row.captions),
        id=found + span,
        split=row.split,
        label=row.label,
        fold=row.fold,
        start=row.start,
        end=row.end,
    )
