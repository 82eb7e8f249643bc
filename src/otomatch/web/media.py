"""Audio and spectrograms of the library's sounds, as the browser can play and display them."""

import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import soundfile
from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from otomatch.errors import AudioError
from otomatch.library.records import Sound
from otomatch.web import conversion, spectrograms
from otomatch.web.api_errors import ApiError, error_response
from otomatch.web.conversion import Conversions
from otomatch.web.formats import media_type
from otomatch.web.open_files import OpenedSound, OpenFile, open_sound
from otomatch.web.pools import BoundedPool

CACHING = "private, no-cache"
"""Cache-Control header: only the browser caches the response, and revalidates it on every use."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Playable:
    """File that browsers can play.

    Attributes:
        file: Open file.
        media_type: Media type of its content.
        name: File name to suggest when the client saves it.
        stamp: Identifier that changes whenever the file does.
    """

    file: OpenFile
    media_type: str
    name: str
    stamp: str


class Media:
    """Open, convert and draw the sounds of a library.

    Args:
        light: Pool for work that takes milliseconds.
        heavy: Pool for work that may take many seconds.
        conversions: Cache of converted sounds.
        spectrogram_bytes: Maximum size of all cached spectrograms together, in bytes.
    """

    def __init__(
        self,
        light: BoundedPool,
        heavy: BoundedPool,
        conversions: Conversions,
        spectrogram_bytes: int,
    ) -> None:
        self._light, self._heavy, self._conversions = light, heavy, conversions
        self._drawn: LRUCache[Hashable, bytes] = LRUCache(spectrogram_bytes, getsizeof=len)
        self._types: LRUCache[str, str] = LRUCache(4096)  # "" if the sound must be converted
        self._lock = Lock()

    async def playable(self, request: Request, sound: Sound) -> Playable:
        """Return a sound in a format that browsers can play, converting it if necessary.

        Raises:
            ApiError: 403, 404, 413, 499 or 503.
            AudioError: The file cannot be decoded.
        """
        source, kind = await self._light.run(request, self._open, sound)
        path = Path(sound.path)
        if kind:
            return Playable(source, kind, path.name, source.stamp)
        stamp, name = source.stamp, f"{path.stem}.flac"
        converted = self._conversions.open(stamp)
        if converted is None:
            # The source stays open: a thread may go on using it after this client disconnected.
            await self._heavy.run(request, self._convert, source, key=("convert", stamp))
            converted = self._conversions.open(stamp)
        if converted is None:
            raise ApiError(
                503, "too many sounds are being converted; try again", {"Retry-After": "5"}
            )
        return Playable(converted, conversion.MEDIA_TYPE, name, f"{stamp}-flac")

    async def spectrogram(self, request: Request, sound: Sound, *span: Any) -> tuple[bytes, str]:
        """Return a spectrogram as PNG, and its stamp.

        ``span`` and the errors are those of `spectrograms.draw_spectrogram`.
        """
        source, _ = await self._light.run(request, self._open, sound)
        key = (source.stamp, *span)
        with self._lock:
            drawn: bytes | None = self._drawn.get(key)
        if drawn is None:
            drawn = await self._heavy.run(request, self._draw, source, span, key=key)
        return drawn, "-".join(map(str, key))

    def _open(self, sound: Sound) -> tuple[OpenedSound, str]:
        source = open_sound(sound)
        with self._lock:
            kind = self._types.get(source.stamp)
        if kind is None:
            with _library_path(source):
                kind = media_type(source.path, source.suffix) or ""
            with self._lock:
                self._types[source.stamp] = kind
        return source, kind

    def _convert(self, source: OpenedSound) -> None:
        with _library_path(source):
            try:
                self._conversions.make(source)
            except (OSError, soundfile.LibsndfileError, AssertionError) as error:
                _LOGGER.error("%s could not be converted: %s", source.sound.path, error)
                raise ApiError(
                    503,
                    f"{source.sound.path} could not be converted for the browser; check that the "
                    "server has free disk space for temporary files (TMPDIR)",
                    {"Retry-After": "30"},
                ) from None

    def _draw(self, source: OpenedSound, span: tuple[Any, ...]) -> bytes:
        with _library_path(source):
            drawn = spectrograms.draw_spectrogram(source, *span)
        with self._lock:
            self._drawn[source.stamp, *span] = drawn
        return drawn


@contextmanager
def _library_path(source: OpenedSound) -> Iterator[None]:
    """Make errors name a file by its path in the library, not by that of the open descriptor."""
    place = str(source.path)
    try:
        yield
    except AudioError as error:
        raise AudioError(str(error).replace(place, source.sound.path)) from error


class PlayableResponse(FileResponse):
    """Response with a file or the requested ranges of it; closes the file when it is sent."""

    def __init__(self, playable: Playable) -> None:
        super().__init__(
            playable.file.path,
            headers={
                "Cache-Control": CACHING,
                "ETag": etag(playable.stamp),
                "Content-Disposition": f"inline; filename*=UTF-8''{quote(playable.name, safe='')}",
            },
            media_type=playable.media_type,
            stat_result=playable.file.stat,
        )
        self._playable = playable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or answer an invalid range as the API answers every error."""
        refused = 0

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message["status"]
                size = self._playable.file.stat.st_size
                await error_response(_range_error(refused, size))(scope, receive, send)
            elif not refused:
                await send(message)

        try:
            await super().__call__(scope, receive, send_or_refuse)
        finally:
            self._playable.file.close()


def _range_error(status: int, size: int) -> ApiError:
    if status == 416:
        return ApiError(
            416,
            f"the requested range is outside the file, which has {size} bytes",
            {"Content-Range": f"bytes */{size}"},
        )
    return ApiError(status, "the Range header is malformed; expected, for example, bytes=0-1023")


def etag(stamp: str) -> str:
    """Return the ETag header for a stamp."""
    return f'"{stamp}"'


def not_modified(request: Request, stamp: str) -> Response | None:
    """Return a 304 response if the client has this version already, else None."""
    known = [tag.strip().removeprefix("W/") for tag in _if_none_match(request).split(",")]
    if etag(stamp) not in known and "*" not in known:
        return None
    return Response(status_code=304, headers={"ETag": etag(stamp), "Cache-Control": CACHING})


def _if_none_match(request: Request) -> str:
    return request.headers.get("if-none-match", "")
