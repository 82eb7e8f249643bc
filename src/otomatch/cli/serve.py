"""The command that serves a library to a browser."""

from typing import Annotated

import typer

from otomatch.cli.output import device
from otomatch.cli.serving import serve_library

app = typer.Typer()


@app.command()
def serve(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    host: Annotated[
        str,
        typer.Option(
            help="Host name or address to listen on. Any but this machine's own needs --token."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port. Default: 8765, or the next free one."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="OTOMATCH_TOKEN",
            help="Secret that every request must carry. The printed address contains it.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional host name that requests may use, such as that of a reverse proxy, "
            "without a port. Repeatable."
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = False,
) -> None:
    """Serve a page that searches a library in the browser: type, listen, find similar sounds.

    Prints the address of the page. The JSON API is described at /api/openapi.json. The library may
    be indexed again in the meantime. Ctrl-C stops the server. Needs the extra [bold]web[/].

    Examples:
    otomatch serve my-library --open

    otomatch serve my-library --host 0.0.0.0 --token a-long-secret
    """
    from otomatch.web.extra import check_installed

    check_installed()
    from otomatch.library import SoundLibrary
    from otomatch.web.access import Access

    access = Access(host, token, tuple(name or ()))
    serve_library(SoundLibrary.open(library, device=device()), access, port, open_browser)
