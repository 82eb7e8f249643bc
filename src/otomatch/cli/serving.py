"""Serving a library, shared by the commands that end with the search page."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:  # torch and fastapi load slowly; --help must not
    from otomatch.library import SoundLibrary
    from otomatch.web.access import Access


def serve_library(
    library: "SoundLibrary",
    access: "Access | None" = None,
    port: int | None = None,
    open_browser: bool = False,
) -> None:
    """Serve a library until Ctrl-C and print its address; see `otomatch.web.serving.serve`."""
    from otomatch.web.serving import serve

    def started(address: str) -> None:
        name = escape(library.uri)
        line = f"Serving [bold]{name}[/] at [bold]{escape(address)}[/]  (Ctrl-C stops)"
        Console().print(line, soft_wrap=True, highlight=False)

    serve(library, access, port, started=started, open_browser=open_browser)
