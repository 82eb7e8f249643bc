"""Study of the number of training pairs."""

from otomatch.studies.catalogue.definition import SCENES, Arm, GridInputs, PowerFit, Study, View
from otomatch.studies.catalogue.metrics import COST, QUALITY, RECALLS
from otomatch.studies.catalogue.pictures import PowerLawCurves
from otomatch.studies.catalogue.recipes import MATCHING


def _arms(inputs: GridInputs) -> list[Arm]:
    """Return each size with as many epochs, and with as many steps as `SCENES` pairs take."""
    epochs = inputs.config.optim.epochs
    sizes = (50, 150) if inputs.quick else (250, 500, 1000, 2000, 4000, 6000)
    arms = []
    for size in (size for size in sizes if size <= inputs.clips):
        lengths = {"epochs": epochs, "steps": max(1, round(epochs * SCENES / size))}
        for budget, length in lengths.items():
            if budget == "steps" and inputs.quick:
                continue  # slow for small sizes
            limits = (f"data.clips={size}", "optim.drop_last=false", f"optim.epochs={length}")
            factors: dict[str, str | float] = {"pairs": size, "budget": budget}
            arms.append(Arm(f"{size} pairs, same {budget}", factors, (*MATCHING, *limits)))
    return arms


STUDY = Study(
    "scale",
    "How do quality and training time grow with the number of training pairs?",
    _arms,
    summary="number of training pairs",
    view=View(
        (*QUALITY, "gap", "zeroshot", *COST),
        power=PowerFit("pairs", "budget", (*RECALLS, "zeroshot", "train_seconds", "peak_mb")),
    ),
    pictures=(
        PowerLawCurves(
            "scale",
            "training pairs (number)",
            ("t2a_r1", "a2t_r1", "zeroshot", "train_seconds"),
        ),
    ),
    scenes=6400,
)
