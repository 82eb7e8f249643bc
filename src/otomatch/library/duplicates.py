"""Near-identical sounds: one recording in several formats, levels, rates or lengths.

Every file is decoded once for its mean spectrum, which copies share to within 2 dB where vectors of
the model may lie far apart (without its treble a sound is another sound). Neighbours by that are
compared in full: log-mel frames of both, less the mean of each band, at the offset where they
correlate best. Two recordings of one kind of sound may have the same spectrum, but not the same
course in time.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from otomatch.errors import AudioError, InvalidInputError
from otomatch.library.fingerprint import (
    BANDS,
    LEAST_OVERLAP,
    SECONDS,
    Frames,
    correlation,
    fingerprint,
    mean_spectrum,
)
from otomatch.library.records import Sound

SIMILARITY = 0.93
"""From which two sounds are taken for the same."""

_NEIGHBOURS = 10
_SPECTRA_APART = 3.0  # dB, root mean square over the bands
_BLOCK = 1024
_KEPT = 512  # fingerprints in memory, at most 1.5 MB each


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that hold the same sound.

    Attributes:
        sounds: two or more, the longest first.
        similarity: of the least alike of the pairs that make the group, 0 to 1.
        copies: ids of files whose bytes are the same, two or more in each set.
    """

    sounds: tuple[Sound, ...]
    similarity: float
    copies: tuple[frozenset[str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``copy_of`` is the id of the first file with the same bytes."""
        listed, first = [], dict[frozenset[str], str]()
        for sound in self.sounds:
            same = next((ids for ids in self.copies if sound.id in ids), None)
            original = None if same is None else first.setdefault(same, sound.id)
            copy_of = None if original == sound.id else original
            listed.append({**asdict(sound), "copy_of": copy_of})
        return {"similarity": self.similarity, "sounds": listed}


def find_duplicates(
    sounds: Sequence[Sound],
    digests: Sequence[str],
    similarity: float = SIMILARITY,
    progress: bool = False,
) -> list[DuplicateGroup]:
    """Groups of near-identical sounds, the largest first.

    Args:
        sounds: the files.
        digests: of their bytes, (n,).
        similarity: correlation from which two are taken for the same, above 0 and at most 1.
        progress: show a progress bar.

    Raises:
        InvalidInputError: ``similarity`` is out of range.
    """
    if not 0 < similarity <= 1:
        raise InvalidInputError(f"similarity must be above 0 and at most 1, got {similarity}")
    first: dict[str, int] = {}
    links = [
        (first.setdefault(digest, row), row, 1.0)
        for row, digest in enumerate(digests)
        if first.setdefault(digest, row) != row
    ]
    distinct = list(first.values())
    for a, b, alike in _compare([sounds[row] for row in distinct], progress):
        if alike >= similarity:
            links.append((distinct[a], distinct[b], alike))
    return _groups(sounds, digests, links)


def _compare(sounds: Sequence[Sound], progress: bool) -> list[tuple[int, int, float]]:
    """Rows and similarity of pairs of files that may be alike."""
    broken: dict[str, str] = {}

    @lru_cache(maxsize=_KEPT)
    def of(path: str) -> Frames | None:
        try:
            return fingerprint(path)
        except AudioError as error:
            broken[path] = str(error)
            return None

    def spectrum(sound: Sound) -> Frames:
        frames = of(sound.path)
        return np.full(BANDS, np.nan, np.float32) if frames is None else mean_spectrum(frames)

    def compare(pair: tuple[int, int]) -> float:
        one, other = (of(sounds[row].path) for row in pair)
        return 0.0 if one is None or other is None else correlation(one, other)

    console = Console(stderr=True)
    quiet = not (progress and console.is_terminal)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(spectrum, sounds)
        spectra = list(track(read, "Reading", len(sounds), console=console, disable=quiet))
        pairs = [pair for pair in _neighbours(spectra) if _like_lengths(*(sounds[r] for r in pair))]
        compared = pool.map(compare, pairs)
        alike = list(track(compared, "Comparing", len(pairs), console=console, disable=quiet))
    _warn(broken)
    return [(a, b, found) for (a, b), found in zip(pairs, alike, strict=True)]


def _neighbours(spectra: Sequence[Frames]) -> list[tuple[int, int]]:
    """Pairs of rows with much the same spectrum, the lower row first; NaN is like nothing."""
    if len(spectra) < 2:
        return []
    rows = torch.from_numpy(np.stack(spectra)).nan_to_num(nan=1e6) / BANDS**0.5
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), _BLOCK):
        distances = torch.cdist(rows[start : start + _BLOCK], rows)
        own = torch.arange(len(distances))
        distances[own, start + own] = torch.inf
        near = distances.topk(min(_NEIGHBOURS, len(rows) - 1), largest=False)
        for row, column in (near.values <= _SPECTRA_APART).nonzero().tolist():
            one, other = start + row, int(near.indices[row, column])
            found.add((min(one, other), max(one, other)))
    return sorted(found)


def _warn(broken: dict[str, str]) -> None:
    if broken:
        path, reason = next(iter(broken.items()))
        warnings.warn(
            f"{len(broken)} files could not be read and were not compared ({path}: {reason}); "
            "index their folder again",
            stacklevel=5,
        )


def _like_lengths(one: Sound, other: Sound) -> bool:
    """Whether the files may hold the same sound; there may be silence around it."""
    shorter, longer = sorted(min(sound.duration, SECONDS) for sound in (one, other))
    return shorter >= LEAST_OVERLAP / 2 * longer


def _groups(
    sounds: Sequence[Sound], digests: Sequence[str], links: Sequence[tuple[int, int, float]]
) -> list[DuplicateGroup]:
    """Files that links connect."""
    if not links:
        return []
    one, other, alike = (np.array(column) for column in zip(*links, strict=True))
    size = len(sounds)
    graph = coo_array((np.ones(len(links)), (one, other)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    linked = np.unique(component[one])
    groups = []
    for label in linked:
        rows = np.flatnonzero(component == label).tolist()
        members = tuple(sorted((sounds[row] for row in rows), key=_longest_first))
        same: dict[str, set[str]] = {}
        for row in rows:
            same.setdefault(digests[row], set()).add(sounds[row].id)
        copies = tuple(frozenset(ids) for ids in same.values() if len(ids) > 1)
        groups.append(DuplicateGroup(members, float(alike[component[one] == label].min()), copies))
    return sorted(groups, key=lambda group: (-len(group.sounds), group.sounds[0].path))


def _longest_first(sound: Sound) -> tuple[float, str]:
    return -sound.duration, sound.path
