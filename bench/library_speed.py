"""Time of a query on a library of random vectors, without the text encoder; recall of the index.

    python bench/library_speed.py [--files 20000] [--windows 10] [--dim 256] [--repeat 20]

Vectors form clusters of about 100 windows, like those of sounds. "LanceDB" is the time of the bare
query for ten windows; the rest is scoring a thousand, merging, and words.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch

from otomatch.library.references import reference_statistics
from otomatch.library.search.filters import SearchFilters
from otomatch.library.search.hits import find_hits
from otomatch.library.search.query import SearchQuery, Term
from otomatch.library.search.relevance import BackgroundCache
from otomatch.library.store import Store
from otomatch.library.table_indexes import optimize, refresh_word_index

WORDS = [
    "dog",
    "rain",
    "door",
    "car",
    "wind",
    "bird",
    "music",
    "crowd",
    "water",
    "engine",
    "bell",
    "glass",
    "fire",
    "step",
    "train",
]


def fill(store: Store, files: int, windows: int, dim: int, references: torch.Tensor) -> None:
    """Write the rows of all files."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((files * windows // 100, dim), np.float32)
    for start in range(0, files, 2000):
        owner = np.repeat(np.arange(start, min(start + 2000, files)), windows)
        place = np.tile(np.arange(windows, dtype=float), len(owner) // windows)
        noise = 0.7 * rng.standard_normal((len(owner), dim), np.float32)
        vectors = centres[rng.integers(len(centres), size=len(owner))] + noise
        mean, std = reference_statistics(torch.from_numpy(vectors), references)
        text = [f"{WORDS[f % 15]} {WORDS[f // 15 % 15]} take {f}" for f in owner]
        paths = [f"/sounds/{WORDS[f % 15]}/{f}.wav" for f in owner]
        columns = {
            "id": [_id(f * windows + int(p)) for f, p in zip(owner, place, strict=True)],
            "file_id": [f"{f:016x}" for f in owner],
            "path": paths, "root": ["/sounds"] * len(owner),
            "stamp": paths, "digest": paths, "start": place, "end": place + 1,
            "duration": np.full(len(owner), float(windows)),
            "words": [t if p == 0 else None for t, p in zip(text, place, strict=True)],
            "ref_mean": mean.numpy(), "ref_std": std.numpy(),
            "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), dim),
        }  # fmt: skip
        nothing = pa.nulls(len(owner), pa.string())
        columns |= dict.fromkeys(("label", "caption", "tags"), nothing)
        schema = store.table.schema
        store.table.add(pa.table([columns[n] for n in schema.names], schema=schema))


def _id(window: int) -> str:
    """Return an id that is distributed like a hash."""
    return f"{window * 2654435761 % 2**32:08x}-{window}"


def milliseconds(work: Callable[[int], object], repeat: int) -> str:
    work(0)
    times = []
    for turn in range(1, repeat + 1):
        started = time.perf_counter()
        work(turn)
        times.append(1000 * (time.perf_counter() - started))
    return f"{median(times):8.0f} ms  (slowest {max(times):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("files", 20_000), ("windows", 10), ("dim", 256), ("repeat", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(1)
    references = torch.randn(317, options.dim, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "x", options.dim, {"fingerprint": "", "model": ""})
        fill(store, options.files, options.windows, options.dim, references)
        background = BackgroundCache(store, lambda: references)
        # Queries are near some windows.
        some = store.rows(["vector"], "start = 0 AND file_id < '0000000000000100'")
        vectors = torch.tensor(some["vector"].to_pylist())
        queries = vectors + 0.5 * torch.randn(vectors.shape, generator=generator)
        unwanted = [Term(queries[-1])]

        def ask(turn: int, k: int = 10, **others: object) -> list[str]:
            query = SearchQuery([Term(queries[turn % len(queries)])], **others)
            return [hit.id for hit in find_hits(store, query, k, background.current())]

        def bare(turn: int) -> object:
            found = store.table.search(queries[turn % len(queries)].numpy())
            return found.select(["path", "_distance"]).limit(10).to_arrow()

        ways: dict[str, Callable[[int], object]] = {
            "LanceDB": bare,
            "by sound": ask,
            "without a term": lambda turn: ask(turn, without=unwanted),
            "in a folder": lambda turn: ask(turn, filters=SearchFilters(folder="dog")),
            "with words": lambda turn: ask(turn, words="a dog in the rain"),
        }
        exact = None
        for title in ("exact", "with a vector index"):
            print(f"{title}: {len(store)} windows of {options.files} files, {options.dim} wide")
            for name, work in ways.items():
                print(f"  {name:16}{milliseconds(work, options.repeat)}", flush=True)
            found = [ask(turn) for turn in range(100)]
            if exact is None:
                exact = found
                started = time.perf_counter()
                optimize(store)
                refresh_word_index(store)
                print(f"indexes made in {time.perf_counter() - started:.1f} s")
            else:
                same = [len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]
                print(f"first ten hits the same as without it: {100 * np.mean(same):.1f} %")


if __name__ == "__main__":
    main()
