"""What stands before the application: whose requests are answered, and with which headers.

A page on another site may send requests to 127.0.0.1 (its visitor's), or point its own name there
(DNS rebinding). So a request must name this server in Host, and, where it says which page it comes
from, that page must be this server's.
"""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otomatch.errors import ConfigError
from otomatch.web.problems import Problem, problem_response

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SHORTEST_TOKEN = 8
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server.

    Attributes:
        host: name or address that it is bound to.
        token: what every request to the API must carry; None where nothing is needed.
        names: further names under which it is known, as that of a proxy before it.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise ConfigError(
                    f"--host {self.host} can be reached by others; give a secret with --token, or "
                    "leave --host out"
                )
        elif len(self.token) < _SHORTEST_TOKEN or not all("!" <= c <= "~" for c in self.token):
            raise ConfigError(
                f"--token must have at least {_SHORTEST_TOKEN} letters, digits or signs, without "
                f"spaces; for example {secrets.token_urlsafe(16)}"
            )

    @property
    def session(self) -> str:
        """What the cookie holds: not the token, since browsers send it to every port of a host."""
        return hmac.new(
            (self.token or "").encode(), b"otomatch session", hashlib.sha256
        ).hexdigest()

    @property
    def cookie(self) -> str:
        """Its name, which differs from that of a server with another token on another port."""
        digest = hmac.new((self.token or "").encode(), b"otomatch cookie", hashlib.sha256)
        return f"otomatch-{digest.hexdigest()[:8]}"

    def knows(self, host: str) -> bool:
        """Whether a name or address (without port) stands for this server."""
        if host in (*_LOOPBACK, self.host.lower(), *map(str.lower, self.names)):
            return True
        if not _is_wildcard(self.host):
            return False
        # Rebinding takes a name; whoever types an address means this machine.
        own = socket.gethostname().lower()
        return _address(host) is not None or host in (own, f"{own}.local")


def is_loopback(host: str) -> bool:
    """Whether a name or address can be reached from this machine only.

    Raises:
        ConfigError: there is no such name.
    """
    address = _address(host)
    if address is not None:
        return address.is_loopback
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: no such name or address ({error})") from None
    return all(ipaddress.ip_address(entry.partition("%")[0]).is_loopback for entry in found)


def _is_wildcard(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Guard:
    """An application that answers only requests that are meant for it, see the module.

    Args:
        app: the application.
        access: who may use it.
        streams: responses that may be under way at once; 503 beyond.
    """

    def __init__(self, app: ASGIApp, access: Access, streams: int) -> None:
        self.app, self._access, self._streams = app, access, streams
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # there is none
            return
        answer: ASGIApp
        try:
            answer = self._check(scope, Headers(scope=scope)) or self.app
        except Problem as problem:
            answer = problem_response(problem)
            if scope["path"] == "/":  # a browser shows it to somebody
                headers = {"Cache-Control": "no-store", **(problem.headers or {})}
                answer = PlainTextResponse(f"otomatch: {problem.detail}\n", problem.status, headers)
        status = 0

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message)
            await send(message)

        self._under_way += 1
        try:
            await answer(scope, receive, sender)
        except Exception:
            if status != 500:  # else it has been logged, and answered
                raise
        finally:
            self._under_way -= 1

    def _check(self, scope: Scope, headers: Headers) -> Response | None:
        """A response that ends the matter, None where the application answers."""
        self._check_host(headers)
        self._check_origin(headers)
        if self._under_way >= self._streams:
            raise Problem(
                503, "the server answers too many requests; try again", {"Retry-After": "1"}
            )
        if self._access.token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and "token" in query:
            return self._logged_in(query, scope)
        if scope["path"].startswith("/api"):
            self._check_token(headers, self._access.token)
        return None

    def _check_host(self, headers: Headers) -> None:
        named = headers.getlist("host")
        if len(named) != 1 or not self._access.knows(_without_port(named[0])):
            raise Problem(
                403,
                f"the header Host is {', '.join(named) or 'missing'}; open the address that "
                "otomatch serve has printed",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if origin is None and foreign and headers.get("sec-fetch-mode") != "navigate":
            raise Problem(403, "a page of another site asks; only this server's own page may")
        if origin is not None:
            scheme, _, place = origin.partition("://")
            if scheme not in ("http", "https") or place != headers["host"]:
                raise Problem(403, f"a page of {origin[:80]} asks; only this server's own page may")

    def _check_token(self, headers: Headers, token: str) -> None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), token):
            return
        if _same(_cookie(headers, self._access.cookie), self._access.session):
            return
        raise Problem(
            401,
            "the token is missing or wrong; open the address that otomatch serve has printed, or "
            "send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def _logged_in(self, query: dict[str, list[str]], scope: Scope) -> Response:
        if not _same(query.pop("token")[0], self._access.token or ""):
            raise Problem(
                401,
                "the token is wrong; open the address that otomatch serve has printed",
                {"WWW-Authenticate": "Bearer"},
            )
        place = f"/?{urlencode(query, doseq=True)}" if query else "/"
        response = RedirectResponse(place, 303, {"Cache-Control": "no-store"})
        secure = scope["scheme"] == "https"
        response.set_cookie(
            self._access.cookie,
            self._access.session,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return response


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in SECURITY_HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


def _without_port(host: str) -> str:
    """``[::1]:80`` -> ``::1``, ``localhost:80`` -> ``localhost``; "" for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        known = parts.port is None or parts.port >= 0  # raises where it is no number
        return (parts.hostname or "") if known and "@" not in host else ""
    except ValueError:
        return ""


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())
