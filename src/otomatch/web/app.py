"""The application: the API under ``/api`` and the page at ``/``, behind a `Guard`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from otomatch import __version__
from otomatch.library import SoundLibrary
from otomatch.web import search_routes, sound_routes
from otomatch.web.access import Access
from otomatch.web.api_errors import ApiError, Detail, handle_errors
from otomatch.web.guard import Guard
from otomatch.web.limits import Limits
from otomatch.web.services import Services

STATIC = Path(__file__).parent / "static"
"""Folder of the page: index.html and the files it loads."""


def create_app(
    library: SoundLibrary,
    access: Access | None = None,
    limits: Limits | None = None,
    static: Path = STATIC,
    warm: bool = True,
) -> Guard:
    """Make the application that serves a library.

    Args:
        library: Library to serve; it may change while it is being served.
        access: Who may use the server; by default, this machine only.
        limits: Limits of the server.
        static: Folder of the page.
        warm: True to start at once everything that the first requests would wait for.

    Returns:
        An ASGI application. The end of its lifespan stops everything that it has started.
    """
    access, limits = access or Access(), limits or Limits()
    services = Services(library, limits)
    app = _Application(
        title="otomatch",
        version=__version__,
        summary="Search a sound library by description or by sound, and listen to the results.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's documentation pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: _running(services, warm),
    )
    app.state.services = services
    app.locked = access.token is not None
    handle_errors(app)
    for router in (search_routes.router, sound_routes.router):
        app.include_router(router)
        _add_heads(app, router)
    _add_page(app, static)
    return Guard(app, access, limits.streams)


@asynccontextmanager
async def _running(services: Services, warm: bool) -> AsyncIterator[None]:
    warming = [asyncio.create_task(services.warm())] if warm else []
    try:
        yield
    finally:
        services.close()
        await asyncio.gather(*warming)


_TOKEN = {"type": "http", "scheme": "bearer", "description": "Token of the server."}


class _Application(FastAPI):
    locked = False

    def openapi(self) -> dict[str, Any]:
        """Return the document without FastAPI's own responses to invalid parameters."""
        document = super().openapi()
        for operations in document["paths"].values():
            for operation in operations.values():
                answer = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(answer):
                    del operation["responses"]["422"]
        schemas = document["components"]["schemas"]
        schemas["Detail"] = Detail.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        if self.locked:
            document["components"]["securitySchemes"] = {"token": _TOKEN}
            document["security"] = [{"token": []}]
        return document


class _Static(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"  # otomatch may have been updated
        return response

    def lookup_path(self, path: str) -> Any:
        try:
            return super().lookup_path(path)
        except ValueError:  # the path contains a null byte
            return "", None


def _add_heads(app: FastAPI, router: APIRouter) -> None:
    """Answer HEAD wherever GET is answered, without listing it in the OpenAPI document."""
    for route in router.routes:
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            app.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                response_class=route.response_class,
                include_in_schema=False,
            )


def _add_page(app: FastAPI, static: Path) -> None:
    async def page() -> Response:
        index = static / "index.html"
        if not index.is_file():
            raise ApiError(404, "the page is not installed; reinstall otomatch, or use the API")
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    both = ["GET", "HEAD"]
    app.add_api_route("/", page, methods=both, include_in_schema=False, response_class=FileResponse)
    if static.is_dir():
        app.mount("/static", _Static(directory=static))
