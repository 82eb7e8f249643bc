"""The command `otomatch serve`: output, errors and shutdown."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.errors import ConfigError, LibraryError, MissingDependencyError
from otomatch.library import SoundLibrary
from otomatch.web import extra, services
from otomatch.web.serving import PORT, listening
from tests.support.web import eventually


@pytest.fixture
def library(library: SoundLibrary) -> Path:
    """Return the folder of the library that the tests of the room share."""
    return Path(library.uri)


@contextmanager
def started(*arguments: object, folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Yield a server in a separate process, and the address it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "otomatch", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert "://" in line, process.stderr.read()
        yield process, next(word for word in line.split() if "://" in word)
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # of each thread, its own
    return [int(child) for entry in lists for child in entry.read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_ends_in_order_leaving_nothing(library, tmp_path, sign):
    with started(library, "--port", 0, folder=tmp_path) as (process, address):
        with httpx2.Client(base_url=address) as client:
            assert client.get("/api/health").json()["sounds"] == 5
            assert len(client.get("/api/search", params={"q": "hum"}).json()["hits"]) == 5
            assert client.get("/api/map").json()["state"] == "computing"
            sound = {"sound": ("a.wav", (library.parent / "sounds/high.wav").read_bytes())}
            assert client.post("/api/search", files=sound).status_code == 200
        workers = children(process.pid)
        assert workers
        assert list(tmp_path.iterdir())
        process.send_signal(sign)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert [p for p in tmp_path.iterdir() if p.name.startswith("otomatch")] == []


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_no_process(library, tmp_path):
    with started(library, "--port", 0, folder=tmp_path) as (process, address):
        sound = {"sound": ("a.wav", (library.parent / "sounds/high.wav").read_bytes())}
        assert httpx2.post(f"{address}api/search", files=sound).status_code == 200
        workers = children(process.pid)
        process.kill()
        process.wait()
        assert workers
        eventually(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], 15)


@pytest.mark.slow
def test_what_a_killed_server_left_is_deleted_by_the_next_and_nothing_else(
    library, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with started(library, "--port", 0, folder=tmp_path) as (process, _):
        (left,) = tmp_path.glob("otomatch-serve-*")
        (tmp_path / "otomatch-serve-other").mkdir()  # without a lock: of somebody else
        services.delete_abandoned()
        assert left.exists()
        os.utime(left / "lock", (0, 0))
        services.delete_abandoned()
        assert left.exists()  # it runs
        process.kill()
        process.wait()
        os.utime(left / "lock")
        services.delete_abandoned()
        assert left.exists()  # it might just have been started
        os.utime(left / "lock", (0, 0))
        services.delete_abandoned()
        assert [p.name for p in tmp_path.glob("otomatch-serve-*")] == ["otomatch-serve-other"]


@pytest.mark.slow
def test_with_a_token_the_address_that_is_printed_opens_everything(library, tmp_path):
    options = ("--host", "localhost", "--port", 0, "--token", "a&b=c/%?#long")
    with (
        started(library, *options, folder=tmp_path) as (_, address),
        httpx2.Client(follow_redirects=True) as client,
    ):
        root = address.partition("?")[0]
        assert client.get(f"{root}api/health").status_code == 401
        client.get(address)
        assert client.get(f"{root}api/health").status_code == 200


def refused(*arguments: object) -> BaseException:
    return CliRunner().invoke(app, ["serve", *map(str, arguments)]).exception


def test_a_port_in_use_is_a_clear_error_and_without_port_the_next_is_taken(library):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused(library, "--port", port)
        assert isinstance(error, ConfigError)
        assert f"port {port} is in use" in str(error)
    with listening("127.0.0.1", None) as first, listening("127.0.0.1", None) as second:
        ports = [s.getsockname()[1] for s in (first, second)]
        assert PORT <= ports[0] < ports[1]


def test_an_address_of_another_machine_is_a_clear_error(library):
    error = refused(library, "--host", "192.0.2.1", "--token", "long-enough")
    assert isinstance(error, ConfigError)
    assert "cannot listen on the host 192.0.2.1" in str(error)


def test_what_is_wrong_is_said_before_anything_is_loaded(library, tmp_path):
    assert isinstance(refused(library, "--host", "0.0.0.0"), ConfigError)  # noqa: S104
    assert isinstance(refused(library, "--token", "short"), ConfigError)
    assert isinstance(refused(tmp_path / "none"), LibraryError)


def test_without_its_packages_the_error_names_the_extra(library, monkeypatch):
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "uvicorn" else name)
    error = refused(library)
    assert isinstance(error, MissingDependencyError)
    assert "needs uvicorn," in str(error)
    assert "pip install 'otomatch[web]'" in str(error)


def test_on_windows_the_error_says_where_it_runs(library, monkeypatch):
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "resource" else name)
    error = refused(library)
    assert isinstance(error, MissingDependencyError)
    assert "on Windows, run it in WSL" in str(error)


@pytest.mark.slow
def test_otomatch_alone_loads_nothing_of_the_server():
    code = (
        "import sys, otomatch, otomatch.cli, otomatch.library\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'PIL', 'sklearn', 'otomatch.web'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_a_decoder_process_loads_no_more_than_it_needs():
    code = (
        "import sys, otomatch.web.decoding\n"
        "heavy = {'fastapi', 'uvicorn', 'sklearn', 'lancedb', 'transformers'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
