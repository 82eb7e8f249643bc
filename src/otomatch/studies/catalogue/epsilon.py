"""Study of the entropic regularisation."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import QUALITY, RECALLS
from otomatch.studies.catalogue.pictures import FactorLines
from otomatch.studies.catalogue.recipes import MATCHING


def _arms(inputs: GridInputs) -> list[Arm]:
    values = (0.02, 0.05, 0.5) if inputs.quick else (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    return [
        Arm(
            f"epsilon {value}, scale {scale}",
            {"epsilon": value, "scale": scale},
            (*MATCHING, f"loss.epsilon={value}", f"loss.scale={scale}"),
        )
        for scale in ("max", "1.0")
        for value in values
    ]


STUDY = Study(
    "epsilon",
    "Which strength of entropic regularisation trains best, how many iterations does it take, and "
    "does the answer depend on how costs are scaled?",
    _arms,
    summary="strength of the entropic regularisation",
    view=View(
        (*QUALITY, "gap", "zeroshot", "iterations", "converged", "epoch_seconds"),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("epsilon 0.05, scale max", {"epsilon": 0.05, "scale": "max"}),),
    ),
    pictures=(
        FactorLines(
            "epsilon",
            "epsilon",
            "epsilon (cost)",
            ("t2a_r1", "a2t_r1", "gap", "iterations"),
            "scale",
            line_name="scale {}",
        ),
    ),
)
