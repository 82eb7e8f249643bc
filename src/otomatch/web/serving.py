"""Running the server: its port, its address, and its end."""

import errno
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import quote

import torch
import uvicorn

from otomatch.errors import ConfigError
from otomatch.library import SoundLibrary
from otomatch.web.app import create_app
from otomatch.web.guard import Access
from otomatch.web.limits import Limits

PORT = 8765
"""Where the server listens, unless it is told otherwise or somebody else does."""

_TRIES = 20
_STOP_SECONDS = 3


def serve(
    library: SoundLibrary,
    access: Access | None = None,
    port: int | None = None,
    limits: Limits | None = None,
    started: Callable[[str], object] | None = None,
    open_browser: bool = False,
) -> None:
    """Serve a library until Ctrl-C or SIGTERM.

    Args:
        library: what is served.
        access: the name or address it listens at, and its token.
        port: 0 for any; None for `PORT`, or the next that is free.
        limits: bounds of what the server takes.
        started: called with the address once the server answers.
        open_browser: open the page in a browser then.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
        LibraryError, ModelError: the library's model cannot be loaded.
    """
    access, limits = access or Access(), limits or Limits()
    signal.signal(signal.SIGTERM, _stop)
    with listening(access.host, port) as own:
        torch.set_num_threads(limits.torch_threads)
        library.model.eval()  # loaded now: what is wrong with it shows before anybody comes
        address = _address(access, own.getsockname()[1])

        def ready() -> None:
            if started is not None:
                started(address)
            if open_browser:
                webbrowser.open(address)

        config = uvicorn.Config(
            create_app(library, access, limits),
            lifespan="on",
            log_level="warning",
            access_log=False,  # the token may be in an address
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        try:
            _Server(config, ready).run(sockets=[own])
        except KeyboardInterrupt:  # raised again by uvicorn, after it has ended in order
            return


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, *arguments: Any, **options: Any) -> None:
        await super().startup(*arguments, **options)
        if self.started:
            self._ready()


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens at a port of a host.

    Args:
        host: name or address.
        port: 0 for any; None for `PORT`, or the next that is free.

    Raises:
        ConfigError: the port is taken or not allowed, or the address is not this machine's.
    """
    tries = [port] if port is not None else [*range(PORT, PORT + _TRIES), 0]
    for candidate in tries:
        try:
            family, *_, place = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            return socket.create_server(place[:2], family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == tries[-1]:
                raise ConfigError(_refusal(host, candidate, error)) from None
    raise AssertionError  # the last try has returned or raised


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is in use; choose another, or leave --port out for one that is free"
    if error.errno == errno.EACCES:
        return f"--port {port} is for the system's own servers; choose one above 1023"
    return f"--host {host}: cannot listen there ({error.strerror or error})"


def _address(access: Access, port: int) -> str:
    host = socket.gethostname() if access.host in ("0.0.0.0", "::") else access.host  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    token = "" if access.token is None else f"?token={quote(access.token, safe='')}"
    return f"http://{shown}:{port}/{token}"


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
