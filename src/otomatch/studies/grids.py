"""The studies: what each asks, and the grid of settings that answers it.

Every arm states what its label says and nothing else; the rest is `BASE`, or the configuration that
the user gives. Arms that say the same in two studies are the same run.
"""

from collections.abc import Callable
from dataclasses import dataclass

from otomatch.studies.results import Arm
from otomatch.training.config import Config

BASE = ("audio.settings={channels = [16, 32, 64, 64]}",)
"""Half as wide as the default audio encoder: a grid is to run on two cores."""
QUICK = ("optim.epochs=2", "optim.batch=32")
"""What --quick changes: enough to see what comes out, too little to say anything."""
SCENES, QUICK_SCENES = 2000, 200

_MATCHING = (
    "loss.name=matching",
    "loss.target=full",
    "loss.mass=none",
    "schedule.mass_epochs=none",
    "mismatch.unit=clip",
    "mismatch.null=random",
)
_NTXENT = ("loss.name=ntxent", "loss.entropy=0.0")
_TRIPLET = ("loss.name=triplet", "loss.negatives=sum")
_COSINE = "ground.name=identity"
_AUTO = (*_MATCHING, "loss.target=trimmed", "loss.mass=auto")


@dataclass(frozen=True)
class Given:
    """What a grid is made for.

    Attributes:
        quick: only a glimpse of it is wanted.
        config: of every run, before an arm changes it.
        clips: training clips that there are.
        domains: names of the data sets to train on.
    """

    quick: bool
    config: Config
    clips: int
    domains: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A question, and the grid that answers it.

    Attributes:
        name: as the command line knows it.
        question: what it asks.
        arms: the grid.
        scenes: training scenes to compose, where it runs on scenes.
        domains: how many data sets it trains on.
        extra: whether it measures more than its grid, see `otomatch.studies.extra`.
    """

    name: str
    question: str
    arms: Callable[[Given], list[Arm]]
    scenes: int = SCENES
    domains: int = 1
    extra: bool = False


def _losses(given: Given) -> list[Arm]:  # noqa: ARG001 - few enough
    kinds = {
        "m-LTM": _MATCHING,
        "NT-Xent": _NTXENT,
        "NT-Xent, cosine": (*_NTXENT, _COSINE),
        "NT-Xent, entropy 0.1": (*_NTXENT, "loss.entropy=0.1"),
        "NT-Xent, entropy 0.5": (*_NTXENT, "loss.entropy=0.5"),
        "triplet (sum)": _TRIPLET,
        "triplet (sum), cosine": (*_TRIPLET, _COSINE),
        "triplet (hardest)": (*_TRIPLET, "loss.negatives=hardest"),
        "weighted triplet": ("loss.name=weighted-triplet",),
    }
    return [Arm(label, {"loss": label}, overrides) for label, overrides in kinds.items()]


def _metric(given: Given) -> list[Arm]:
    def arm(label: str, projection: str, *overrides: str) -> Arm:
        factors = {"metric": label.split(",")[0], "projection": projection}
        return Arm(label, factors, (*_MATCHING, *overrides))

    ranks = (4, 64) if given.quick else (4, 16, 64, 256)
    return [
        arm("identity", "none needed", _COSINE),
        arm("diagonal", "yes", "ground.name=diagonal"),
        *(
            arm(f"rank {rank}", "none needed", "ground.name=low-rank", f"ground.rank={rank}")
            for rank in ranks
            if rank <= given.config.model.dim
        ),
        arm("full", "yes", "ground.name=full", "ground.project=true"),
        arm("full, not projected", "no", "ground.name=full", "ground.project=false"),
    ]


def _epsilon(given: Given) -> list[Arm]:
    values = (0.02, 0.05, 0.5) if given.quick else (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    return [
        Arm(
            f"epsilon {value}, scale {scale}",
            {"epsilon": value, "scale": scale},
            (*_MATCHING, f"loss.epsilon={value}", f"loss.scale={scale}"),
        )
        for scale in ("max", "1.0")
        for value in values
    ]


def _noise(given: Given) -> list[Arm]:
    arms = []
    for kind in ("random",) if given.quick else ("random", "similar"):
        for noise in (0.0, 0.4) if given.quick else (0.0, 0.2, 0.4, 0.6):
            if noise or kind == "random":
                arms += _noise_arms(noise, kind)
    return arms


def _noise_arms(noise: float, kind: str) -> list[Arm]:
    """The methods at one level of noise; "told" ones are given the share of right pairs."""
    methods = {
        "NT-Xent": _NTXENT,
        "triplet (sum)": _TRIPLET,
        "m-LTM": _MATCHING,
        "partial 0.9": (*_MATCHING, "loss.mass=0.9"),
        "partial 0.6": (*_MATCHING, "loss.mass=0.6"),
        "trimmed auto": _AUTO,
    }
    if noise:
        told = f"loss.mass={1 - noise:g}"
        methods["partial, told"] = (*_MATCHING, told)
        methods["trimmed, told"] = (*_MATCHING, "loss.target=trimmed", told)
    if kind == "similar":
        methods["trimmed auto, similar null"] = (*_AUTO, "mismatch.null=similar")
    auditor = list(methods)[-1] if kind == "similar" else "trimmed auto"
    methods["audit, then m-LTM"] = _MATCHING
    wrong = () if not noise else (f"data.noise={noise}", f"data.noise_kind={_KINDS[kind]}")
    where = f"; {100 * noise:g} % {kind}" if noise else "; clean"
    return [
        Arm(
            method + where,
            {"method": method, "noise": noise, "kind": kind},
            (*overrides, *wrong),
            after=auditor + where if method.startswith("audit") else None,
        )
        for method, overrides in methods.items()
    ]


_KINDS = {"random": "clip", "similar": "similar"}


def _batch(given: Given) -> list[Arm]:
    """As many passes for all; the rate grows with the root of the batch, as suits Adam."""
    optim = given.config.optim
    sizes = (8, 32) if given.quick else (16, 32, 64, 128, 256, 512, 1024)
    return [
        Arm(
            f"{method}, batch {size}",
            {"method": method, "batch": size},
            (
                *overrides,
                f"optim.batch={size}",
                "optim.drop_last=false",
                f"optim.lr={optim.lr * (size / optim.batch) ** 0.5:.3g}",
            ),
        )
        for method, overrides in (("m-LTM", _MATCHING), ("NT-Xent", _NTXENT))
        for size in sizes
        if size <= given.clips
    ]


def _scale(given: Given) -> list[Arm]:
    """More pairs in as many passes, and in as many steps as `SCENES` pairs take."""
    epochs = given.config.optim.epochs
    sizes = (50, 150) if given.quick else (250, 500, 1000, 2000, 4000, 6000)
    arms = []
    for size in (size for size in sizes if size <= given.clips):
        lengths = {"epochs": epochs, "steps": max(1, round(epochs * SCENES / size))}
        for budget, length in lengths.items():
            if budget == "steps" and given.quick:
                continue  # long where there is little
            limits = (f"data.clips={size}", "optim.drop_last=false", f"optim.epochs={length}")
            factors: dict[str, str | float] = {"pairs": size, "budget": budget}
            arms.append(Arm(f"{size} pairs, same {budget}", factors, (*_MATCHING, *limits)))
    return arms


def _transfer(given: Given) -> list[Arm]:
    return [
        Arm(
            f"{method}, trained on {domain}",
            {"method": method, "train": domain},
            overrides,
            data=domain,
        )
        for domain in given.domains
        for method, overrides in (("m-LTM", _MATCHING), ("NT-Xent", _NTXENT))
    ]


STUDIES = {
    study.name: study
    for study in (
        Study(
            "losses",
            "Is matching by optimal transport better than the losses it is compared with, in "
            "retrieval, modality gap and zero-shot classification?",
            _losses,
        ),
        Study(
            "metric",
            "How complex must the ground metric be, from the Euclidean distance to a full matrix "
            "M, and does projecting M matter? Which is the simplest that still closes the gap?",
            _metric,
        ),
        Study(
            "epsilon",
            "Which strength of the entropy trains best, what does it cost in iterations, and does "
            "the answer depend on how costs are scaled?",
            _epsilon,
        ),
        Study(
            "noise",
            "Which method loses least where training captions are wrong: those of other clips at "
            "random, or of clips that sound alike?",
            _noise,
        ),
        Study(
            "batch",
            "How large must a batch be, for quality, for time, and for its plan to approximate "
            "that of the whole set?",
            _batch,
            extra=True,
        ),
        Study(
            "scale",
            "How do quality and time grow with the number of training pairs?",
            _scale,
            scenes=6400,
        ),
        Study(
            "transfer",
            "Does a model trained on rendered sounds know recordings, and the other way round, "
            "without any training on them?",
            _transfer,
            domains=2,
        ),
    )
}
