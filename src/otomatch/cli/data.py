"""The commands on data sets: fetch and check."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, counting, list_skipped, print_json
from otomatch.errors import DatasetError

app = typer.Typer(
    name="data",
    help="Fetch published data sets (clotho, esc-50, audiocaps) and check a data set folder.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="clotho, esc-50 or audiocaps.")],
    root: Annotated[
        Path | None, typer.Argument(help="Folder to download to. Default: the data set's name.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split of Clotho to fetch (train, val, test). Repeatable. Default: all."),
    ] = None,
) -> None:
    """Download a data set. An interrupted download resumes; complete files are kept.

    Clotho v2.1: 7 GB to download, 12 GB on disk (needs the extra [bold]datasets[/]).
    ESC-50: 0.65 GB to download, 0.9 GB on disk.
    AudioCaps is on YouTube: prints the commands to run and where to put the files.

    Examples:
    otomatch data fetch clotho data/clotho --split test

    otomatch data fetch esc-50
    """
    from otomatch.datasets.clotho import SPLITS
    from otomatch.datasets.fetch import audiocaps_guide, fetch_clotho, fetch_esc50

    name = _fetchable(name)
    place = Path(name) if root is None else root
    if split and name != "clotho":
        raise DatasetError(f"--split works for clotho only; {name} has no splits to fetch")
    if name == "clotho":
        fetch_clotho(place, split or tuple(SPLITS), typer.echo)
    elif name == "esc-50":
        fetch_esc50(place, typer.echo)
    else:
        typer.echo(audiocaps_guide(place))


def _fetchable(text: str) -> str:
    """Return the name of a data set that can be fetched, for any spelling of it."""
    from otomatch.datasets import layout_name

    with contextlib.suppress(DatasetError):  # whose message also lists what cannot be fetched
        name = layout_name(text)
        if name in ("clotho", "esc-50", "audiocaps"):
            return name
    raise DatasetError(f"{text} cannot be fetched; expected clotho, esc-50 or audiocaps")


@app.command()
def check(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder of the data set, NAME:FOLDER, or NAME followed by the folder. NAME is "
            "audiocaps, clotho or esc-50."
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Folder, if the first argument is a NAME.")
    ] = None,
    decode: Annotated[
        bool,
        typer.Option("--decode", help="Decode every file in full instead of reading its header."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count clips and captions, measure durations, and list missing, broken and duplicate files.

    Duplicates are the same audio, byte by byte, or the same caption in several splits.

    Examples:
    otomatch data check clotho:data/clotho

    otomatch data check scenes --decode
    """
    from otomatch.cli.tables import check_table, duplicate_lines
    from otomatch.datasets import open_dataset
    from otomatch.datasets.checking import check_dataset

    with counting("Decoding" if decode else "Reading headers") as advance:
        found = check_dataset(open_dataset(data, root), decode, advance)
    if as_json:
        print_json(found.to_dict())
        return
    list_skipped((*found.broken, *found.missing))
    console = Console()
    console.print(check_table(found))
    for line in duplicate_lines(found):
        console.print(line, highlight=False, soft_wrap=True)
