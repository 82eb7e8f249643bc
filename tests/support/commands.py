"""The command ``otomatch`` in a process, without the seconds that its imports take.

For shell scripts, a small client hands its arguments, folder and output over a socket to the tests,
which start a process for it that has imported torch and transformers already.
"""

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryFile
from threading import Thread
from typing import Any

from tests.support.killing import context, wait

_CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    call = json.dumps([os.getcwd(), sys.argv[2:]]).encode()
    socket.send_fds(server, [call], [1, 2])
    sys.exit(int(server.recv(16) or 99))
"""


def run(*arguments: object, folder: Path | None = None) -> CompletedProcess[str]:
    """Run ``otomatch`` in a process of its own, in a folder, and return its status and output."""
    words = [str(argument) for argument in arguments]
    with TemporaryFile() as out, TemporaryFile() as err:
        place = str(Path.cwd() if folder is None else folder)
        files = (DupFd(out.fileno()), DupFd(err.fileno()))
        process = context.Process(target=_run, args=(place, words, *files))
        process.start()
        status = wait(process, 300)
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
    return CompletedProcess(words, status, *texts)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A command line that runs ``otomatch`` while the context lasts; ``folder`` is its own."""
    address, client = folder / "socket", folder / "client.py"
    client.write_text(_CLIENT)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        thread = Thread(target=_serve, args=(server,))
        thread.start()
        try:
            yield shlex.join([sys.executable, "-IS", str(client), str(address)])
        finally:
            with socket.socket(socket.AF_UNIX) as last:  # without a call: the end
                last.connect(str(address))
            thread.join()


def _serve(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            message, files, _, _ = socket.recv_fds(connection, 1 << 16, 2)
            if not message:
                return
            connection.sendall(str(_call(json.loads(message), files)).encode())


def _call(call: tuple[str, list[str]], files: list[int]) -> int:
    """Run a command; returns its exit status, 99 if it hung and was killed."""
    process = context.Process(target=_run, args=(*call, *map(DupFd, files)))
    process.start()
    for file in files:
        os.close(file)
    try:
        return wait(process)
    except TimeoutError:
        return 99


def _run(folder: str, arguments: list[str], out: Any, err: Any) -> None:
    import torch

    from otomatch.cli import main

    os.chdir(folder)
    os.dup2(out.detach(), 1)
    os.dup2(err.detach(), 2)
    torch.set_num_threads(1)
    sys.argv = ["otomatch", *arguments]
    main()
