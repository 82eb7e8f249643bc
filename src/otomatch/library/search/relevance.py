"""How likely a sound is what a term asks for, in numbers that mean the same for every query.

Distances do not: some sounds are near to every description, some descriptions near to every sound.
So distances are normalised from both sides, as scores are in speaker verification (T-norm and
Z-norm). A window keeps the mean of its distances to reference descriptions (``descriptions.txt``);
the *fit* of a description is by how many standard deviations it lies nearer than these. From it is
subtracted how well the description fits the library on the whole, so that words that say nothing
about sound, which lie a little nearer to everything, gain nothing by it. A sound is compared with
the other sounds of the library instead.

Log-odds are linear in the fit, with constants fitted to recordings that were searched by describing
them (docs/results.md). The *relevance* of a sound is the probability that it is what was asked
for, as it was there, where one sound in ten was; of several terms, that all of them apply and
none of the unwanted.
"""

import threading
from dataclasses import dataclass
from importlib import resources

import pyarrow as pa
import torch
from torch import Tensor

from otomatch.library.store import Store

FIT_COLUMNS = ("vector", "ref_mean", "ref_std")
"""Columns of a window that its fit needs."""

# Of the log-odds, and the fit at which they are even: of descriptions, and of sounds.
_TEXT_SLOPE, _TEXT_EVEN = 1.7, 2.15
_SOUND_SLOPE, _SOUND_EVEN = 2.2, 1.9
# A library of nothing but dogs fits "a dog" on the whole, and should say so.
_MOST_CENTRED = 0.75
_SAMPLE = 512
_PRIOR = 10.0  # sounds that the descriptions count for


def reference_descriptions() -> list[str]:
    """Descriptions of sounds of all kinds."""
    text = (resources.files("otomatch.library") / "descriptions.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line]


def reference_statistics(vectors: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each vector's distances to references.

    Args:
        vectors: whitened windows, (n, D).
        references: whitened descriptions, (m, D).

    Returns:
        Two tensors of shape (n,).
    """
    distances = torch.cdist(vectors, references)
    return distances.mean(dim=1), distances.std(dim=1).clamp_min(1e-6)


def log_probability(odds: Tensor) -> Tensor:
    """Logarithm of the probability whose log-odds are given."""
    return torch.nn.functional.logsigmoid(odds)


@dataclass(frozen=True)
class Windows:
    """Some windows as their fit needs them.

    Attributes:
        vectors: whitened, (n, D).
        mean: of their distances to the reference descriptions, (n,).
        std: of the same, (n,).
    """

    vectors: Tensor
    mean: Tensor
    std: Tensor


def windows_of(table: pa.Table) -> Windows:
    """The columns of rows that a fit needs: ``vector``, ``ref_mean`` and ``ref_std``."""
    column = table["vector"].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(table), column.type.list_size)
    columns = (vectors, table["ref_mean"].to_numpy(), table["ref_std"].to_numpy())
    return Windows(*(torch.from_numpy(values.copy()) for values in columns))


class Background:
    """What a library's sounds are like on the whole: a sample of its windows.

    Args:
        sample: the windows; their order does not matter.
        references: whitened reference descriptions, (m, D).
    """

    def __init__(self, sample: Windows, references: Tensor) -> None:
        self._sample = sample
        apart = torch.pdist(references)
        # Sounds lie about as far apart as descriptions do, whatever lies between the two kinds.
        self._apart, self._spread = apart.mean(), apart.std().clamp_min(1e-6)

    def text_odds(self, text: Tensor, windows: Windows) -> Tensor:
        """Log-odds that windows are what a whitened description (D,) says, (n,)."""
        sample, usual = self._sample, torch.zeros(())
        # Of all windows alike: a spread of each one's own ranks them worse.
        spread = (sample if len(sample.std) else windows).std.mean()
        if len(sample.std):
            nearer = (sample.mean - _distances(text, sample.vectors)) / spread
            usual = nearer.mean().clamp(-_MOST_CENTRED, _MOST_CENTRED)
        fit = (windows.mean - _distances(text, windows.vectors)) / spread - usual
        return _TEXT_SLOPE * (fit - _TEXT_EVEN)

    def sound_odds(self, sound: Tensor, windows: Windows) -> Tensor:
        """Log-odds that windows are of the kind of a whitened sound (D,), (n,).

        The library's mean and spread are kept near those of the descriptions among themselves, so
        that a library of one kind of sound still has something to be compared with.
        """
        others = torch.cdist(windows.vectors, self._sample.vectors)
        count = others.shape[1]
        total = count + _PRIOR
        mean = (others.sum(dim=1) + _PRIOR * self._apart) / total
        usual = 1.5 * self._spread  # sounds spread more than descriptions
        square = ((others - mean[:, None]).square().sum(dim=1) + _PRIOR * usual**2) / total
        mean = mean.clamp(self._apart - self._spread, self._apart + self._spread)
        std = square.sqrt().clamp(self._spread, 2 * self._spread)
        fit = (mean - _distances(sound, windows.vectors)) / std
        return _SOUND_SLOPE * (fit - _SOUND_EVEN)


def _distances(query: Tensor, vectors: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm(vectors - query, dim=1)
    return distances


class Backgrounds:
    """The background of a library, sampled again when the library has changed.

    Args:
        store: the library's table.
        references: whitened reference descriptions, (m, D).
    """

    def __init__(self, store: Store, references: Tensor) -> None:
        self._store, self._references = store, references
        self._lock = threading.Lock()
        self._version, self._background = -1, Background(_no_windows(references), references)

    def current(self) -> Background:
        """The background of what the library holds now; may be called from several threads."""
        version = self._store.version
        with self._lock:
            if version != self._version:
                self._background = Background(_sample(self._store), self._references)
                self._version = version
            return self._background


def _sample(store: Store) -> Windows:
    """Some of the windows, the same ones in whatever order they were written."""
    # Ids are hashes, so those below a bound are a fair sample.
    share = min(1.0, _SAMPLE / max(1, len(store)))
    bound = f"id < '{round(share * 0xFFFFFFFF):08x}'" if share < 1 else None
    return windows_of(store.rows(FIT_COLUMNS, bound))


def _no_windows(references: Tensor) -> Windows:
    nothing = torch.zeros(0)
    return Windows(references[:0], nothing, nothing)
