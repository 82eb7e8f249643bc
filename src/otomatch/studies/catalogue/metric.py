"""Study of the ground metric."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import GAPS, QUALITY, RECALLS, WHITENED_GAPS
from otomatch.studies.catalogue.pictures import ComplexityPoints
from otomatch.studies.catalogue.recipes import COSINE, MATCHING


def _arms(inputs: GridInputs) -> list[Arm]:
    ranks = (4, 64) if inputs.quick else (4, 16, 64, 256)
    return [
        _arm("identity", "none needed", COSINE),
        _arm("diagonal", "yes", "ground.name=diagonal"),
        *(
            _arm(f"rank {rank}", "none needed", "ground.name=low-rank", f"ground.rank={rank}")
            for rank in ranks
            if rank <= inputs.config.model.dim
        ),
        _arm("full", "yes", "ground.name=full", "ground.project=true"),
        _arm("full, not projected", "no", "ground.name=full", "ground.project=false"),
    ]


def _arm(label: str, projection: str, *overrides: str) -> Arm:
    factors = {"metric": label.split(",")[0], "projection": projection}
    return Arm(label, factors, (*MATCHING, *overrides))


STUDY = Study(
    "metric",
    "How complex does the ground metric have to be, from the Euclidean distance to a full matrix "
    "M, and does projecting M matter? Which is the simplest metric that still closes the gap?",
    _arms,
    summary="ground metric, from Euclidean to a full matrix",
    view=View(
        (*QUALITY, *GAPS, *WHITENED_GAPS, "zeroshot", "metric_parameters", "epoch_seconds"),
        (*RECALLS, *GAPS, *WHITENED_GAPS, "zeroshot"),
        (Reference("the full metric", {"label": "full"}),),
    ),
    pictures=(ComplexityPoints("complexity", ("t2a_r1", "a2t_r1", *GAPS, "zeroshot")),),
)
