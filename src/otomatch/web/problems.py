"""Errors of the API: ``{"detail": "what was found, and what to do"}`` with a fitting status."""

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

LOGGER = logging.getLogger("otomatch.web")


class Problem(Exception):  # noqa: N818
    """A request that cannot be answered as it was meant.

    Args:
        status: of the response.
        detail: what was found, and what to do.
        headers: further headers of the response.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class Detail(BaseModel):
    """Why a request failed."""

    detail: str = Field(description="What was found, and what to do.")


_WHY = {
    400: "The request is wrong: a parameter is missing or out of range.",
    401: "The server was started with a token, and the request does not carry it.",
    403: "Wrong Host or Origin, or a file that leads out of the indexed folders.",
    404: "The library has no such sound, or its file is gone.",
    408: "The sound did not arrive, or could not be decoded, in time.",
    413: "The sound is too large or too long.",
    415: "The request does not carry a sound as multipart/form-data.",
    416: "The range lies outside the sound.",
    422: "The file is no sound that can be decoded.",
    500: "The server failed; its log says why.",
    503: "Too much to do at the moment, or the library or the disk fails: try again after the "
    "seconds in Retry-After.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: the statuses given, and those that any request can get."""
    wanted = sorted({400, 401, 403, 500, 503, *statuses})
    # Written out, since FastAPI gives a model the media type of the route, be it audio/*.
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Detail"}}}
    found: dict[int | str, dict[str, Any]] = {
        status: {"content": content, "description": _WHY[status]} for status in wanted
    }
    found[503]["headers"] = _RETRY
    return found


def problem_response(problem: Problem) -> JSONResponse:
    """A problem as a response."""
    headers = {"Cache-Control": "no-store", **(problem.headers or {})}
    return JSONResponse({"detail": problem.detail}, problem.status, headers)


_FORESEEN = (Problem, HTTPException, RequestValidationError, ClientDisconnect, OtomatchError)


def handle_problems(app: FastAPI) -> None:
    """Answer every error of an application in the one form."""

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        problem = as_problem(error)
        if problem.status == 405:
            problem.headers = _allowed(app, request.url.path) or problem.headers
        return problem_response(problem)

    for kind in (*_FORESEEN, Exception):
        app.add_exception_handler(kind, on_problem)


def _allowed(app: FastAPI, path: str) -> dict[str, str] | None:
    """All methods of an address; the framework names those of its first route only."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            head = ["HEAD"] if "get" in operations else []
            return {"Allow": ", ".join(sorted([*map(str.upper, operations), *head]))}
    return None


_FRAMEWORK = {
    "Not Found": "there is nothing at this address; the page is at /, and /api/openapi.json "
    "describes the API",
    "Method Not Allowed": "this address does not take the request's method; the header Allow names "
    "those that it takes, and /api/openapi.json describes them",
    "Too many files": "the form has more than one file; send one sound at a time",
}
_LANCE = "lance error: "  # what LanceDB begins its RuntimeErrors with


def as_problem(error: Exception) -> Problem:
    """The problem that an exception stands for; what nobody foresaw is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        detail = _FRAMEWORK.get(str(error.detail).partition(".")[0], str(error.detail))
        return Problem(error.status_code, detail, dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        return Problem(400, sentences(error.errors()))
    if isinstance(error, ClientDisconnect):
        return Problem(499, "the client has left")
    if isinstance(error, InvalidInputError):
        return Problem(400, str(error))
    if isinstance(error, AudioError):
        return Problem(422, str(error))
    if isinstance(error, LibraryError) or _LANCE in str(error):
        LOGGER.error("%s", error)
        return Problem(
            503,
            "the library cannot be read: it was deleted, moved or damaged while it was served; put "
            "it back where it was, or index the sounds again and start otomatch serve anew",
            {"Retry-After": "10"},
        )
    if isinstance(error, OtomatchError):
        LOGGER.error("%s", error)
        return Problem(500, str(error))
    LOGGER.error("request failed", exc_info=error)
    return Problem(500, "the server failed; its log says why")


CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
"""Characters, as in a regular expression, that no text has: not tabs and ends of lines."""
_CONTROLS = re.compile(f"[{CONTROLS}]")


def sentences(errors: Sequence[Any]) -> str:
    """What pydantic found wrong, in a line."""
    return "; ".join(map(_sentence, errors))


_PLAIN = {
    "missing": "is missing",
    "string_pattern_mismatch": "is blank; describe a sound",
}


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in ("query", "path"))
    if error["type"] == "string_pattern_mismatch" and _CONTROLS.search(error["input"]):
        return f"{where} has control characters, such as NUL; leave them out"
    if error["type"] in _PLAIN:
        return f"{where} {_PLAIN[error['type']]}"
    message = error["msg"]
    return f"{where}: {message[:1].lower()}{message[1:]}, got {error.get('input')!r:.80}"
