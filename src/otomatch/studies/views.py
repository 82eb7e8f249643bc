"""What each study shows: which metrics, against which reference, by which factor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otomatch.studies.results import Arm


@dataclass(frozen=True)
class Metric:
    """How a metric is written.

    Attributes:
        title: as tables and axes name it.
        unit: "" where it has none.
        digits: after the point.
    """

    title: str
    unit: str = ""
    digits: int = 1

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Reference:
    """What arms are compared with.

    Attributes:
        title: ends the sentence "difference from ...".
        factors: that the reference has; the factor "label" is the arm's label.
        same: factors that an arm and its reference share.
    """

    title: str
    factors: Mapping[str, str | float]
    same: tuple[str, ...] = ()

    def of(self, arm: Arm, arms: list[Arm]) -> Arm | None:
        """The reference of an arm: None where there is none, or it is the arm itself."""
        wanted = {**self.factors, **{name: factor(arm, name) for name in self.same}}
        for other in arms:
            if all(factor(other, name) == value for name, value in wanted.items()):
                return None if other.label == arm.label else other
        return None


@dataclass(frozen=True)
class Power:
    """Power laws of metrics in a factor, one for each value of another factor."""

    factor: str
    by: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """The tables of a study.

    Attributes:
        metrics: of the table of means; columns without any value are left out.
        compared: of the tables of differences.
        references: a table of differences for each.
        power: exponents to fit.
        matrix: metrics shown as a matrix of arms against domains that were tested on.
    """

    metrics: tuple[str, ...]
    compared: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    power: Power | None = None
    matrix: tuple[str, ...] = field(default=())


METRICS = {
    "t2a_r1": Metric("text to audio R@1", "%"),
    "t2a_r5": Metric("text to audio R@5", "%"),
    "t2a_r10": Metric("text to audio R@10", "%"),
    "a2t_r1": Metric("audio to text R@1", "%"),
    "a2t_r5": Metric("audio to text R@5", "%"),
    "a2t_r10": Metric("audio to text R@10", "%"),
    "t2a_map10": Metric("text to audio mAP@10", digits=3),
    "a2t_map10": Metric("audio to text mAP@10", digits=3),
    "t2a_median": Metric("text to audio median rank"),
    "a2t_median": Metric("audio to text median rank"),
    "plan_t2a_r1": Metric("transductive text to audio R@1", "%"),
    "plan_a2t_r1": Metric("transductive audio to text R@1", "%"),
    "gap": Metric("modality gap, distance of means", digits=3),
    "gap_relative": Metric("modality gap, relative to spread", digits=3),
    "gap_separability": Metric("modality gap, separability", "%; 50: closed"),
    "gap_whitened_relative": Metric("gap as M sees it, relative to spread", digits=3),
    "gap_whitened_separability": Metric("gap as M sees it, separability", "%; 50: closed"),
    "zeroshot": Metric("zero-shot accuracy", "%"),
    "plan_zeroshot": Metric("transductive zero-shot accuracy", "%"),
    "metric_parameters": Metric("parameters of M", digits=0),
    "train_seconds": Metric("training time", "s", 0),
    "epoch_seconds": Metric("time of an epoch", "s"),
    "peak_mb": Metric("peak memory", "MB", 0),
    "best_epoch": Metric("best epoch"),
    "iterations": Metric("Sinkhorn iterations"),
    "converged": Metric("steps converged", "share", 3),
    "clean_share": Metric("estimated share of right pairs", digits=3),
}
"""Known metrics; others are written under their own name, see `metric_of`."""

RECALLS = ("t2a_r1", "t2a_r10", "a2t_r1", "a2t_r10")
QUALITY = (*RECALLS, "t2a_map10", "a2t_map10", "plan_t2a_r1", "plan_a2t_r1")
GAPS = ("gap", "gap_relative", "gap_separability")
SEEN = ("gap_whitened_relative", "gap_whitened_separability")
COST = ("epoch_seconds", "train_seconds", "peak_mb")
_FIRST = ("t2a_r1", "a2t_r1", "zeroshot")

VIEWS = {
    "losses": View(
        (*QUALITY, *GAPS, "zeroshot", "plan_zeroshot", *COST),
        (*RECALLS, "plan_t2a_r1", "plan_a2t_r1", *GAPS, "zeroshot"),
        (Reference("m-LTM", {"label": "m-LTM"}),),
    ),
    "metric": View(
        (*QUALITY, *GAPS, *SEEN, "zeroshot", "metric_parameters", "epoch_seconds"),
        (*RECALLS, *GAPS, *SEEN, "zeroshot"),
        (Reference("the full metric", {"label": "full"}),),
    ),
    "epsilon": View(
        (*QUALITY, "gap", "zeroshot", "iterations", "converged", "epoch_seconds"),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("epsilon 0.05, scale max", {"epsilon": 0.05, "scale": "max"}),),
    ),
    "noise": View(
        (*QUALITY, *GAPS, "zeroshot", "clean_share"),
        (*RECALLS, "gap", "zeroshot"),
        (
            Reference("NT-Xent with the same noise", {"method": "NT-Xent"}, ("noise", "kind")),
            Reference("m-LTM with the same noise", {"method": "m-LTM"}, ("noise", "kind")),
        ),
    ),
    "batch": View(
        (*QUALITY, "gap", "zeroshot", "best_epoch", "iterations", *COST),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("batches of 128 with the same method", {"batch": 128}, ("method",)),),
    ),
    "scale": View(
        (*QUALITY, "gap", "zeroshot", *COST),
        (),
        power=Power("pairs", "budget", (*RECALLS, "zeroshot", "train_seconds", "peak_mb")),
    ),
    "transfer": View(
        (*QUALITY, *GAPS, "zeroshot"),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("NT-Xent on the same data", {"method": "NT-Xent"}, ("train",)),),
        matrix=_FIRST,
    ),
}


def view_of(study: str) -> View:
    """The tables of a study; of one that is not declared, the means."""
    return VIEWS.get(study, View((*QUALITY, *GAPS, "zeroshot", *COST), ()))


def metric_of(name: str) -> Metric:
    """How a metric is written."""
    return METRICS.get(name, Metric(name, digits=3))


def factor(arm: Arm, name: str) -> str | float | None:
    """A factor of an arm; None where it has no such factor."""
    return arm.label if name == "label" else arm.factors.get(name)


def domain(test: str) -> str:
    """What a test set was drawn from: "recordings" of "recordings-0"."""
    name, _, draw = test.rpartition("-")
    return name if name and draw.isdigit() else test
