"""The commands about data sets: fetching and checking."""

import typer

app = typer.Typer(help="Fetch and check data sets.", no_args_is_help=True)
