"""Metrics of a study: their titles, units and number of digits, and common selections."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """Presentation of a metric.

    Attributes:
        title: Name in tables and on axes.
        unit: Unit, or "" for none.
        digits: Number of digits after the decimal point.
    """

    title: str
    unit: str = ""
    digits: int = 1

    @property
    def label(self) -> str:
        """Title with the unit in parentheses."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


METRICS = {
    "t2a_r1": Measure("text to audio R@1", "%"),
    "t2a_r5": Measure("text to audio R@5", "%"),
    "t2a_r10": Measure("text to audio R@10", "%"),
    "a2t_r1": Measure("audio to text R@1", "%"),
    "a2t_r5": Measure("audio to text R@5", "%"),
    "a2t_r10": Measure("audio to text R@10", "%"),
    "t2a_map10": Measure("text to audio mAP@10", digits=3),
    "a2t_map10": Measure("audio to text mAP@10", digits=3),
    "t2a_median": Measure("text to audio median rank"),
    "a2t_median": Measure("audio to text median rank"),
    "plan_t2a_r1": Measure("transductive text to audio R@1", "%"),
    "plan_a2t_r1": Measure("transductive audio to text R@1", "%"),
    "gap": Measure("modality gap, distance of means", digits=3),
    "gap_relative": Measure("modality gap, relative to spread", digits=3),
    "gap_separability": Measure("modality gap, separability", "%; 50: closed"),
    "gap_whitened_relative": Measure("gap under M, relative to spread", digits=3),
    "gap_whitened_separability": Measure("gap under M, separability", "%; 50: closed"),
    "zeroshot": Measure("zero-shot accuracy", "%"),
    "plan_zeroshot": Measure("transductive zero-shot accuracy", "%"),
    "metric_parameters": Measure("parameters of M", digits=0),
    "train_seconds": Measure("training time", "s", 0),
    "epoch_seconds": Measure("time per epoch", "s"),
    "peak_mb": Measure("peak memory", "MB", 0),
    "best_epoch": Measure("best epoch"),
    "iterations": Measure("Sinkhorn iterations"),
    "converged": Measure("converged steps", "share", 3),
    "clean_share": Measure("estimated share of matched pairs", digits=3),
}
"""Known metrics by name; `metric_named` also accepts others."""

RECALLS = ("t2a_r1", "t2a_r10", "a2t_r1", "a2t_r10")
QUALITY = (*RECALLS, "t2a_map10", "a2t_map10", "plan_t2a_r1", "plan_a2t_r1")
GAPS = ("gap", "gap_relative", "gap_separability")
WHITENED_GAPS = ("gap_whitened_relative", "gap_whitened_separability")
COST = ("epoch_seconds", "train_seconds", "peak_mb")
MAIN = ("t2a_r1", "a2t_r1", "gap", "zeroshot")


def metric_named(name: str) -> Measure:
    """Return a metric by name; an unknown one is titled by its name, with three digits."""
    return METRICS.get(name, Measure(name, digits=3))
