"""Near-identical sounds: the same recording in several formats, levels, sample rates or lengths.

Every file is decoded once for its mean spectrum. Copies agree in it to within 2 dB, while the
model's vectors of copies may be far apart (a sound without its treble is another sound to the
model). Nearest neighbours by mean spectrum are then compared in full: log-mel frames of both,
minus the mean of each band, at the offset where they correlate best. Two recordings of the same
kind of sound may have the same spectrum, but they do not change in the same way over time.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from otomatch.errors import AudioError, InvalidInputError
from otomatch.library.records import DuplicateGroup, Sound
from otomatch.library.spectral_fingerprints import (
    BANDS,
    MIN_OVERLAP,
    SECONDS,
    Frames,
    correlation,
    mean_spectrum,
    spectral_fingerprint,
)

MIN_SIMILARITY = 0.93
"""Default minimum similarity of two sounds that count as the same."""

_NEIGHBOURS = 10
_MAX_SPECTRAL_DISTANCE = 3.0  # dB, root mean square over the bands
_BLOCK = 1024
_CACHED_FINGERPRINTS = 512  # up to 1.5 MB each

Link = tuple[int, int, float]
"""Two rows, and the similarity of their sounds."""


def find_duplicates(
    sounds: Sequence[Sound],
    digests: Sequence[str],
    similarity: float = MIN_SIMILARITY,
    progress: bool = False,
) -> list[DuplicateGroup]:
    """Return groups of near-identical sounds, the largest first.

    Args:
        sounds: Files to compare.
        digests: Hash of the bytes of each file.
        similarity: Minimum similarity of two sounds that count as the same, 0 < similarity <= 1.
        progress: Show a progress bar.

    Raises:
        InvalidInputError: ``similarity`` is out of range.

    Warns:
        UserWarning: Files could not be read; they are only compared by their bytes.
    """
    if not 0 < similarity <= 1:
        raise InvalidInputError(
            f"similarity is {similarity}; expected a number above 0 and at most 1"
        )
    first: dict[str, int] = {}
    links: list[Link] = [
        (first.setdefault(digest, row), row, 1.0)
        for row, digest in enumerate(digests)
        if first.setdefault(digest, row) != row
    ]
    distinct = list(first.values())
    for a, b, alike in _compare([sounds[row] for row in distinct], progress):
        if alike >= similarity:
            links.append((distinct[a], distinct[b], alike))
    return _groups(sounds, digests, links)


class _Fingerprints:
    """Fingerprints of sounds, the most recent ones cached."""

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}
        self._get = lru_cache(maxsize=_CACHED_FINGERPRINTS)(self._read)

    def _read(self, path: str) -> Frames | None:
        try:
            return spectral_fingerprint(path)
        except AudioError as error:
            self.unreadable[path] = str(error)
            return None

    def spectrum(self, sound: Sound) -> Frames:
        """Return the mean spectrum of a sound, NaN if it cannot be read."""
        frames = self._get(sound.path)
        return np.full(BANDS, np.nan, np.float32) if frames is None else mean_spectrum(frames)

    def similarity(self, pair: tuple[Sound, Sound]) -> float:
        one, other = (self._get(sound.path) for sound in pair)
        return 0.0 if one is None or other is None else correlation(one, other)


def _compare(sounds: Sequence[Sound], progress: bool) -> list[Link]:
    """Return the similarity of all pairs of sounds that may be the same."""
    fingerprints = _Fingerprints()
    console = Console(stderr=True)
    tracked = partial(track, console=console, disable=not (progress and console.is_terminal))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(fingerprints.spectrum, sounds)
        near = _neighbours(list(tracked(read, "Reading", len(sounds))))
        rows = [(a, b) for a, b in near if _lengths_may_match(sounds[a], sounds[b])]
        pairs = [(sounds[a], sounds[b]) for a, b in rows]
        compared = tracked(pool.map(fingerprints.similarity, pairs), "Comparing", len(pairs))
        links = [(a, b, similarity) for (a, b), similarity in zip(rows, compared, strict=True)]
    _warn_of_unreadable(fingerprints.unreadable)
    return links


def _neighbours(spectra: Sequence[Frames]) -> list[tuple[int, int]]:
    """Return pairs of rows with similar spectra, the lower row first; NaN matches nothing."""
    if len(spectra) < 2:
        return []
    rows = torch.from_numpy(np.stack(spectra)).nan_to_num(nan=1e6) / BANDS**0.5
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), _BLOCK):
        distances = torch.cdist(rows[start : start + _BLOCK], rows)
        own = torch.arange(len(distances))
        distances[own, start + own] = torch.inf
        near = distances.topk(min(_NEIGHBOURS, len(rows) - 1), largest=False)
        for row, column in (near.values <= _MAX_SPECTRAL_DISTANCE).nonzero().tolist():
            one, other = start + row, int(near.indices[row, column])
            found.add((min(one, other), max(one, other)))
    return sorted(found)


def _warn_of_unreadable(reasons: dict[str, str]) -> None:
    if reasons:
        path, reason = next(iter(reasons.items()))
        warnings.warn(
            f"{len(reasons)} files could not be read and were not compared ({path}: {reason}); "
            "index their folder again",
            stacklevel=5,
        )


def _lengths_may_match(one: Sound, other: Sound) -> bool:
    """Return False if the lengths differ too much, even if one has silence around the sound."""
    shorter, longer = sorted(min(sound.duration, SECONDS) for sound in (one, other))
    return shorter >= MIN_OVERLAP / 2 * longer


def _groups(
    sounds: Sequence[Sound], digests: Sequence[str], links: Sequence[Link]
) -> list[DuplicateGroup]:
    """Return the connected components of the links."""
    if not links:
        return []
    one, other, similarity = (np.array(column) for column in zip(*links, strict=True))
    size = len(sounds)
    graph = coo_array((np.ones(len(links)), (one, other)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    groups = []
    for label in np.unique(component[one]):
        rows = np.flatnonzero(component == label).tolist()
        members = tuple(sorted((sounds[row] for row in rows), key=_longest_first))
        lowest = float(similarity[component[one] == label].min())
        groups.append(DuplicateGroup(members, lowest, _copies(sounds, digests, rows)))
    return sorted(groups, key=lambda group: (-len(group.sounds), group.sounds[0].path))


def _copies(
    sounds: Sequence[Sound], digests: Sequence[str], rows: Sequence[int]
) -> tuple[frozenset[str], ...]:
    """Return the ids of rows with identical bytes, in sets of two or more."""
    same: dict[str, set[str]] = {}
    for row in rows:
        same.setdefault(digests[row], set()).add(sounds[row].id)
    return tuple(frozenset(ids) for ids in same.values() if len(ids) > 1)


def _longest_first(sound: Sound) -> tuple[float, str]:
    return -sound.duration, sound.path
