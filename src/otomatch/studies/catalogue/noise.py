"""Study of mismatched captions in the training data."""

from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View
from otomatch.studies.catalogue.metrics import GAPS, QUALITY, RECALLS
from otomatch.studies.catalogue.pictures import FactorLines
from otomatch.studies.catalogue.recipes import AUTO, MATCHING, NTXENT, TRIPLET

_CONFIG_KIND = {"random": "clip", "similar": "similar"}


def _arms(inputs: GridInputs) -> list[Arm]:
    arms = []
    for kind in ("random",) if inputs.quick else ("random", "similar"):
        for noise in (0.0, 0.4) if inputs.quick else (0.0, 0.2, 0.4, 0.6):
            if noise or kind == "random":  # without noise, the kind makes no difference
                arms += _arms_at(noise, kind)
    return arms


def _arms_at(noise: float, kind: str) -> list[Arm]:
    """Return the methods at one noise level; "told" ones get the true share of matched pairs."""
    methods = {
        "NT-Xent": NTXENT,
        "triplet (sum)": TRIPLET,
        "m-LTM": MATCHING,
        "partial 0.9": (*MATCHING, "loss.mass=0.9"),
        "partial 0.6": (*MATCHING, "loss.mass=0.6"),
        "trimmed auto": AUTO,
    }
    if noise:
        told = f"loss.mass={1 - noise:g}"
        methods["partial, told"] = (*MATCHING, told)
        methods["trimmed, told"] = (*MATCHING, "loss.target=trimmed", told)
    if kind == "similar":
        methods["trimmed auto, similar null"] = (*AUTO, "mismatch.null=similar")
    auditor = list(methods)[-1] if kind == "similar" else "trimmed auto"
    methods["audit, then m-LTM"] = MATCHING
    corrupt = () if not noise else (f"data.noise={noise}", f"data.noise_kind={_CONFIG_KIND[kind]}")
    suffix = f"; {100 * noise:g} % {kind}" if noise else "; clean"
    return [
        Arm(
            method + suffix,
            {"method": method, "noise": noise, "kind": kind},
            (*overrides, *corrupt),
            after=auditor + suffix if method.startswith("audit") else None,
        )
        for method, overrides in methods.items()
    ]


STUDY = Study(
    "noise",
    "Which method loses least when training captions are mismatched, taken either from random "
    "clips or from clips that sound similar?",
    _arms,
    summary="mismatched captions in the training data",
    view=View(
        (*QUALITY, *GAPS, "zeroshot", "clean_share"),
        (*RECALLS, "gap", "zeroshot"),
        (
            Reference("NT-Xent with the same noise", {"method": "NT-Xent"}, ("noise", "kind")),
            Reference("m-LTM with the same noise", {"method": "m-LTM"}, ("noise", "kind")),
        ),
    ),
    pictures=(
        FactorLines(
            "noise",
            "noise",
            "mismatched captions (%)",
            ("t2a_r1", "a2t_r1", "gap"),
            "method",
            "kind",
            log_x=False,
            scale=100,
        ),
    ),
)
