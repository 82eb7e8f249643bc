"""Study of the losses."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import COST, GAPS, MAIN, QUALITY, RECALLS
from otomatch.studies.catalogue.pictures import Dots
from otomatch.studies.catalogue.recipes import COSINE, MATCHING, NTXENT, TRIPLET


def _arms(_inputs: GridInputs) -> list[Arm]:
    recipes = {
        "m-LTM": MATCHING,
        "NT-Xent": NTXENT,
        "NT-Xent, cosine": (*NTXENT, COSINE),
        "NT-Xent, entropy 0.1": (*NTXENT, "loss.entropy=0.1"),
        "NT-Xent, entropy 0.5": (*NTXENT, "loss.entropy=0.5"),
        "triplet (sum)": TRIPLET,
        "triplet (sum), cosine": (*TRIPLET, COSINE),
        "triplet (hardest)": (*TRIPLET, "loss.negatives=hardest"),
        "weighted triplet": ("loss.name=weighted-triplet",),
    }
    return [Arm(label, {"loss": label}, overrides) for label, overrides in recipes.items()]


STUDY = Study(
    "losses",
    "Does matching by optimal transport outperform the other losses in retrieval, modality gap and "
    "zero-shot classification?",
    _arms,
    summary="m-LTM, triplet, weighted triplet, NT-Xent",
    view=View(
        (*QUALITY, *GAPS, "zeroshot", "plan_zeroshot", *COST),
        (*RECALLS, "plan_t2a_r1", "plan_a2t_r1", *GAPS, "zeroshot"),
        (Reference("m-LTM", {"label": "m-LTM"}),),
    ),
    pictures=(Dots("quality", MAIN), Dots("gaps", GAPS)),
)
