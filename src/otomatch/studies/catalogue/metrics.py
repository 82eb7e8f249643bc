"""Metrics of a study: their titles, units and number of digits, and common selections."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
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
    "gap_whitened_relative": Metric("gap under M, relative to spread", digits=3),
    "gap_whitened_separability": Metric("gap under M, separability", "%; 50: closed"),
    "zeroshot": Metric("zero-shot accuracy", "%"),
    "plan_zeroshot": Metric("transductive zero-shot accuracy", "%"),
    "metric_parameters": Metric("parameters of M", digits=0),
    "train_seconds": Metric("training time", "s", 0),
    "epoch_seconds": Metric("time per epoch", "s"),
    "peak_mb": Metric("peak memory", "MB", 0),
    "best_epoch": Metric("best epoch"),
    "iterations": Metric("Sinkhorn iterations"),
    "converged": Metric("converged steps", "share", 3),
    "clean_share": Metric("estimated share of matched pairs", digits=3),
}
"""Known metrics by name; `metric_named` also accepts others."""

RECALLS = ("t2a_r1", "t2a_r10", "a2t_r1", "a2t_r10")
QUALITY = (*RECALLS, "t2a_map10", "a2t_map10", "plan_t2a_r1", "plan_a2t_r1")
GAPS = ("gap", "gap_relative", "gap_separability")
WHITENED_GAPS = ("gap_whitened_relative", "gap_whitened_separability")
COST = ("epoch_seconds", "train_seconds", "peak_mb")
MAIN = ("t2a_r1", "a2t_r1", "gap", "zeroshot")


def metric_named(name: str) -> Metric:
    """Return a metric by name; an unknown one is titled by its name, with three digits."""
    return METRICS.get(name, Metric(name, digits=3))
