"""Relevance: the probability that a sound is what a term asks for, comparable between queries.

Distances are not comparable: some sounds are near to every description, and some descriptions are
near to every sound. So distances are normalised on both sides, like scores in speaker verification
(T-norm and Z-norm). The table stores the mean and standard deviation of each window's distances to
a set of reference descriptions (``descriptions.txt``). The *fit* of a description is the number of
standard deviations by which it is nearer to the window than these. The mean fit of the description
to the library is subtracted from it, so that descriptions that say nothing about sound, which are
slightly nearer to everything, gain nothing. A sound is compared with the other sounds of the
library instead.

The log-odds are linear in the fit, with constants fitted on recordings that were searched by
descriptions of them (docs/results.md). The *relevance* is the resulting probability that the sound
is what was asked for, where one sound in ten was. For several terms it is the probability that all
of them apply and none of the unwanted ones.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor

from otomatch.library.columns import vectors_from_rows
from otomatch.library.store import Store

FIT_COLUMNS = ("vector", "ref_mean", "ref_std")
"""Columns that `batch_from_rows` needs."""

# Slope of the log-odds, and the fit at which they are even.
_TEXT_SLOPE, _TEXT_EVEN = 1.7, 2.15
_SOUND_SLOPE, _SOUND_EVEN = 2.2, 1.9
# In a library of dogs "a dog" fits everything, and should still be found relevant.
_MAX_MEAN_FIT = 0.75
_SAMPLE_WINDOWS = 512
_PRIOR_SOUNDS = 10.0  # weight of the references in the mean and spread of the library's sounds
_SOUND_SPREAD = 1.5  # spread of distances between sounds, relative to that between descriptions


def log_probability(odds: Tensor) -> Tensor:
    """Return the logarithm of the probability with the given log-odds."""
    return torch.nn.functional.logsigmoid(odds)


@dataclass(frozen=True)
class WindowBatch:
    """Windows, with what is needed to compute their fit.

    Attributes:
        vectors: Whitened vectors, (n, D).
        mean: Mean distance of each to the reference descriptions, (n,).
        std: Standard deviation of these distances, (n,).
    """

    vectors: Tensor
    mean: Tensor
    std: Tensor


def batch_from_rows(rows: pa.Table) -> WindowBatch:
    """Return the windows of rows that have `FIT_COLUMNS`."""
    columns = (vectors_from_rows(rows), rows["ref_mean"].to_numpy(), rows["ref_std"].to_numpy())
    return WindowBatch(*(torch.from_numpy(values.copy()) for values in columns))


class Background:
    """Typical sounds of a library, to which the distances of a query are compared.

    Args:
        sample: Sample of the library's windows, in any order.
        references: Whitened reference descriptions, (m, D).
    """

    def __init__(self, sample: WindowBatch, references: Tensor) -> None:
        self._sample = sample
        # Sounds are about as far from each other as descriptions are, whatever the modality gap.
        distances = torch.pdist(references)
        self._distance, self._spread = distances.mean(), distances.std().clamp_min(1e-6)

    def text_odds(self, text: Tensor, windows: WindowBatch) -> Tensor:
        """Return the log-odds that windows are what a whitened description (D,) says, (n,)."""
        sample, mean_fit = self._sample, torch.zeros(())
        # One spread for all windows: each window's own spread ranks them worse.
        spread = (sample if len(sample.std) else windows).std.mean()
        if len(sample.std):
            nearer = (sample.mean - _distances(text, sample.vectors)) / spread
            mean_fit = nearer.mean().clamp(-_MAX_MEAN_FIT, _MAX_MEAN_FIT)
        fit = (windows.mean - _distances(text, windows.vectors)) / spread - mean_fit
        return _TEXT_SLOPE * (fit - _TEXT_EVEN)

    def sound_odds(self, sound: Tensor, windows: WindowBatch) -> Tensor:
        """Return the log-odds that windows are of the same kind as a whitened sound (D,), (n,).

        The mean and spread of the library's distances are kept near those between the
        descriptions, so that a library of only one kind of sound has something to compare with.
        """
        others = torch.cdist(windows.vectors, self._sample.vectors)
        count = others.shape[1]
        total = count + _PRIOR_SOUNDS
        mean = (others.sum(dim=1) + _PRIOR_SOUNDS * self._distance) / total
        usual = _SOUND_SPREAD * self._spread
        squares = (others - mean[:, None]).square().sum(dim=1)
        variance = (squares + _PRIOR_SOUNDS * usual**2) / total
        mean = mean.clamp(self._distance - self._spread, self._distance + self._spread)
        std = variance.sqrt().clamp(self._spread, 2 * self._spread)
        fit = (mean - _distances(sound, windows.vectors)) / std
        return _SOUND_SLOPE * (fit - _SOUND_EVEN)


def _distances(query: Tensor, vectors: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm(vectors - query, dim=1)
    return distances


class BackgroundCache:
    """Background of a library, sampled again whenever the library has changed.

    Args:
        store: Table of the library.
        references: Function that returns the whitened reference descriptions, (m, D).
    """

    def __init__(self, store: Store, references: Callable[[], Tensor]) -> None:
        self._store, self._references = store, references
        self._lock = threading.Lock()
        self._version = -1
        self._background: Background | None = None

    def current(self) -> Background:
        """Return the background of the library as it is now; several threads may call this."""
        version = self._store.version
        with self._lock:
            if self._background is None or version != self._version:
                self._background = Background(_sample(self._store), self._references())
                self._version = version
            return self._background


def _sample(store: Store) -> WindowBatch:
    """Return a sample of the windows that does not depend on the order of writes."""
    # Ids are hashes, so those below a bound are a random sample.
    share = min(1.0, _SAMPLE_WINDOWS / max(1, len(store)))
    bound = f"id < '{round(share * 0xFFFFFFFF):08x}'" if share < 1 else None
    return batch_from_rows(store.rows(FIT_COLUMNS, bound))
