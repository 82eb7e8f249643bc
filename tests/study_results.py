"""Results of studies as tests make them up: what an arm scores is decided by the caller."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from otomatch.studies.results import Arm, Outcome, Results

Clips = Callable[[Arm, int, str], np.ndarray]


def results(
    arms: Sequence[Arm],
    clips: Clips,
    seeds: Iterable[int] = (0, 1, 2),
    tests: Iterable[str] = ("recordings-0", "recordings-1"),
    metric: str = "t2a_r1",
    study: str = "losses",
) -> Results:
    """Every arm with every seed, scored by ``clips(arm, seed, test)`` on every test set."""
    seeds = tuple(seeds)
    outcomes = []
    for arm in arms:
        for seed in seeds:
            for test in tests:
                values = clips(arm, seed, test)
                mean = {metric: float(values.mean())}
                outcomes.append(Outcome(arm, seed, test, mean, {metric: values}, ()))
    return Results(study, "Does it?", tuple(outcomes), (), len(arms) * len(seeds), {}, {})
