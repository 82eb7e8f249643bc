"""Study of the batch size."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import COST, QUALITY, RECALLS
from otomatch.studies.catalogue.pictures import FactorLines, TableLines, TrainingCurves
from otomatch.studies.catalogue.recipes import MATCHING, NTXENT


def _arms(inputs: GridInputs) -> list[Arm]:
    """Return arms of equally many epochs; the learning rate grows as sqrt(batch), as for Adam."""
    optim = inputs.config.optim
    sizes = (8, 32) if inputs.quick else (16, 32, 64, 128, 256, 512, 1024)
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
        for method, overrides in (("m-LTM", MATCHING), ("NT-Xent", NTXENT))
        for size in sizes
        if size <= inputs.clips
    ]


STUDY = Study(
    "batch",
    "How does the batch size affect quality, training time, and how well a batch's plan "
    "approximates the plan of the whole set?",
    _arms,
    summary="batch size",
    view=View(
        (*QUALITY, "gap", "zeroshot", "best_epoch", "iterations", *COST),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("batches of 128 with the same method", {"batch": 128}, ("method",)),),
    ),
    pictures=(
        TrainingCurves("convergence"),
        FactorLines(
            "batch",
            "batch",
            "batch (pairs)",
            ("t2a_r1", "a2t_r1", "epoch_seconds", "peak_mb"),
            "method",
        ),
        TableLines(
            "plan_approximation",
            {
                "restricted": "KL, whole plan on a batch\nto the batch's plan (nats)",
                "averaged": "KL, averaged batch plans\nto the whole plan (nats)",
            },
            "scale",
            "Divergence between the plans of batches and the plan of all pairs, by the scale of "
            "the costs; both axes logarithmic. A batch of all pairs has divergence 0, which a "
            "logarithmic axis cannot show. No bars: each point is a mean over random partitions.",
            "scale {}",
        ),
        TableLines(
            "loss_cost",
            {"seconds": "time of a step (s)", "megabytes": "memory above inputs (MB)"},
            "loss",
            "Time and memory of each loss and its gradient alone against the batch, both axes "
            "logarithmic. No bars: medians of repeated calls, and one memory peak each.",
        ),
    ),
    extra=("loss_cost", "plan_approximation"),
)
