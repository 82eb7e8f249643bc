"""What is heard and seen of a sound: the file itself or its conversion, and its spectrogram."""

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
from otomatch.web import conversion, spectrogram
from otomatch.web.conversion import Conversions
from otomatch.web.formats import media_type
from otomatch.web.open_files import OpenedSound, OpenFile, open_sound
from otomatch.web.pools import Pool
from otomatch.web.problems import LOGGER, Problem, problem_response

# The browser keeps it, and asks each time whether it is still the same; nobody else keeps it.
CACHING = "private, no-cache"


@dataclass(frozen=True, slots=True)
class Playable:
    """A file that browsers play.

    Attributes:
        file: the file.
        media_type: of what it holds.
        name: for a client that saves it.
        stamp: changes when the file does.
    """

    file: OpenFile
    media_type: str
    name: str
    stamp: str


class Media:
    """Opens, converts and draws the sounds of a library.

    Args:
        light: pool for work of milliseconds.
        heavy: pool for work of up to many seconds.
        conversions: where converted sounds are kept.
        picture_bytes: bytes of all pictures that are kept.
    """

    def __init__(
        self, light: Pool, heavy: Pool, conversions: Conversions, picture_bytes: int
    ) -> None:
        self._light, self._heavy, self._conversions = light, heavy, conversions
        self._pictures: LRUCache[Hashable, bytes] = LRUCache(picture_bytes, getsizeof=len)
        self._types: LRUCache[str, str] = LRUCache(4096)  # "" for what must be converted
        self._lock = Lock()

    async def playable(self, request: Request, sound: Sound) -> Playable:
        """A sound in a form that browsers play.

        Raises:
            Problem: 403, 404, 413, 503.
            AudioError: the file cannot be decoded.
        """
        source, kind = await self._light.run(request, self._open, sound)
        path = Path(sound.path)
        if kind:
            return Playable(source, kind, path.name, source.stamp)
        stamp, name = source.stamp, f"{path.stem}.flac"
        converted = self._conversions.open(stamp)
        if converted is None:
            # Nothing here closes the source: a thread may go on with it when this client has left.
            await self._heavy.run(request, self._convert, source, key=("convert", stamp))
            converted = self._conversions.open(stamp)
        if converted is None:
            raise Problem(
                503, "too many sounds are being converted; try again", {"Retry-After": "5"}
            )
        return Playable(converted, conversion.MEDIA_TYPE, name, f"{stamp}-flac")

    async def picture(self, request: Request, sound: Sound, *span: Any) -> tuple[bytes, str]:
        """A spectrogram, and its stamp; ``span`` and errors as for `spectrogram.picture`."""
        source, _ = await self._light.run(request, self._open, sound)
        key = (source.stamp, *span)
        with self._lock:
            drawn: bytes | None = self._pictures.get(key)
        if drawn is None:
            drawn = await self._heavy.run(request, self._draw, source, span, key=key)
        return drawn, "-".join(map(str, key))

    def _open(self, sound: Sound) -> tuple[OpenedSound, str]:
        source = open_sound(sound)
        with self._lock:
            kind = self._types.get(source.stamp)
        if kind is None:
            with _named(source):
                kind = media_type(source.path, source.suffix) or ""
            with self._lock:
                self._types[source.stamp] = kind
        return source, kind

    def _convert(self, source: OpenedSound) -> None:
        with _named(source):
            try:
                self._conversions.make(source)
            except (OSError, soundfile.LibsndfileError, AssertionError) as error:
                LOGGER.error("%s: could not be converted: %s", source.sound.path, error)
                raise Problem(
                    503,
                    f"{source.sound.path}: could not be converted for the browser; is there room "
                    "left on the disk of the server's temporary files (TMPDIR)?",
                    {"Retry-After": "30"},
                ) from None

    def _draw(self, source: OpenedSound, span: tuple[Any, ...]) -> bytes:
        with _named(source):
            drawn = spectrogram.picture(source, *span)
        with self._lock:
            self._pictures[source.stamp, *span] = drawn
        return drawn


@contextmanager
def _named(source: OpenedSound) -> Iterator[None]:
    """Errors name the file as the library does."""
    place = str(source.path)
    try:
        yield
    except AudioError as error:
        raise AudioError(str(error).replace(place, source.sound.path)) from error


class PlayableResponse(FileResponse):
    """A file by HTTP Range; what was opened is what is sent, and it is closed at the end."""

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
        """Send the file; an impossible range is refused in the API's form."""
        refused = 0

        async def in_form(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message["status"]
                size = self._playable.file.stat.st_size
                await problem_response(_range_problem(refused, size))(scope, receive, send)
            elif not refused:
                await send(message)

        try:
            await super().__call__(scope, receive, in_form)
        finally:
            self._playable.file.close()


def _range_problem(status: int, size: int) -> Problem:
    if status == 416:
        return Problem(
            416,
            f"the range lies outside the sound, which has {size} bytes",
            {"Content-Range": f"bytes */{size}"},
        )
    return Problem(status, "the header Range is malformed; expected for example bytes=0-1023")


def etag(stamp: str) -> str:
    """The header ETag for a stamp."""
    return f'"{stamp}"'


def not_modified(request: Request, stamp: str) -> Response | None:
    """The answer to a client that has it already; None for others."""
    known = [tag.strip().removeprefix("W/") for tag in _header(request).split(",")]
    if etag(stamp) not in known and "*" not in known:
        return None
    return Response(status_code=304, headers={"ETag": etag(stamp), "Cache-Control": CACHING})


def _header(request: Request) -> str:
    return request.headers.get("if-none-match", "")
