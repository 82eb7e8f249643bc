"""The command that serves a library to a browser."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from otomatch.terminal import device


def serve(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    host: Annotated[
        str,
        typer.Option(
            help="Name or address to listen at. Another than this machine's own needs --token."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default: 8765, or the next that is free."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="OTOMATCH_TOKEN",
            help="Secret that every request must carry; the address that is printed does.",
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = False,
) -> None:
    """Search a library in the browser: type, listen, look at it, find more alike.

    Prints the address of the page; its JSON API is described at /api/openapi.json. The library may
    be indexed again meanwhile. Ctrl-C ends it. Needs the extra [bold]web[/].

    Examples:
    otomatch serve my-library --open

    otomatch serve my-library --host 0.0.0.0 --token a-long-secret
    """
    from otomatch.web.extra import check_installed

    check_installed()
    from otomatch.library import SoundLibrary
    from otomatch.web.guard import Access
    from otomatch.web.serving import serve as run

    access = Access(host, token)
    opened = SoundLibrary.open(library, device=device())

    def started(address: str) -> None:
        line = f"Serving [bold]{escape(library)}[/] at [bold]{escape(address)}[/]  (Ctrl-C ends it)"
        Console().print(line, soft_wrap=True, highlight=False)

    run(opened, access, port, started=started, open_browser=open_browser)
