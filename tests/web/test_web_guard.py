"""Which requests are answered (Host, Origin, token), and the headers of every response."""

import re

import pytest
from starlette.websockets import WebSocketDisconnect

from otomatch.errors import ConfigError
from otomatch.web.access import Access, is_loopback
from otomatch.web.guard import SECURITY_HEADERS
from otomatch.web.limits import Limits
from tests.support.web import HOST, ids, served

TOKEN = "correct-horse"  # noqa: S105
ADDRESSES = (
    "/", "/api/health", "/api/search?q=rain", "/api/search", "/api/nothing", "/nothing",
    "/api/sounds/0/audio", "/api/openapi.json", "/static/x.js",
)  # fmt: skip


@pytest.fixture
def locked(library):
    with served(library, Access("127.0.0.1", TOKEN)) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8765", "localhost:80", "LOCALHOST:1", "[::1]:8765", "[::1]"],
)
def test_requests_that_name_this_machine_are_answered(client, host):
    assert client.get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example",
        "127.0.0.1@evil.example", "192.168.1.7:8765", "[::2]:8765", "", "[", "127.0.0.1:x y",
    ],
)  # fmt: skip
def test_a_name_that_was_pointed_at_this_machine_is_refused(client, host):
    answer = client.get("/api/health", headers={"Host": host})
    assert answer.status_code == 403
    assert "open the address" in answer.json()["detail"]


def test_two_host_headers_are_refused(client):
    headers = [("Host", HOST), ("Host", "evil.example")]
    assert client.get("/api/health", headers=headers).status_code == 403


def test_the_name_it_is_bound_to_is_known():
    assert Access("sounds.example", TOKEN).knows("sounds.example")
    assert not Access("sounds.example", TOKEN).knows("other.example")


def test_a_proxy_before_it_is_known_by_its_name(library):
    with served(library, Access("127.0.0.1", names=("Sounds.example",))) as client:
        for host, origin, status in (
            ("sounds.example", "https://sounds.example", 200),
            ("sounds.example:8443", "https://sounds.example:8443", 200),
            ("sounds.example", "https://evil.example", 403),
            ("evil.example", "https://evil.example", 403),
        ):
            headers = {"Host": host, "Origin": origin}
            assert client.get("/api/health", headers=headers).status_code == status


def test_bound_to_all_addresses_it_answers_to_addresses_but_not_to_foreign_names(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Studio")
    access = Access("0.0.0.0", TOKEN)  # noqa: S104
    assert all(map(access.knows, ("192.168.1.7", "::2", "studio", "studio.local", "localhost")))
    assert not access.knows("evil.example")


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"https://{HOST}"])
def test_the_page_of_this_server_may_ask(client, origin):
    assert client.get("/api/health", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:1", "http://localhost:8765", "file://",
     f"http://{HOST}.evil.example", f"ftp://{HOST}", "http://["],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "post", "head", "options"])
def test_pages_of_other_origins_may_not(client, origin, method):
    answer = client.request(method, "/api/search?q=x", headers={"Origin": origin})
    assert answer.status_code == 403


def test_other_sites_may_link_here_but_neither_load_nor_ask(client, library):
    place = f"/api/sounds/{ids(library)['middle.wav']}/audio"
    for site in ("cross-site", "same-site"):
        loading = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "audio"}
        assert client.get(place, headers=loading).status_code == 403
        following = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert client.get(place, headers=following).status_code == 200
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}
    assert client.get(place, headers=own).status_code == 200


def test_no_answer_invites_other_origins(client):
    answer = client.get("/api/health", headers={"Origin": f"http://{HOST}"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("host", [HOST, "evil.example"])
def test_every_answer_has_the_security_headers(client, locked, address, host):
    for asked in (client, locked):
        answer = asked.get(address, headers={"Host": host})
        assert {n: answer.headers.get(n) for n in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["cache-control"] in ("no-store", "no-cache", "private, no-cache")


def test_the_policy_allows_no_script_but_its_own():
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in SECURITY_HEADERS["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)


@pytest.mark.parametrize("address", [a for a in ADDRESSES if a.startswith("/api")])
def test_with_a_token_the_api_is_closed_to_those_without(locked, address):
    for headers in (
        {}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN}, {"Authorization": "Bearer "}, {"Authorization": "Bearer ü"},
        {"Cookie": "otomatch=1"}, {"Cookie": f"otomatch={TOKEN}"}, {"Cookie": "a=[;=\x7f"},
    ):  # fmt: skip
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = locked.get(address, headers=raw)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "the server printed" in answer.json()["detail"]


def test_the_token_opens_the_api(locked):
    answer = locked.get("/api/health", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


def test_the_document_says_whether_a_token_is_needed(client, locked):
    assert "security" not in client.get("/api/openapi.json").json()
    asked = locked.get("/api/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert asked["security"] == [{"token": []}]
    assert asked["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_the_page_opened_with_the_token_gets_a_cookie_that_is_not_the_token(locked):
    answer = locked.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert re.search("samesite=strict", cookie, re.IGNORECASE)
    assert "Secure" not in cookie  # http on loopback
    assert locked.get("/api/health").status_code == 200  # the client keeps the cookie


def test_the_cookie_of_another_token_opens_nothing(locked, library):
    with served(library, Access("127.0.0.1", "another-token")) as other:
        other.get("/?token=another-token", follow_redirects=False)
        assert other.get("/api/health").status_code == 200
        locked.cookies.update(other.cookies)
    assert locked.get("/api/health").status_code == 401


def test_a_wrong_token_in_the_address_is_refused(locked):
    answer = locked.get("/?token=wrong-token", follow_redirects=False)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith("otomatch: the token is wrong; open the address")


def test_what_the_page_is_opened_with_besides_the_token_is_kept(locked):
    address = f"/?q=rain%20%26+wind&token={TOKEN}&not=caf%C3%A9&not="
    answer = locked.get(address, follow_redirects=False)
    assert answer.headers["location"] == "/?q=rain+%26+wind&not=caf%C3%A9"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "8.8.8.8"])  # noqa: S104
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(ConfigError, match="requires a token"):
        Access(host)
    Access(host, TOKEN)


@pytest.mark.parametrize("token", ["", "short", "with space in it", "ümlaut-token", "tab\ttoken"])
def test_a_token_that_cannot_be_sent_or_is_guessed_is_refused(token):
    with pytest.raises(ConfigError, match="token is too short or has unsupported characters"):
        Access("127.0.0.1", token)


def test_loopback_goes_by_what_a_name_stands_for(monkeypatch):
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    found = {"mine": ["127.0.1.1"], "both": ["127.0.0.1", "192.0.2.1"]}
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda name, _: [(0, 0, 0, "", (a, 0)) for a in found[name]]
    )
    assert is_loopback("mine")
    assert not is_loopback("both")


def test_a_host_that_does_not_exist_is_a_clear_error():
    with pytest.raises(ConfigError, match="cannot be resolved"):
        Access("no such host")


def test_too_many_answers_at_once_are_503(library):
    with served(library, limits=Limits(streams=0)) as client:
        answer = client.get("/api/health")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_websockets_are_not_answered(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/search"):
        pass
