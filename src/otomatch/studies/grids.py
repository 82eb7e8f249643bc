"""The studies: what each asks, and the grid of settings that answers it.

Every arm changes what it names and nothing else; the rest is `BASE`, or the configuration that the
user gives. Arms that say the same in two studies are the same run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from otomatch.studies.results import Arm

BASE = ("audio.settings={channels = [16, 32, 64, 64]}",)
"""Half as wide as the default audio encoder: a grid is to run on two cores."""
QUICK = ("optim.epochs=2", "optim.batch=32")
"""What --quick changes: enough to see what comes out, too little to say anything."""
SCENES, QUICK_SCENES = 2000, 200

_MATCHING = ("loss.name=matching",)
_NTXENT = ("loss.name=ntxent",)
_TRIPLET = ("loss.name=triplet",)
_AUTO = (*_MATCHING, "loss.target=trimmed", "loss.mass=auto")


@dataclass(frozen=True)
class Study:
    """A question, and the grid that answers it.

    Attributes:
        name: as the command line knows it.
        question: what it asks.
        arms: the grid; called with whether only a glimpse of it is wanted.
        scenes: training scenes to compose, where it runs on scenes.
        domains: how many kinds of data it trains on.
        extra: whether it measures more than its grid, see `otomatch.studies.extra`.
    """

    name: str
    question: str
    arms: Callable[[bool], list[Arm]]
    scenes: int = SCENES
    domains: int = 1
    extra: bool = False

    def grid(self, quick: bool, domains: Sequence[str]) -> list[Arm]:
        """The arms, with the names of the domains where they stand for one."""
        if self.domains == 1:
            return self.arms(quick)
        return [_named(arm, domains) for arm in self.arms(quick)]


def _named(arm: Arm, domains: Sequence[str]) -> Arm:
    factors = {
        name: value.format(*domains) if isinstance(value, str) else value
        for name, value in arm.factors.items()
    }
    label, data = arm.label.format(*domains), arm.data.format(*domains)
    return replace(arm, label=label, factors=factors, data=data)


def _losses(quick: bool) -> list[Arm]:  # noqa: ARG001 - few enough
    kinds = {
        "m-LTM": _MATCHING,
        "NT-Xent": _NTXENT,
        "NT-Xent, cosine": (*_NTXENT, "ground.name=identity"),
        "NT-Xent, entropy 0.1": (*_NTXENT, "loss.entropy=0.1"),
        "NT-Xent, entropy 0.5": (*_NTXENT, "loss.entropy=0.5"),
        "triplet (sum)": _TRIPLET,
        "triplet (hardest)": (*_TRIPLET, "loss.negatives=hardest"),
        "weighted triplet": ("loss.name=weighted-triplet",),
    }
    return [Arm(label, {"loss": label}, overrides) for label, overrides in kinds.items()]


def _metric(quick: bool) -> list[Arm]:
    def arm(label: str, rank: float, projection: str, *overrides: str) -> Arm:
        name = label.split(",")[0]
        factors: dict[str, str | float] = {"metric": name, "rank": rank, "projection": projection}
        return Arm(label, factors, (*_MATCHING, *overrides))

    low = [
        arm(f"rank {rank}", rank, "none needed", "ground.name=low-rank", f"ground.rank={rank}")
        for rank in ((4, 64) if quick else (4, 16, 64, 256))
    ]
    return [
        arm("identity", 0, "none needed", "ground.name=identity"),
        arm("diagonal", 1, "yes", "ground.name=diagonal"),
        *low,
        arm("full", 256, "yes"),
        arm("full, not projected", 256, "no", "ground.project=false"),
    ]


def _epsilon(quick: bool) -> list[Arm]:
    values = (0.02, 0.05, 0.5) if quick else (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    return [
        Arm(
            f"epsilon {value}, scale {scale}",
            {"epsilon": value, "scale": scale},
            (*_MATCHING, f"loss.epsilon={value}", f"loss.scale={scale}"),
        )
        for scale in ("max", "1.0")
        for value in values
    ]


def _noise(quick: bool) -> list[Arm]:
    arms = []
    for kind in ("random",) if quick else ("random", "similar"):
        for noise in (0.0, 0.4) if quick else (0.0, 0.2, 0.4, 0.6):
            if noise or kind == "random":
                arms += _noise_arms(noise, kind)
    return arms


def _noise_arms(noise: float, kind: str) -> list[Arm]:
    """The methods at one level of noise."""
    similar = ("loss.null=similar",) if kind == "similar" else ()
    methods = {
        "NT-Xent": _NTXENT,
        "triplet (sum)": _TRIPLET,
        "m-LTM": _MATCHING,
        "partial 0.9": (*_MATCHING, "loss.mass=0.9"),
        "partial 0.6": (*_MATCHING, "loss.mass=0.6"),
        "trimmed auto": (*_AUTO, *similar),
        "audit, then m-LTM": _MATCHING,
    }
    if noise:
        told = (*_MATCHING, "loss.target=trimmed", f"loss.mass={1 - noise:g}")
        methods["trimmed, told"] = told
    wrong = () if not noise else (f"data.noise={noise}", f"data.noise_kind={_KINDS[kind]}")
    where = f", {100 * noise:g} % {kind}" if noise else ", clean"
    return [
        Arm(
            method + where,
            {"method": method, "noise": noise, "kind": kind},
            (*overrides, *wrong),
            after="trimmed auto" + where if method.startswith("audit") else None,
        )
        for method, overrides in methods.items()
    ]


_KINDS = {"random": "clip", "similar": "similar"}


def _batch(quick: bool) -> list[Arm]:
    """As many passes for all; the rate grows with the root of the batch, as suits Adam."""
    sizes = (16, 64) if quick else (16, 32, 64, 128, 256, 512, 1024)
    return [
        Arm(
            f"{method}, batch {size}",
            {"method": method, "batch": size},
            (*overrides, f"optim.batch={size}", "optim.drop_last=false", _rate(size)),
        )
        for method, overrides in (("m-LTM", _MATCHING), ("NT-Xent", _NTXENT))
        for size in sizes
    ]


def _rate(batch: int) -> str:
    return f"optim.lr={1e-3 * (batch / 128) ** 0.5:.3g}"


def _scale(quick: bool) -> list[Arm]:
    """More pairs in as many passes, and in as many steps (of 128 pairs)."""
    sizes = (50, 150) if quick else (250, 500, 1000, 2000, 4000, 6000)
    full = 2000
    arms = []
    for size in sizes:
        for budget, epochs in (("epochs", 12), ("steps", max(1, round(12 * full / size)))):
            limits = (f"data.clips={size}", "optim.drop_last=false")
            length = ("optim.epochs=2",) if quick else (f"optim.epochs={epochs}",)
            factors: dict[str, str | float] = {"pairs": size, "budget": budget}
            arms.append(
                Arm(f"{size} pairs, same {budget}", factors, (*_MATCHING, *limits, *length))
            )
    return arms


def _transfer(quick: bool) -> list[Arm]:  # noqa: ARG001 - few enough
    """Each of two domains, {0} and {1}, which `Study.grid` names."""
    return [
        Arm(
            f"{method}, trained on {domain}",
            {"method": method, "train": domain},
            overrides,
            data=domain,
        )
        for domain in ("{0}", "{1}")
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
