"""The commands about data sets: fetching and checking them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, counting, list_skipped, print_json
from otomatch.errors import DatasetError

app = typer.Typer(
    help="Fetch published data sets (clotho, esc-50, audiocaps), and check what a folder holds.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="clotho, esc-50 or audiocaps.")],
    root: Annotated[
        Path | None, typer.Argument(help="Folder to put it in. Default: the data set's name.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Clotho: fetch this split only (train, val, test). Repeatable."),
    ] = None,
) -> None:
    """Download a data set; a run that was interrupted goes on, what is complete is left alone.

    Clotho v2.1: 7 GB to download, 12 GB on disk (needs the extra [bold]datasets[/]).
    ESC-50: 0.65 GB to download, 0.9 GB on disk.
    AudioCaps lies on YouTube: prints what to run and where to put it.

    Examples:
    otomatch data fetch clotho data/clotho --split test

    otomatch data fetch esc-50
    """
    from otomatch.datasets import layout_name
    from otomatch.datasets.clotho import SPLITS
    from otomatch.datasets.fetch import audiocaps_guide, fetch_clotho, fetch_esc50

    name = layout_name(name)
    place = Path(name) if root is None else root
    if split and name != "clotho":
        raise DatasetError(f"--split is for clotho; {name} is not fetched split by split")
    if name == "clotho":
        fetch_clotho(place, split or tuple(SPLITS), typer.echo)
    elif name == "esc-50":
        fetch_esc50(place, typer.echo)
    elif name == "audiocaps":
        typer.echo(audiocaps_guide(place))
    else:
        raise DatasetError(f"{name} is nothing to fetch; names: clotho, esc-50, audiocaps")


@app.command()
def check(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder of the data set, NAME:FOLDER, or NAME alone and the folder after it; "
            "names: audiocaps, clotho, esc-50."
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Folder, if the first argument is a name alone.")
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every file in full, not only its header.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count clips and captions, measure durations, list missing and broken files, find duplicates.

    Duplicates: the same audio, byte by byte, or the same caption in several splits.

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
