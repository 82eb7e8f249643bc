"""Made-up results of studies, with everything that real trainings would give."""

import csv
import io
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from otomatch.studies.catalogue import STUDIES as CATALOGUE
from otomatch.studies.catalogue import Arm, Study
from otomatch.studies.results import Failure, Outcome, Results

Clips = Callable[[Arm, int, str], np.ndarray]
RECORDINGS = ("recordings-0", "recordings-1")


def results(
    arms: Sequence[Arm],
    clips: Clips,
    seeds: Iterable[int] = (0, 1, 2),
    tests: Iterable[str] = RECORDINGS,
) -> Results:
    """Return outcomes of every arm and seed, with only R@1, from ``clips(arm, seed, test)``."""
    cells = list(product(arms, seeds))
    outcomes = []
    for (arm, seed), test in product(cells, tests):
        values = clips(arm, seed, test)
        mean = {"t2a_r1": float(values.mean())}
        outcomes.append(Outcome(arm, seed, test, mean, {"t2a_r1": values}, ()))
    return Results(asking("losses"), tuple(outcomes), (), len(cells), {}, {})


def empty() -> Results:
    """Return results of a study without any finished run."""
    return Results(asking("losses"), (), (), 6, {"command": "x"}, {})


def read_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


def arms_of_study(study: str) -> list[Arm]:
    """Return a small grid with the factors of the study."""
    grids: dict[str, list[dict[str, str | float]]] = {
        "losses": [{"loss": name} for name in ("m-LTM", "NT-Xent", "triplet (sum)")],
        "metric": [
            {"metric": "identity", "rank": 0, "projection": "none needed"},
            {"metric": "diagonal", "rank": 1, "projection": "yes"},
            {"metric": "rank 64", "rank": 64, "projection": "none needed"},
            {"metric": "full", "rank": 256, "projection": "yes"},
        ],
        "epsilon": _product(epsilon=(0.01, 0.05, 0.5), scale=("max", "1.0")),
        "noise": [
            factors
            for factors in _product(
                method=("NT-Xent", "m-LTM", "trimmed auto"),
                noise=(0.0, 0.2, 0.4),
                kind=("random", "similar"),
            )
            if factors["noise"] or factors["kind"] == "random"
        ],
        "batch": _product(method=("m-LTM", "NT-Xent"), batch=(32, 128, 512)),
        "scale": _product(pairs=(250, 1000, 4000), budget=("epochs", "steps")),
        "transfer": _product(method=("m-LTM", "NT-Xent"), train=("recordings", "rendered")),
    }
    single = {"losses": "loss", "metric": "metric"}
    return [
        Arm(
            str(factors[single[study]])
            if study in single
            else ", ".join(f"{name} {value}" for name, value in factors.items()),
            factors,
        )
        for factors in grids[study]
    ]


def asking(study: str, question: str = "Does it?") -> Study:
    """Return a study of the catalogue with another question."""
    return replace(CATALOGUE[study], question=question)


STUDIES = ("losses", "metric", "epsilon", "noise", "batch", "scale", "transfer")


def made_up(study: str, arms: Sequence[Arm] | None = None, seeds: int = 3) -> Results:
    """Return results of a study with every metric, as a whole grid would give them."""
    arms = arms_of_study(study) if arms is None else arms
    tests = (*RECORDINGS, "rendered-0") if study == "transfer" else RECORDINGS
    outcomes = [
        _outcome(arm, seed, test, place)
        for place, arm in enumerate(arms)
        for seed in range(seeds)
        for test in tests
    ]
    about = {"command": f"otomatch study {study} --data scenes:x", "machine": "2 cores"}
    found = Results(asking(study), tuple(outcomes), (), len(arms) * seeds, about, {})
    return replace(found, extra=extra_tables()) if study == "batch" else found


def extra_tables() -> dict[str, list[dict[str, Any]]]:
    """Return extra tables as the batch study measures them."""
    return {
        "plan_approximation": [
            {"batch": batch, "scale": scale, "restricted": 4 / batch, "averaged": 40 / batch,
             "converged": True}
            for scale in ("full", "batch") for batch in (16, 64, 256)
        ],
        "loss_cost": [
            {"loss": loss, "batch": batch, "seconds": 1e-5 * batch, "megabytes": batch / 7,
             "missing": None}
            for loss in ("matching", "ntxent") for batch in (16, 64, 256)
        ],
    }  # fmt: skip


def failed(found: Results, arm: Arm, error: str) -> Results:
    """Return the results with one more cell, which failed."""
    failures = (*found.failures, Failure(arm, 0, error))
    return replace(found, failures=failures, planned=found.planned + 1)


def _product(**factors: Iterable[str | float]) -> list[dict[str, str | float]]:
    return [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]


def _outcome(arm: Arm, seed: int, test: str, place: int) -> Outcome:
    rng = np.random.default_rng((zlib.crc32(test.encode()), seed, place))
    clips = 100.0 * (rng.random((6, 40)) < 0.3 + 0.05 * place / (1 + seed))
    names = [f"{d}_r{k}" for d in ("t2a", "a2t") for k in (1, 5, 10)]
    per_clip = dict(zip(names, clips, strict=True)) | {"zeroshot": clips[0][:20]}
    values = {name: float(v.mean()) for name, v in per_clip.items()}
    values |= {f"plan_{name}": value + 2 for name, value in values.items()}
    values |= {f"{d}_map10": float(rng.random()) for d in ("t2a", "a2t")}
    values |= {"gap": 0.2 + 0.05 * place + 0.01 * seed, "gap_relative": 0.3, "loss": 0.5}
    values |= {"gap_separability": 60 + 5.0 * place, "clean_share": math.nan, "steps": 120.0}
    values |= {"train_seconds": 60 + 9.0 * place, "epoch_seconds": 5 + place, "peak_mb": 900.0}
    values |= {"iterations": 40 / (1 + place), "metric_parameters": _parameters(arm)}
    curve = [
        {"epoch": epoch, "seconds": 5.0 + place, "score": 300 * (1 - 0.8**epoch) + 10 * place}
        for epoch in range(1, 9)
    ]
    return Outcome(arm, seed, test, values, per_clip, curve)


def _parameters(arm: Arm) -> float:
    rank = float(arm.factors.get("rank", 256))
    return 32896.0 if rank == 256 else 256 * rank
