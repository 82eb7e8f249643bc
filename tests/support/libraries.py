"""Libraries without sounds: tables of random vectors, for the tests of searching."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from otomatch.library.indexing.identity import file_id
from otomatch.library.records import Hit
from otomatch.library.references import reference_statistics
from otomatch.library.search.filters import SearchFilters
from otomatch.library.search.hits import find_hits
from otomatch.library.search.query import SearchQuery, Term
from otomatch.library.search.relevance import BackgroundCache
from otomatch.library.store import Store

DIM = 8


def draw(count: int, seed: int = 0) -> Tensor:
    """Return random points of the joint space, (count, DIM)."""
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


REFERENCES = draw(40, seed=99)


class Drawn:
    """Store with random vectors for given files, and its background.

    Args:
        folder: Folder of the table.
        files: Path, root and words of each file.
        windows: Number of windows of each file, 1 s each; None for one each.
        seed: Random seed of the vectors.
        order: Order in which the rows are written; None for the order of the files.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[tuple[str, str, str]],
        windows: Sequence[int] | None = None,
        seed: int = 0,
        order: Sequence[int] | None = None,
    ) -> None:
        counts = windows or [1] * len(files)
        self.vectors = draw(sum(counts), seed)
        mean, std = reference_statistics(self.vectors, REFERENCES) if files else ((), ())
        rows, place = [], 0
        for (path, root, words), count in zip(files, counts, strict=True):
            for start in range(count):
                rows.append(
                    {
                        "id": f"{(place * 2654435761) % 2**32:08x}{place}",
                        "file_id": file_id(path),
                        "path": path,
                        "root": root,
                        "stamp": "",
                        "digest": path,
                        "start": float(start),
                        "end": start + 1.0,
                        "duration": float(count),
                        "words": None if start else words,
                        "ref_mean": mean[place].item(),
                        "ref_std": std[place].item(),
                        "vector": self.vectors[place].numpy(),
                    }
                )
                place += 1
        self.rows = rows
        self.store = Store.create(folder, DIM, {"fingerprint": "", "model": ""})
        for start in range(0, len(rows), 500):
            block = range(len(rows)) if order is None else order
            self.store.write([rows[i] for i in block[start : start + 500]])
        self._background = BackgroundCache(self.store, lambda: REFERENCES)

    def search(
        self,
        *texts: Tensor,
        k: int = 1000,
        sounds: Sequence[Tensor] = (),
        without: Sequence[Tensor] = (),
        words: str | None = None,
        unwanted_words: Sequence[str] = (),
        **filters: object,
    ) -> list[Hit]:
        """Return the hits of a query with these vectors as terms."""
        terms = [*map(Term, texts), *(Term(sound, is_sound=True) for sound in sounds)]
        query = SearchQuery(
            terms, [*map(Term, without)], words, unwanted_words, SearchFilters(**filters)
        )
        return find_hits(self.store, query, k, self._background.current())


def numbered_files(count: int) -> list[tuple[str, str, str]]:
    """Return files in three folders below one root, each with its number as its words."""
    folders = ("", "rain/", "rain/heavy/")
    paths = [f"/sounds/{folders[i % 3]}{i}.wav" for i in range(count)]
    return [(path, "/sounds", f"number{i}") for i, path in enumerate(paths)]
