"""The command that runs the demonstration."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.cli.serving import serve_library

app = typer.Typer()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "otomatch-demo"
    ),
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="Serve the library to a browser at the end. Default: only in a terminal.",
        ),
    ] = None,
) -> None:
    """Render sounds, train a model, evaluate it and search with it: a few minutes, no download.

    In a terminal, it ends by serving a page that searches and plays the sounds.
    """
    wanted = sys.stdin.isatty() and sys.stdout.isatty() if serve is None else serve
    if wanted:
        from otomatch.web.extra import check_installed

        check_installed()
    from otomatch.cli.demonstration import run_demo

    library = run_demo(folder, Console())
    if wanted:
        serve_library(library)
