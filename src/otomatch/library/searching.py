"""Queries: terms as vectors, candidates by distance, hits merged by file."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from otomatch.library.files import file_id
from otomatch.library.relevance import relevance
from otomatch.library.store import Store, quoted
from otomatch.types import Hit

_COLUMNS = (
    "file_id", "path", "start", "end", "duration", "label", "caption", "tags", "ref_mean",
    "ref_std",
)  # fmt: skip
_PROBES = 40


@dataclass(frozen=True, slots=True)
class Filters:
    """What a sound must fulfil to be found at all.

    Attributes:
        folder: lies in this folder or below it.
        min_duration: seconds, at least.
        max_duration: seconds, at most.
        exclude: id of a file that is left out.
    """

    folder: str | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    exclude: str | None = None

    def sql(self) -> str | None:
        """The condition in SQL, None if there is none."""
        parts = []
        if self.folder is not None:
            folder = self.folder.rstrip("/")
            parts.append(f"starts_with(path, {quoted(folder + '/')})")
        if self.min_duration is not None:
            parts.append(f"duration >= {float(self.min_duration)}")
        if self.max_duration is not None:
            parts.append(f"duration <= {float(self.max_duration)}")
        if self.exclude is not None:
            parts.append(f"file_id != {quoted(self.exclude)}")
        return " AND ".join(parts) or None


def nearest(store: Store, vector: Tensor, k: int, filters: Filters) -> list[Hit]:
    """The k files nearest to a whitened vector (D,), best first, each once."""
    wanted, total = 4 * k, len(store)
    while True:
        hits = _by_file(_windows(store, vector, wanted, filters))
        if len(hits) >= k or wanted >= total:
            return hits[:k]
        wanted *= 4


def _windows(store: Store, vector: Tensor, limit: int, filters: Filters) -> list[dict[str, Any]]:
    query = store.table.search(vector.numpy(), vector_column_name="vector").distance_type("l2")
    # With a vector index: enough of it for the nearest, and all of it where a filter leaves few.
    query = query.maximum_nprobes(0).minimum_nprobes(_PROBES)
    condition = filters.sql()
    if condition is not None:
        query = query.where(condition, prefilter=True)
    rows: list[dict[str, Any]] = query.select([*_COLUMNS, "_distance"]).limit(limit).to_list()
    return rows


def _by_file(rows: list[dict[str, Any]]) -> list[Hit]:
    best: dict[str, Hit] = {}
    for row in rows:
        if row["path"] not in best:
            best[row["path"]] = _hit(row)
    return list(best.values())


def _hit(row: dict[str, Any]) -> Hit:
    distance = max(0.0, row.pop("_distance")) ** 0.5  # LanceDB's l2 is squared
    mean, std = row.pop("ref_mean"), row.pop("ref_std")
    share = relevance(torch.tensor(distance), torch.tensor(mean), torch.tensor(std))
    row.pop("file_id")
    return Hit(id=file_id(row["path"]), distance=distance, relevance=float(share), **row)
