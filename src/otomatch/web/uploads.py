"""Receive sounds sent as queries within limits, decode them in a separate process, keep none."""

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
from otomatch.web.api_errors import ApiError
from otomatch.web.decoding import TARGET
from otomatch.web.limits import MEGABYTE, Limits
from otomatch.web.worker import WorkerCrashError, WorkerJobError, WorkerProcess, WorkerTimeoutError

FIELD = "sound"
"""Name of the form field that contains the file."""

_FORM_OVERHEAD = 64 << 10  # bytes for the other fields and the separators


@dataclass(frozen=True, slots=True)
class Upload:
    """Sound that was received.

    Attributes:
        name: File name given by the client.
        fields: Other fields of the form.
        path: Path of the file, which exists until the request is answered.
    """

    name: str
    fields: Mapping[str, str]
    path: Path


class Receiver:
    """Receive forms with a sound, within limits of size, time and number.

    Args:
        folder: Private folder for the received files.
        limits: Limits of the server.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._in_progress = 0

    async def receive(self, request: Request, use: "Callable[[Upload], Any]") -> Any:
        """Receive a form, pass it to ``use``, delete the file and return the awaited result.

        Raises:
            ApiError: 400, 408, 413, 415, 422 or 503; the message has the details.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise ApiError(
                415,
                f"the request is not a form; send the sound as multipart/form-data, "
                f"in the field {FIELD!r}",
            )
        if self._in_progress >= self._limits.uploads:
            raise ApiError(
                503, "too many sounds are being uploaded; try again", {"Retry-After": "2"}
            )
        self._in_progress += 1
        try:
            form = await self._form(request)
            try:
                return await self._stored(form, use)
            finally:
                await form.close()
        finally:
            self._in_progress -= 1

    async def _form(self, request: Request) -> FormData:
        most = self._limits.upload_bytes + _FORM_OVERHEAD
        bounded = Request(request.scope, _bounded(request, most, self._limits.upload_bytes))
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                return await bounded.form(max_files=1, max_fields=16, max_part_size=16 << 10)
        except TimeoutError:
            raise ApiError(
                408,
                f"the sound was not received within {self._limits.receive_seconds:g} s; "
                "send a shorter one",
            ) from None

    async def _stored(self, form: FormData, use: "Callable[[Upload], Any]") -> Any:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise ApiError(400, f"the form has no file in the field {FIELD!r}")
        if not file.size:
            raise ApiError(422, f"{file.filename!r} is empty (0 bytes); choose another file")
        if file.size > self._limits.upload_bytes:
            raise ApiError(413, _too_large(self._limits.upload_bytes))
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        with tempfile.NamedTemporaryFile(dir=self._folder) as copy:
            while block := await file.read(MEGABYTE):
                await asyncio.to_thread(copy.write, block)
            copy.flush()
            name = Path(file.filename or "sound").name or "sound"
            return await use(Upload(name, fields, Path(copy.name)))


def _bounded(request: Request, most: int, limit: int) -> "Callable[[], Any]":
    """Return a receive function that stops after ``most`` bytes, whatever the client announced."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise ApiError(413, _too_large(limit))
        return message

    return receive


def _too_large(limit: int) -> str:
    return f"the sound is larger than {limit / MEGABYTE:g} MB; {_SHORTEN}"


class Decoder:
    """Decode uploads in a process that is killed if it hangs.

    Args:
        limits: Limits of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.worker = WorkerProcess(TARGET, limits.decode_memory)

    def decode(self, upload: Upload, rate: int) -> Waveform:
        """Return the sound in mono at ``rate`` Hz, shape (samples,).

        Raises:
            ApiError: 408, 413 or 422; the message has the details.
        """
        limits = self._limits
        job = {"path": str(upload.path), "seconds": limits.upload_seconds, "rate": rate}
        try:
            _, samples = self.worker.call(job, limits.decode_seconds)
        except WorkerTimeoutError:
            raise ApiError(
                408,
                f"{upload.name}: decoding took longer than {limits.decode_seconds:g} s; "
                "convert the file to WAV or FLAC",
            ) from None
        except WorkerCrashError:
            raise ApiError(422, f"{upload.name} crashed the decoder; {_CONVERT}") from None
        except WorkerJobError as error:
            raise _refused(upload, error, limits) from None
        return np.frombuffer(bytearray(samples), np.float32)  # writable, as torch requires


_SHORTEN = "trim it to the part you want to search with"
_CONVERT = "save it as WAV, FLAC, MP3 or OGG and try again"


def _refused(upload: Upload, error: WorkerJobError, limits: Limits) -> ApiError:
    if error.kind == "SoundTooLongError":
        return ApiError(
            413, f"{upload.name} is longer than {limits.upload_seconds:g} s; {_SHORTEN}"
        )
    if error.kind == "MissingDecoderError":
        return ApiError(
            422,
            f"{upload.name} may need a decoder that is not installed on the server; install it "
            f"there with: pip install 'otomatch[codecs]', or {_CONVERT}",
        )
    if error.kind == "MemoryError":
        return ApiError(422, f"{upload.name} takes too much memory to decode; {_CONVERT}")
    return ApiError(422, f"{upload.name} cannot be decoded as sound; {_CONVERT}")
