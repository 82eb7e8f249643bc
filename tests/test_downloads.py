"""Downloads: once, checked, and resumed where they were cut."""

import hashlib
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import files
from otomatch.errors import DownloadError
from otomatch.files import download, file_md5

CONTENT = np.random.default_rng(0).bytes(300_000)  # several chunks
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; see `Server` for what it does wrong."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if self.path.startswith("/old"):
            return self.answer(302, Location=self.path.replace("/old", "/new"))
        if self.path.startswith("/missing"):
            return self.answer(404)
        if self.path.startswith("/slow"):
            time.sleep(0.3)
            return None
        start = 0
        if server.resumes and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.content):
            return self.answer(416, **{"Content-Range": f"bytes */{len(server.content)}"})
        self.answer(206 if start else 200, body=server.content[start:])
        return None

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body), "Connection": "close"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        sent = self.server.cuts.pop(0) if body and self.server.cuts else len(body)
        self.wfile.write(body[:sent])

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """On this machine only. ``cuts``: bytes sent before the connection breaks, one per request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/new/file.bin?download=1"
        self.reset()

    def reset(self, resumes=True, cuts=(), content=CONTENT):
        self.resumes, self.cuts, self.content, self.ranges = resumes, list(cuts), content, []


@pytest.fixture(scope="module")
def running():
    server = Server()
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(running):
    running.reset()
    return running


def test_a_file_is_fetched_once_and_then_used_without_the_network(server, tmp_path):
    folder = tmp_path / "deep" / "folder"
    path = download(server.url, "file.bin", MD5, folder)
    assert path == folder / "file.bin"
    assert path.read_bytes() == CONTENT
    assert download(server.url, "file.bin", MD5.upper(), folder) == path
    assert download("http://127.0.0.1:1/", "file.bin", None, folder) == path
    assert server.ranges == [None]
    assert not list(folder.glob("*.part"))


def test_a_partial_file_is_completed_with_the_bytes_that_it_lacks(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1234])
    url = server.url.replace("/new", "/old")  # Zenodo's addresses, too, lead to others
    path = download(url, "file.bin", MD5, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1234-"] * 2


@given(cuts=st.lists(st.integers(1, len(CONTENT) // 3), max_size=3), resumes=st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_download_that_is_cut_in_the_middle_ends_up_whole(
    running, tmp_path_factory, cuts, resumes
):
    running.reset(resumes, sorted(cuts))
    folder = tmp_path_factory.mktemp("cut")
    while running.cuts:  # each attempt uses up one at least
        with suppress(DownloadError):
            download(running.url, "file.bin", MD5, folder)
    assert download(running.url, "file.bin", MD5, folder).read_bytes() == CONTENT


def test_a_cut_connection_is_taken_up_again_at_once_where_bytes_came(server, tmp_path):
    server.reset(cuts=[200_000, 70_000])
    assert download(server.url, "file.bin", MD5, tmp_path).read_bytes() == CONTENT
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) for r in server.ranges[1:]]
    assert len(starts) == 2
    assert 100_000 < starts[0] < starts[1] < len(CONTENT)


def test_a_server_that_cannot_resume_sends_the_file_anew(server, tmp_path):
    server.reset(resumes=False)
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1234])
    assert download(server.url, "file.bin", MD5, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1234-"]


def test_a_complete_partial_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert download(server.url, "file.bin", MD5, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("left", [b"not it", CONTENT + b"more"])
def test_a_wrong_partial_file_is_told_of_and_the_next_attempt_starts_anew(left, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(left)
    with pytest.raises(DownloadError, match=r"(?i)try again"):
        download(server.url, "file.bin", MD5, tmp_path)
    assert download(server.url, "file.bin", MD5, tmp_path).read_bytes() == CONTENT


def test_a_published_file_with_another_sum_is_refused_and_names_both(server, tmp_path):
    server.reset(content=b"a page that asks to log in")
    with pytest.raises(DownloadError, match=MD5) as error:
        download(server.url, "file.bin", MD5, tmp_path)
    assert hashlib.md5(server.content).hexdigest() in str(error.value)  # noqa: S324
    assert not list(tmp_path.glob("file*"))


def test_a_file_that_is_there_with_another_sum_is_refused_and_left_as_it_is(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=f"{file_md5(path)}, expected {MD5}; move it away"):
        download(server.url, "file.bin", MD5, tmp_path)
    assert path.read_bytes() == b"mine"
    assert server.ranges == []


def test_without_a_published_sum_nothing_is_checked(server, tmp_path):
    assert download(server.url, "file.bin", None, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["missing", "offline", "timeout", "name"])
def test_a_download_that_fails_says_what_to_get_and_where_to_put_it(
    fault, server, tmp_path, monkeypatch
):
    url = {
        "missing": server.url.replace("/new", "/missing"),
        "offline": "http://127.0.0.1:1/file.bin",
        "timeout": server.url.replace("/new", "/slow"),
        "name": "no-address",
    }[fault]
    monkeypatch.setattr(files, "_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(DownloadError) as error:
        download(url, "file.bin", MD5, tmp_path)
    assert url in str(error.value)
    assert f"save it as {tmp_path / 'file.bin'}" in str(error.value)
    assert not (tmp_path / "file.bin").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(server, tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(DownloadError, match="by hand"):
        download(server.url, "file.bin", MD5, tmp_path / "taken" / "folder")


def test_processes_that_ask_at_once_fetch_a_file_once(server, tmp_path):
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(download(server.url, "file.bin", MD5, tmp_path))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "file.bin"] * 4
    assert server.ranges == [None]
