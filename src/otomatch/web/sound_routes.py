"""Routes of a single sound and of the whole library: audio, spectrogram, health, map, folders."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from otomatch import __version__
from otomatch.web.api_errors import documented
from otomatch.web.dependencies import AppServices, PathSound, Seconds
from otomatch.web.media import CACHING, PlayableResponse, etag, not_modified
from otomatch.web.schemas import Folder, Folders, Health, SoundMap
from otomatch.web.spectrograms import HEIGHTS, MEDIA_TYPE, WIDTHS

router = APIRouter(prefix="/api")

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TYPES = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg", "audio/mp4", "audio/aac")
_NOT_MODIFIED = {"description": "Not modified since the version in If-None-Match."}


class _Audio(Response):
    media_type = "audio/*"


class _Png(Response):
    media_type = MEDIA_TYPE


async def audio(request: Request, services: AppServices, sound: PathSound) -> Response:
    """Return the sound or a range of it, as FLAC if browsers cannot play its format."""
    playable = await services.media.playable(request, sound)
    return not_modified(request, playable.stamp) or PlayableResponse(playable)


_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "Range of bytes to return.",
    "schema": {"type": "string", "pattern": "^bytes=[0-9]{1,9}-$"},
    "example": "bytes=0-",
}
_sound_content = dict.fromkeys((*_TYPES, "audio/webm"), _BINARY)
router.add_api_route(
    "/sounds/{id}/audio",
    audio,
    methods=["GET"],
    tags=["sounds"],
    summary="Get the audio",
    response_class=_Audio,
    openapi_extra={"parameters": [_RANGE]},
    responses={
        **documented(404, 413, 416, 422),
        200: {"content": _sound_content, "description": "Whole sound."},
        206: {
            "content": {**_sound_content, "multipart/byteranges": _BINARY},
            "description": "Requested ranges of the sound.",
        },
        304: _NOT_MODIFIED,
    },
)


@router.get(
    "/sounds/{id}/spectrogram",
    tags=["sounds"],
    summary="Get a spectrogram",
    response_class=_Png,
    responses={
        **documented(404, 422),
        200: {"content": {MEDIA_TYPE: _BINARY}, "description": "PNG image."},
        304: _NOT_MODIFIED,
    },
)
async def spectrogram(
    request: Request,
    services: AppServices,
    sound: PathSound,
    start: Annotated[Seconds | None, Query(description="Start of the span, in seconds.")] = None,
    end: Annotated[Seconds | None, Query(description="End of the span, in seconds.")] = None,
    width: Annotated[int, Query(ge=WIDTHS[0], le=WIDTHS[1], description="Width in pixels.")] = 800,
    height: Annotated[
        int, Query(ge=HEIGHTS[0], le=HEIGHTS[1], description="Height in pixels.")
    ] = 128,
) -> Response:
    """Return a log-mel spectrogram of the sound or of a span of it, high frequencies at the top."""
    png, stamp = await services.media.spectrogram(request, sound, start, end, width, height)
    headers = {"Cache-Control": CACHING, "ETag": etag(stamp)}
    return not_modified(request, stamp) or _Png(png, headers=headers)


@router.get("/health", tags=["library"], summary="Get the status", responses=documented())
async def health(request: Request, services: AppServices) -> Health:
    """Return the state of the server and the totals of its library."""
    return await services.table.run(request, services.health, __version__, key="health")


@router.get("/folders", tags=["library"], summary="List folders", responses=documented())
async def folders(request: Request, services: AppServices) -> Folders:
    """Return all folders that contain sounds, for the ``folder`` filter."""
    catalogue = await services.table.run(request, services.catalogues.current, key="catalogue")
    return Folders(
        folders=[Folder(path=f.path, name=f.name, sounds=f.sounds) for f in catalogue.folders]
    )


@router.get("/map", tags=["library"], summary="Get the map", responses=documented())
async def sound_map(request: Request, services: AppServices) -> SoundMap:
    """Return the two-dimensional map of the library.

    The first request starts the computation; repeat it until ``state`` is no longer ``computing``.
    """
    version = await services.table.run(
        request, lambda: services.library.store.version, key="version"
    )
    return services.map.current(version)
