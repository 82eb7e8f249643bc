"""Routes of one sound and of the whole library: audio, spectrogram, health, map, folders."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from otomatch import __version__
from otomatch.web import spectrogram as spectrograms
from otomatch.web.media import CACHING, PlayableResponse, etag, not_modified
from otomatch.web.problems import documented
from otomatch.web.schemas import Folder, Folders, Health, SoundMap
from otomatch.web.search_routes import Chosen, Seconds, Shared

router = APIRouter(prefix="/api")

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TYPES = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg", "audio/mp4", "audio/aac")
_KNOWN = {"description": "The client has it already (If-None-Match)."}


class _Audio(Response):
    media_type = "audio/*"


class _Picture(Response):
    media_type = spectrograms.MEDIA_TYPE


async def audio(request: Request, shared: Shared, sound: Chosen) -> Response:
    """The sound, whole or in ranges; FLAC in its place where browsers do not play its format."""
    playable = await shared.media.playable(request, sound)
    return not_modified(request, playable.stamp) or PlayableResponse(playable)


_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "Bytes that are wanted.",
    "schema": {"type": "string", "pattern": "^bytes=[0-9]{1,9}-$"},
    "example": "bytes=0-",
}
_sound_content = dict.fromkeys((*_TYPES, "audio/webm"), _BINARY)
router.add_api_route(
    "/sounds/{id}/audio",
    audio,
    methods=["GET"],
    tags=["sounds"],
    summary="Listen",
    response_class=_Audio,
    openapi_extra={"parameters": [_RANGE]},
    responses={
        **documented(404, 413, 416, 422),
        200: {"content": _sound_content, "description": "The whole sound."},
        206: {
            "content": {**_sound_content, "multipart/byteranges": _BINARY},
            "description": "The ranges that were asked for.",
        },
        304: _KNOWN,
    },
)


@router.get(
    "/sounds/{id}/spectrogram",
    tags=["sounds"],
    summary="Look at it",
    response_class=_Picture,
    responses={
        **documented(404, 422),
        200: {"content": {spectrograms.MEDIA_TYPE: _BINARY}, "description": "A PNG picture."},
        304: _KNOWN,
    },
)
async def spectrogram(
    request: Request,
    shared: Shared,
    sound: Chosen,
    start: Annotated[Seconds | None, Query(description="Seconds; the beginning.")] = None,
    end: Annotated[Seconds | None, Query(description="Seconds; the end.")] = None,
    width: Annotated[
        int, Query(ge=spectrograms.WIDTHS[0], le=spectrograms.WIDTHS[1], description="Pixels.")
    ] = 800,
    height: Annotated[
        int, Query(ge=spectrograms.HEIGHTS[0], le=spectrograms.HEIGHTS[1], description="Pixels.")
    ] = 128,
) -> Response:
    """A log-mel spectrogram, high pitch above; of the whole sound, or from start to end."""
    png, stamp = await shared.media.picture(request, sound, start, end, width, height)
    headers = {"Cache-Control": CACHING, "ETag": etag(stamp)}
    return not_modified(request, stamp) or _Picture(png, headers=headers)


@router.get("/health", tags=["library"], summary="What is served", responses=documented())
async def health(request: Request, shared: Shared) -> Health:
    """That the server answers, and what its library holds."""
    return await shared.table.run(request, shared.health, __version__, key="health")


@router.get("/folders", tags=["library"], summary="Folders", responses=documented())
async def folders(request: Request, shared: Shared) -> Folders:
    """All folders with sounds in them or below them, for the filter ``folder``."""
    catalogue = await shared.table.run(request, shared.catalogues.current, key="catalogue")
    return Folders(
        folders=[Folder(path=f.path, name=f.name, sounds=f.sounds) for f in catalogue.folders]
    )


@router.get("/map", tags=["library"], summary="Map", responses=documented())
async def sound_map(request: Request, shared: Shared) -> SoundMap:
    """The library in two dimensions. The first call begins the computation: ask again."""
    version = await shared.table.run(request, lambda: shared.library.version, key="version")
    return shared.map.current(version)
