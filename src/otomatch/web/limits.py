"""Limits of one server: threads, queue lengths, sizes and times."""

import os
from dataclasses import dataclass, field

MEGABYTE = 1 << 20
"""Number of bytes in a megabyte, as in all limits and messages of the server."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server.

    Attributes:
        model_workers: Number of threads that search; each search computes in ``torch_threads``
            threads.
        model_queue: Maximum number of waiting searches.
        media_workers: Number of threads that convert sounds and draw spectrograms.
        media_queue: Maximum number of waiting conversions and spectrograms.
        table_workers: Number of threads that read the library's table.
        table_queue: Maximum number of waiting reads of the table.
        torch_threads: Number of threads per computation.
        streams: Maximum number of responses in progress.
        uploads: Maximum number of uploads in progress.
        upload_bytes: Maximum size of an uploaded sound, in bytes.
        upload_seconds: Maximum length of an uploaded sound, in seconds.
        receive_seconds: Maximum time to receive an upload, in seconds.
        decode_seconds: Maximum time to decode an upload, in seconds.
        decode_memory: Maximum memory to decode an upload, in bytes.
        converted_bytes: Maximum disk space for converted sounds, and maximum size of one of them,
            in bytes.
        spectrogram_bytes: Maximum memory for spectrograms, in bytes.
        queries: Number of queries whose hits are kept in memory.
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
    spectrogram_bytes: int = 64 * MEGABYTE
    queries: int = 512
