"""The commands that evaluate: retrieval and zero-shot classification."""

from pathlib import Path
from typing import Annotated

import typer

from otomatch.cli.output import (
    AsJson,
    device,
    in_split,
    integers,
    list_skipped,
    show_classification,
    show_retrieval,
)

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="Folder of a model, or its name on the hub.")]
Split = Annotated[str | None, typer.Option(help="Split to use. Default: test if there is one.")]


@app.command()
def evaluate(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(help="Folder of the data set, or NAME:FOLDER, e.g. clotho:data/clotho."),
    ],
    split: Split = None,
    recall: Annotated[str, typer.Option(help="Values of k for recall@k.")] = "1,5,10",
    precision: Annotated[str, typer.Option("--map", help="Values of k for mAP@k.")] = "10",
    as_json: AsJson = False,
) -> None:
    """Measure retrieval in both directions.

    Each query is ranked by distance. The table also shows a transductive ranking by one transport
    plan over the whole set. It uses the number of captions of each clip and is not comparable.

    Examples:
    otomatch evaluate runs/first/model test-scenes

    otomatch evaluate runs/x/model audiocaps:data/audiocaps --split val
    """
    from otomatch.datasets import open_dataset
    from otomatch.evaluation import evaluator
    from otomatch.models import AudioTextModel
    from otomatch.parallel import process_group

    process_group.initialize()
    dataset = in_split(open_dataset(data), split)
    report = evaluator.evaluate(
        AudioTextModel.from_pretrained(model, device()),
        dataset,
        ks=integers("--recall", recall),
        map_ks=integers("--map", precision),
        progress=True,
    )
    if process_group.rank():
        return
    list_skipped(report.skipped)
    show_retrieval(report, f"{model} on {report.dataset}", as_json)


@app.command()
def zeroshot(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(help="Folder of labelled clips, or NAME:FOLDER, e.g. esc-50:data/esc-50."),
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Description of a class, with {label} in place of its name. Repeat to average "
            "several. Default: This is a sound of {label}."
        ),
    ] = None,
    fold: Annotated[str | None, typer.Option(help="Folds to use, e.g. 1,2. Default: all.")] = None,
    split: Split = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the confusion matrix to this .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify labelled sounds by descriptions of the classes, without training on them.

    Each sound gets the class at the smallest distance. The table also shows a transductive result
    by one transport plan. It assumes classes of equal size and is not comparable.

    Examples:
    otomatch zeroshot runs/x/model esc-50:data/esc-50 --fold 1 --picture confusion.png

    otomatch zeroshot runs/x/model my-clips --prompt "the sound of {label}" --prompt "{label}"
    """
    from otomatch.datasets import open_dataset
    from otomatch.evaluation import zero_shot
    from otomatch.evaluation.plots.confusion import draw_confusion
    from otomatch.evaluation.plots.style import check_picture
    from otomatch.models import AudioTextModel
    from otomatch.parallel import process_group

    if picture is not None:
        check_picture(picture)
    process_group.initialize()
    dataset = open_dataset(data)
    chosen = in_split(dataset, split)
    report = zero_shot.zeroshot(
        AudioTextModel.from_pretrained(model, device()),
        chosen.in_folds(integers("--fold", fold)) if fold else chosen,
        prompts=prompt or zero_shot.PROMPT,
        classes=dataset.labels,
        progress=True,
    )
    if process_group.rank():
        return
    list_skipped(report.skipped)
    title = f"{model} on {report.dataset}"
    if picture is not None:
        draw_confusion(report, picture, title)
    show_classification(report, title, as_json)
