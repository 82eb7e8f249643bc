"""Pictures of a study as files, PNG and SVG."""

from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

from otomatch.evaluation.plots.style import save
from otomatch.studies.catalogue.pictures import (
    ComplexityPoints,
    Dots,
    FactorLines,
    PictureSpec,
    PowerLawCurves,
    TableLines,
    TrainingCurves,
)
from otomatch.studies.plots.comparisons import (
    draw_complexity,
    draw_dot_plots,
    draw_factor_lines,
    draw_table_lines,
)
from otomatch.studies.plots.curves import draw_power_laws, draw_training_curves
from otomatch.studies.plots.layout import Drawn, StudyPicture
from otomatch.studies.results import Results

FORMATS = ("png", "svg")


def draw_pictures(results: Results, folder: Path) -> list[StudyPicture]:
    """Draw the pictures that the study declares and its results allow, in every format.

    Args:
        results: Results of a study, complete or not.
        folder: Folder to write the files to.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    found = []
    for spec in results.study.pictures:
        for figure, picture in draw_picture(spec, results):
            for ending in FORMATS:
                save(figure, folder / f"{picture.name}.{ending}")
            found.append(picture)
    return found


def draw_picture(spec: PictureSpec, results: Results) -> Iterable[Drawn]:
    """Draw one declared picture, which may be several figures, or none without values."""
    match spec:
        case TableLines():
            rows = results.extra.get(spec.table)
            return [draw_table_lines(spec, rows)] if rows else []
        case Dots():
            return draw_dot_plots(spec, results)
        case FactorLines():
            return draw_factor_lines(spec, results)
        case ComplexityPoints():
            return draw_complexity(spec, results)
        case TrainingCurves():
            return draw_training_curves(spec, results)
        case PowerLawCurves():
            return draw_power_laws(spec, results)
    assert_never(spec)
