"""Errors of the API: JSON ``{"detail": "cause and remedy"}`` with a matching status code."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from otomatch.errors import AudioError, InvalidInputError, LibraryError, OtomatchError

_LOGGER = logging.getLogger(__name__)


class ApiError(Exception):
    """Request that cannot be answered as intended.

    Args:
        status: HTTP status code of the response.
        detail: Cause and remedy, for the client.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class Detail(BaseModel):
    """Reason why a request failed."""

    detail: str = Field(description="Cause and remedy.")


_MEANINGS = {
    400: "Invalid request: a parameter is missing or out of range.",
    401: "Token missing or wrong, on a server that was started with one.",
    403: "Wrong Host or Origin header, or a file outside the indexed folders.",
    404: "Unknown sound, or a sound whose file no longer exists.",
    408: "Upload or decoding took too long.",
    413: "Sound too large or too long.",
    415: "Request body is not multipart/form-data.",
    416: "Range outside the file.",
    422: "File that cannot be decoded as sound.",
    500: "Server error; the server's log has the details.",
    503: "Server overloaded, or library or disk unavailable; retry after the number of seconds in "
    "Retry-After.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route: the given statuses and those that any request can get.

    The content is spelled out because FastAPI would otherwise give an error the media type of the
    route, such as ``audio/*``.
    """
    wanted = sorted({400, 401, 403, 500, 503, *statuses})
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Detail"}}}
    found: dict[int | str, dict[str, Any]] = {
        status: {"content": content, "description": _MEANINGS[status]} for status in wanted
    }
    found[503]["headers"] = _RETRY
    return found


def error_response(error: ApiError) -> JSONResponse:
    """Return the response to a request that failed with an error."""
    headers = {"Cache-Control": "no-store", **(error.headers or {})}
    return JSONResponse({"detail": error.detail}, error.status, headers)


_EXPECTED = (ApiError, HTTPException, RequestValidationError, ClientDisconnect, OtomatchError)


def handle_errors(app: FastAPI) -> None:
    """Register handlers that answer every error of an application as `Detail`."""

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        answer = as_api_error(error)
        if answer.status == 405:
            answer.headers = _allowed(app, request.url.path) or answer.headers
        return error_response(answer)

    for kind in (*_EXPECTED, Exception):
        app.add_exception_handler(kind, on_error)


def _allowed(app: FastAPI, path: str) -> dict[str, str] | None:
    """Return an Allow header with all methods of a path; FastAPI lists those of one route only."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            head = ["HEAD"] if "get" in operations else []
            return {"Allow": ", ".join(sorted([*map(str.upper, operations), *head]))}
    return None


_FRAMEWORK = {
    "Not Found": "nothing exists at this path; the search page is at /, and /api/openapi.json "
    "describes the API",
    "Method Not Allowed": "this path does not support the request's method; the Allow header lists "
    "the supported methods, and /api/openapi.json describes them",
    "Too many files": "the form contains more than one file; send one sound at a time",
}
_LANCE = "lance error: "  # prefix of LanceDB's RuntimeErrors


def as_api_error(error: Exception) -> ApiError:
    """Convert an exception to the error to answer with, and log it if it is the server's fault."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        detail = _FRAMEWORK.get(str(error.detail).partition(".")[0], str(error.detail))
        return ApiError(error.status_code, detail, dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        return ApiError(400, sentences(error.errors()))
    if isinstance(error, ClientDisconnect):
        return ApiError(499, "the client disconnected")
    if isinstance(error, InvalidInputError):
        return ApiError(400, str(error))
    if isinstance(error, AudioError):
        return ApiError(422, str(error))
    return _server_error(error)


def _server_error(error: Exception) -> ApiError:
    if isinstance(error, LibraryError) or _LANCE in str(error):
        _LOGGER.error("%s", error)
        return ApiError(
            503,
            "the library cannot be read: it was deleted, moved or damaged while it was being "
            "served; restore it, or index the sounds again and restart the server",
            {"Retry-After": "10"},
        )
    if isinstance(error, OtomatchError):
        _LOGGER.error("%s", error)
        return ApiError(500, str(error))
    _LOGGER.error("request failed", exc_info=error)
    return ApiError(500, "the server failed unexpectedly; see its log for the details")


CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
"""Control characters other than tabs and line breaks, as a range in a regular expression."""
_CONTROLS = re.compile(f"[{CONTROLS}]")


def sentences(errors: Sequence[Any]) -> str:
    """Summarize pydantic's validation errors in one line."""
    return "; ".join(map(_sentence, errors))


_PLAIN = {
    "missing": "is missing",
    "string_pattern_mismatch": "is blank; describe a sound",
}


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in ("query", "path"))
    if error["type"] == "string_pattern_mismatch" and _CONTROLS.search(error["input"]):
        return f"{where} contains control characters, such as NUL; remove them"
    if error["type"] in _PLAIN:
        return f"{where} {_PLAIN[error['type']]}"
    message = error["msg"]
    return f"{where}: {message[:1].lower()}{message[1:]}, got {error.get('input')!r:.80}"
