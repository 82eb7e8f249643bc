"""Middleware that checks who sends a request before the application answers it.

A page of another site can make its visitor's browser send requests to 127.0.0.1, or point its own
host name there (DNS rebinding). Therefore a request must name this server in its Host header, and
if it states which page it comes from, that page must be this server's own.
"""

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otomatch.web.access import Access
from otomatch.web.api_errors import ApiError, error_response

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
"""Headers of every response."""

_PRINTED = "open the address that the server printed when it started"


class Guard:
    """Application that rejects requests not meant for it; the module explains which.

    Args:
        app: Application to protect.
        access: Who may use it.
        streams: Maximum number of responses in progress; further requests get 503.
    """

    def __init__(self, app: ASGIApp, access: Access, streams: int) -> None:
        self.app, self._access, self._streams = app, access, streams
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or reject it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # the API has no websockets
            return
        status = 0

        async def send_secured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message)
            await send(message)

        answer = self._answer(scope)
        self._in_progress += 1
        try:
            await answer(scope, receive, send_secured)
        except Exception:
            if status != 500:  # else it was logged and answered already
                raise
        finally:
            self._in_progress -= 1

    def _answer(self, scope: Scope) -> ASGIApp:
        """Return the application, or a response in its place."""
        try:
            return self._check(scope, Headers(scope=scope)) or self.app
        except ApiError as error:
            if scope["path"] != "/":
                return error_response(error)
            # A browser shows this text to a person.
            headers = {"Cache-Control": "no-store", **(error.headers or {})}
            return PlainTextResponse(f"otomatch: {error.detail}\n", error.status, headers)

    def _check(self, scope: Scope, headers: Headers) -> Response | None:
        """Return a response if the guard itself answers; raise ApiError to reject the request."""
        self._check_host(headers)
        self._check_origin(headers)
        if self._in_progress >= self._streams:
            raise ApiError(
                503, "the server is answering too many requests; try again", {"Retry-After": "1"}
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
            raise ApiError(
                403,
                f"the Host header is {', '.join(named) or 'missing'}, which is not a name of this "
                f"server; {_PRINTED}",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if origin is None and foreign and headers.get("sec-fetch-mode") != "navigate":
            raise ApiError(403, _foreign("another site"))
        if origin is not None:
            scheme, _, place = origin.partition("://")
            if scheme not in ("http", "https") or place != headers["host"]:
                raise ApiError(403, _foreign(origin[:80]))

    def _check_token(self, headers: Headers, token: str) -> None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), token):
            return
        if _same(_cookie(headers, self._access.cookie_name), self._access.cookie_value):
            return
        raise ApiError(
            401,
            f"the token is missing or wrong; {_PRINTED}, or send the header "
            "Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def _logged_in(self, query: dict[str, list[str]], scope: Scope) -> Response:
        """Set the session cookie and redirect to the address without the token."""
        if not _same(query.pop("token")[0], self._access.token or ""):
            raise ApiError(401, f"the token is wrong; {_PRINTED}", {"WWW-Authenticate": "Bearer"})
        place = f"/?{urlencode(query, doseq=True)}" if query else "/"
        response = RedirectResponse(place, 303, {"Cache-Control": "no-store"})
        secure = scope["scheme"] == "https"
        response.set_cookie(
            self._access.cookie_name,
            self._access.cookie_value,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return response


def _foreign(origin: str) -> str:
    return f"the request comes from a page of {origin}; only this server's own page may send any"


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in SECURITY_HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


def _without_port(host: str) -> str:
    """Return ``::1`` for ``[::1]:80``, ``localhost`` for ``localhost:80``, "" if invalid."""
    try:
        parts = urlsplit(f"//{host}")
        valid = parts.port is None or parts.port >= 0  # raises if the port is not a number
        return (parts.hostname or "") if valid and "@" not in host else ""
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
