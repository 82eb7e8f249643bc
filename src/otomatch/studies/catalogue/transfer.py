"""Study of transfer between data sets."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import GAPS, QUALITY, RECALLS
from otomatch.studies.catalogue.recipes import MATCHING, NTXENT


def _arms(inputs: GridInputs) -> list[Arm]:
    return [
        Arm(
            f"{method}, trained on {domain}",
            {"method": method, "train": domain},
            overrides,
            data=domain,
        )
        for domain in inputs.domains
        for method, overrides in (("m-LTM", MATCHING), ("NT-Xent", NTXENT))
    ]


STUDY = Study(
    "transfer",
    "Does a model trained on rendered sounds recognise recordings, and vice versa, without being "
    "trained on any?",
    _arms,
    summary="training on one kind of sounds, testing on another",
    view=View(
        (*QUALITY, *GAPS, "zeroshot"),
        (*RECALLS, "gap", "zeroshot"),
        (Reference("NT-Xent on the same data", {"method": "NT-Xent"}, ("train",)),),
        matrix=("t2a_r1", "a2t_r1", "zeroshot"),
    ),
    domains=2,
)
