"""Run the server: choose its port, announce its address, stop it."""

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
from otomatch.web.access import Access
from otomatch.web.app import create_app
from otomatch.web.limits import Limits

PORT = 8765
"""Default port; if it is in use, the server listens on the next free one."""

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
        library: Library to serve.
        access: Host to listen on and token; by default, this machine only and no token.
        port: Port to listen on; 0 for any free port, None for `PORT` or the next free one.
        limits: Limits of the server.
        started: Function to call with the server's address as soon as the server answers.
        open_browser: True to open the page in a browser then.

    Raises:
        ConfigError: The port cannot be used, or the host is not an address of this machine.
        LibraryError: The library's model is missing or belongs to another library.
        ModelError: The library's model cannot be loaded.
    """
    access, limits = access or Access(), limits or Limits()
    signal.signal(signal.SIGTERM, _stop)
    with listening(access.host, port) as own:
        torch.set_num_threads(limits.torch_threads)
        library.model.eval()  # loads the model, so that errors show before the server starts
        address = _address(access, own.getsockname()[1])

        def ready() -> None:
            if started is not None:
                started(address)
            if open_browser:
                webbrowser.open(address)

        try:
            _Server(_config(create_app(library, access, limits)), ready).run(sockets=[own])
        except KeyboardInterrupt:  # raised again by uvicorn after an orderly shutdown
            return


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        access_log=False,  # an address may contain the token
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, *arguments: Any, **options: Any) -> None:
        await super().startup(*arguments, **options)
        if self.started:
            self._ready()


def listening(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port of a host.

    Args:
        host: Host name or address.
        port: Port; 0 for any free port, None for `PORT` or the next free one.

    Raises:
        ConfigError: The port is in use or reserved, or the host is not an address of this machine.
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
        return f"port {port} is in use; choose another one, or none to use the next free port"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the system; choose one above 1023"
    return (
        f"cannot listen on the host {host} ({error.strerror or error}); expected an address of "
        "this machine"
    )


def _address(access: Access, port: int) -> str:
    host = socket.gethostname() if access.host in ("0.0.0.0", "::") else access.host  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    token = "" if access.token is None else f"?token={quote(access.token, safe='')}"
    return f"http://{shown}:{port}/{token}"


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
