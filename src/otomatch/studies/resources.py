"""Time and memory of a function call. Memory is read from /proc, which exists on Linux only."""

import ctypes
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def median_seconds(function: Callable[[], object], budget: float = 1.0) -> float:
    """Return the median time of 3 to 50 calls in about ``budget`` seconds, after a warm-up call."""
    function()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - start < budget and len(times) < 50):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return sorted(times)[len(times) // 2]


def memory_growth(function: Callable[[], object]) -> float:
    """Run the function and return how far resident memory rises meanwhile, in 2^20 bytes.

    The rise is that of the kernel's high-water mark, which is reset before the call. Freed memory
    that the allocator keeps distorts the result: call `give_back_freed_memory` at the start of the
    process. Returns nan, after running the function, on systems other than Linux.
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
    """Make glibc return memory to the system as soon as it is freed, for the rest of the process.

    Resident memory then equals memory in use, except for blocks below 64 KiB, and allocation is
    slower. Call this before anything large is allocated, since memory freed earlier is reused first
    and kept. Does nothing with another C library.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**16)


def resident_megabytes(field: str) -> float:
    """Return the resident memory of this process in 2^20 bytes.

    Args:
        field: "VmRSS" for the current value, "VmHWM" for the peak.

    Raises:
        OSError: If this system has no /proc.
        LookupError: If /proc lacks the field.
    """
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[field].split()[0]) / 1024
