"""Time and memory of a piece of code. Memory is read from /proc: on Linux only."""

import ctypes
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def median_seconds(function: Callable[[], object], budget: float = 1.0) -> float:
    """Median time of one call over ``budget`` seconds: after a first one, 3 to 50 calls."""
    function()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - start < budget and len(times) < 50):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return sorted(times)[len(times) // 2]


def memory_growth(function: Callable[[], object]) -> float:
    """How far resident memory rises above what it is now while the function runs, in 2^20 bytes.

    The rise is that of the kernel's high-water mark, reset before the call. Memory that the process
    has freed and kept hides some of it, and what the function frees may be kept and count: begin
    the process with `give_back_freed_memory`. nan where there is no such mark (it is Linux's); the
    function then runs all the same.
    """
    try:
        _RESET.write_text("5")
        before, _ = resident_megabytes("VmRSS"), resident_megabytes("VmHWM")
    except (OSError, LookupError):
        function()
        return math.nan
    function()
    return resident_megabytes("VmHWM") - before


def give_back_freed_memory() -> None:
    """Let glibc return memory to the system as soon as it is freed, from now on.

    Resident memory is then memory in use, up to blocks below 64 KiB. Allocation becomes slower for
    the rest of the process. To be called before anything large is allocated: a hole that was left
    before is filled first, and kept. Does nothing with another C library.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**16)


def resident_megabytes(field: str) -> float:
    """Resident memory of this process, now ("VmRSS") or at its peak ("VmHWM"), in 2^20 bytes.

    Raises:
        OSError: this system has no /proc.
        LookupError: it has one that does not tell.
    """
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[field].split()[0]) / 1024
