"""The command that runs a study."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.studies.catalogue import STUDIES

StudyName = StrEnum("StudyName", {name: name for name in STUDIES})  # type: ignore[misc]  # dynamic
_SUMMARIES = " ".join(f"[bold]{study.name}[/]: {study.summary}." for study in STUDIES.values())

app = typer.Typer()


@app.command()
def study(
    name: Annotated[StudyName, typer.Argument(help=f"Study to run. {_SUMMARIES}")],
    data: Annotated[
        list[str],
        typer.Option(
            help="Data to study. scenes:FOLDER composes scenes from labelled recordings (ESC-50 "
            "layout) and holds out the last fold, scenes:midi renders scenes, and a folder or "
            "NAME:FOLDER is used with its own splits. Repeat for a second data set (transfer)."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for every setting.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of all studies; they share their runs.")] = Path(
        "studies"
    ),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Preview in minutes, with fewer settings, scenes and epochs."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file that every run starts from. Default: a small encoder."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a field of every run: section.field=value. Repeatable."
        ),
    ] = None,
    zeroshot: Annotated[
        str | None,
        typer.Option(help="Labelled clips to classify, e.g. esc-50:DIR. Default: those in --data."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
) -> None:
    """Answer a question with a grid of training runs: tables, plots and confidence intervals.

    The same command resumes an interrupted study, and a second process with the same command shares
    the work. Results are in OUT/NAME: rows.csv, summary.md, plots/ and index.html. OUT/cells holds
    every training run.

    Examples:
    otomatch study losses --data scenes:data/esc-50 --quick

    otomatch study noise --data scenes:data/esc-50 --seeds 5 --out results

    otomatch study transfer --data scenes:data/esc-50 --data scenes:midi

    otomatch study losses --data audiocaps:data/audiocaps --config configs/audiocaps-cnn14-bert.toml
    """
    from otomatch.studies.planning import StudySettings
    from otomatch.studies.runner import run_study

    console = Console(stderr=True)
    chosen = STUDIES[name.value]
    settings = StudySettings(
        data,
        out,
        seeds=seeds,
        quick=quick,
        config=config,
        overrides=assignments or (),
        zeroshot=zeroshot,
        retry=retry,
        command=shlex.join(["otomatch", *sys.argv[1:]]),
    )
    try:
        results = run_study(chosen, settings, console)
    except KeyboardInterrupt:
        console.print("Stopped. The same command resumes.")
        raise typer.Exit(130) from None
    folder = settings.folder(chosen)
    done = results.planned - len(results.failures)
    line = f"{done} of {results.planned} runs done: {folder / 'index.html'}"
    console.print(line, highlight=False, soft_wrap=True)
    if results.failures:
        raise typer.Exit(1)
