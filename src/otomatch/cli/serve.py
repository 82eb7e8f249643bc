"""The command that serves a library to a browser."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from otomatch.cli.output import device

if TYPE_CHECKING:
    from otomatch.library import SoundLibrary
    from otomatch.web.guard import Access


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
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Further name that requests may be addressed to, as that of a proxy before it, "
            "without its port; may be given several times."
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
    check_installed()
    from otomatch.library import SoundLibrary
    from otomatch.web.guard import Access

    access = Access(host, token, tuple(name or ()))
    run(SoundLibrary.open(library, device=device()), access, port, open_browser)


def check_installed() -> None:
    """Raise MissingDependencyError unless the packages behind the page are installed."""
    from otomatch.web.extra import check_installed as check

    check()


def run(
    library: "SoundLibrary",
    access: "Access | None" = None,
    port: int | None = None,
    open_browser: bool = False,
) -> None:
    """Serve a library until Ctrl-C, saying where; arguments as for `otomatch.web.serving.serve`."""
    from otomatch.web.serving import serve as serve_library

    def started(address: str) -> None:
        name = escape(library.uri)
        line = f"Serving [bold]{name}[/] at [bold]{escape(address)}[/]  (Ctrl-C ends it)"
        Console().print(line, soft_wrap=True, highlight=False)

    serve_library(library, access, port, started=started, open_browser=open_browser)
