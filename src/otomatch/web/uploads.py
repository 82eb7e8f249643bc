"""Sounds that are sent as queries: received within bounds, decoded elsewhere, never kept."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.types import Message

from otomatch.audio.waveform import Waveform
from otomatch.web.decoding import TARGET
from otomatch.web.limits import MEGABYTE, Limits
from otomatch.web.problems import Problem
from otomatch.web.worker import WorkerCrashError, WorkerFailure, WorkerProcess, WorkerTimeoutError

FIELD = "sound"
"""Name of the form's field that holds the file."""

_FORM_OVERHEAD = 64 << 10  # of the other fields, and the lines between them


@dataclass(frozen=True, slots=True)
class Upload:
    """A sound that has been received.

    Attributes:
        name: what the client calls the file.
        fields: the form's other fields.
        path: where it lies until the request is answered.
    """

    name: str
    fields: Mapping[str, str]
    path: Path


class Receiver:
    """Receives forms with a sound, within bounds of bytes, seconds and number.

    Args:
        folder: private folder for what is received.
        limits: the bounds.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._under_way = 0

    async def receive(self, request: Request, use: "Callable[[Upload], Any]") -> Any:
        """Receive a form, and await what ``use`` makes of it; then the file is deleted.

        Raises:
            Problem: 408, 413, 415, 400 or 503, see the message.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise Problem(415, f"send the sound as multipart/form-data, field {FIELD!r}")
        if self._under_way >= self._limits.uploads:
            raise Problem(503, "too many sounds arrive at once; try again", {"Retry-After": "2"})
        self._under_way += 1
        try:
            form = await self._form(request)
            try:
                return await self._stored(form, use)
            finally:
                await form.close()
        finally:
            self._under_way -= 1

    async def _form(self, request: Request) -> FormData:
        most = self._limits.upload_bytes + _FORM_OVERHEAD
        bounded = Request(request.scope, _bounded(request, most, self._limits.upload_bytes))
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                return await bounded.form(max_files=1, max_fields=16, max_part_size=16 << 10)
        except TimeoutError:
            raise Problem(
                408,
                f"the sound did not arrive within {self._limits.receive_seconds:g} s; "
                "send a shorter one",
            ) from None

    async def _stored(self, form: FormData, use: "Callable[[Upload], Any]") -> Any:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Problem(400, f"the form has no file in its field {FIELD!r}")
        if not file.size:
            raise Problem(422, f"{file.filename!r} is empty (0 bytes); choose another file")
        if file.size > self._limits.upload_bytes:
            raise Problem(413, _too_large(self._limits.upload_bytes))
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        with tempfile.NamedTemporaryFile(dir=self._folder) as copy:
            while block := await file.read(MEGABYTE):
                await asyncio.to_thread(copy.write, block)
            copy.flush()
            name = Path(file.filename or "sound").name or "sound"
            return await use(Upload(name, fields, Path(copy.name)))


def _bounded(request: Request, most: int, limit: int) -> "Callable[[], Any]":
    """Receive what the client sends, but no more than ``most`` bytes, whatever it has announced."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise Problem(413, _too_large(limit))
        return message

    return receive


def _too_large(limit: int) -> str:
    return f"the sound is larger than {limit / MEGABYTE:g} MB; cut out the part that you mean"


class Decoder:
    """Decodes what was received, in a process that is killed where it hangs.

    Args:
        limits: the bounds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.worker = WorkerProcess(TARGET, limits.decode_memory)

    def decode(self, upload: Upload, rate: int) -> Waveform:
        """The sound, mono at ``rate`` Hz, shape (samples,).

        Raises:
            Problem: 408, 413 or 422, see the message.
        """
        limits = self._limits
        job = {"path": str(upload.path), "seconds": limits.upload_seconds, "rate": rate}
        try:
            _, samples = self.worker.call(job, limits.decode_seconds)
        except WorkerTimeoutError:
            raise Problem(
                408,
                f"{upload.name}: decoding took longer than {limits.decode_seconds:g} s; "
                "convert it to WAV or FLAC",
            ) from None
        except WorkerCrashError:
            raise Problem(422, f"{upload.name}: broke the decoder; {_REMEDY}") from None
        except WorkerFailure as error:
            raise _refused(upload, error, limits) from None
        return np.frombuffer(bytearray(samples), np.float32)  # writable, as torch wants it


_REMEDY = "save it as WAV, FLAC, MP3 or OGG and try again"


def _refused(upload: Upload, error: WorkerFailure, limits: Limits) -> Problem:
    if error.kind == "SoundTooLongError":
        return Problem(
            413,
            f"{upload.name} lasts longer than {limits.upload_seconds:g} s; "
            "cut out the part that you mean",
        )
    if error.kind == "MissingDecoderError":
        return Problem(
            422,
            f"{upload.name}: can be decoded, if at all, by a package only that is not installed "
            f"where otomatch serve runs; install it there with: pip install 'otomatch[codecs]', "
            f"or {_REMEDY}",
        )
    if error.kind == "MemoryError":
        return Problem(422, f"{upload.name}: takes too much memory to decode; {_REMEDY}")
    return Problem(422, f"{upload.name}: is no sound that can be decoded; {_REMEDY}")
