"""The command line. Each module holds a group of commands over the library's functions."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from otomatch import __version__
from otomatch.cli import (
    compose,
    data,
    demo,
    evaluate,
    library,
    plots,
    search,
    serve,
    study,
    train,
)
from otomatch.cli.output import show_warnings_plainly
from otomatch.cli.remedies import message
from otomatch.errors import OtomatchError

app = typer.Typer(
    name="otomatch",
    help="Match sounds and descriptions with optimal transport: train, evaluate, search.\n\n"
    "Try [bold]otomatch demo[/] first. A data set is given as a folder with captions.csv, or as "
    "NAME:FOLDER, where NAME is audiocaps, clotho or esc-50.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

# Groups of commands in the order of the help; one with a name becomes a command with subcommands.
for group in (demo, compose, train, evaluate, library, search, serve, study, data, plots):
    app.add_typer(group.app)


def main() -> None:
    """Run the command line; print an error that the user can fix as one message."""
    show_warnings_plainly()
    try:
        app()
    except OtomatchError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(message(error))}", soft_wrap=True)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otomatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass
