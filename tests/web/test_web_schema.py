"""The OpenAPI document, and a schemathesis run against it."""

import json
import re
import subprocess
import sys

import httpx2
import pytest

from tests.support.web import running

ROUTES = {
    ("get", "/api/health"), ("get", "/api/search"), ("post", "/api/search"),
    ("get", "/api/sounds/{id}/similar"), ("get", "/api/sounds/{id}/audio"),
    ("get", "/api/sounds/{id}/spectrogram"), ("get", "/api/map"), ("get", "/api/folders"),
}  # fmt: skip


# What no schema can say makes a request wrong: a shortest length above the longest or a folder that
# the library does not have (400), an id that no sound has (404), a span that ends before it begins
# (400), a range of bytes that is none (400) or lies beyond the sound (416), a sound that cannot be
# decoded (422).
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx"]

[[operations]]
include-name = "GET /api/search"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]

[[operations]]
include-name = "POST /api/search"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 422]

[[operations]]
include-path-regex = "/(similar|spectrogram)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]

[[operations]]
include-path-regex = "/audio$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 416]
"""


@pytest.fixture(scope="module")
def address(library):
    with running(library) as address:
        yield address


@pytest.fixture(scope="module")
def document(address):
    return httpx2.get(f"{address}/api/openapi.json").json()


@pytest.mark.slow
def test_schemathesis_finds_nothing_wrong(address, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run",
        f"{address}/api/openapi.json", "--max-examples", "20", "--generation-deterministic",
        "--no-color",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert "8 selected / 8 total" in found.stdout
    assert int(re.search(r"(\d+) generated", found.stdout).group(1)) > 400


def test_the_document_describes_every_route_of_the_contract(document):
    found = {(method, path) for path, item in document["paths"].items() for method in item}
    assert found == ROUTES
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert {"400", "401", "403", "500", "503"} <= set(operation["responses"])
            assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_errors_are_of_one_form(document):
    assert "HTTPValidationError" not in json.dumps(document)
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Detail"}
