"""What bounds the server: places in its queues, bytes, seconds."""

import os
from dataclasses import dataclass, field

MEGABYTE = 1 << 20


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server.

    Attributes:
        model_workers: threads that search; a search computes in ``torch_threads`` threads.
        model_queue: searches that may wait for one.
        media_workers: threads that convert sounds and draw pictures.
        media_queue: sounds and pictures that may wait for one.
        table_workers: threads that read the library's table.
        table_queue: readings that may wait for one.
        torch_threads: threads of one computation.
        streams: responses that may be under way at once.
        uploads: sounds that may be received at once.
        upload_bytes: largest sound that is taken as a query.
        upload_seconds: longest sound that is taken as a query.
        receive_seconds: time that the client has to send it.
        decode_seconds: time that decoding it may take.
        decode_memory: bytes that decoding it may take.
        converted_bytes: of the converted sounds that are kept on disk, and of the largest.
        picture_bytes: of the pictures that are kept in memory.
        queries: whose hits are kept in memory.
    """

    model_workers: int = 2
    model_queue: int = 24
    media_workers: int = 2
    media_queue: int = 48
    table_workers: int = 2
    table_queue: int = 128
    torch_threads: int = field(default_factory=lambda: max(1, _cores() // 2))
    streams: int = 256
    uploads: int = 8
    upload_bytes: int = 32 * MEGABYTE
    upload_seconds: float = 60.0
    receive_seconds: float = 60.0
    decode_seconds: float = 10.0
    decode_memory: int = 1024 * MEGABYTE
    converted_bytes: int = 1024 * MEGABYTE
    picture_bytes: int = 64 * MEGABYTE
    queries: int = 512
