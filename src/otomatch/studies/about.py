"""On what, and how, a study was run."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from otomatch.studies.data import StudyData


def describe(command: str, references: Sequence[str], data: StudyData) -> dict[str, str]:
    """Lines that say how to repeat a study: command, data, versions, machine.

    Args:
        command: as the user typed it.
        references: the data sets that were asked for.
        data: what they were opened or composed as.
    """
    tests = ", ".join(f"{t.name} ({len(t.clips)} clips)" for t in data.tests)
    packages = ", ".join(f"{name} {version(name)}" for name in ("otomatch", "torch"))
    return {
        "command": command,
        "data": ", ".join(references),
        "test sets": tests,
        "versions": f"{packages}, Python {platform.python_version()}",
        "machine": _machine(),
    }


def _machine() -> str:
    cores = os.cpu_count()
    threads = torch.get_num_threads()
    parts = [f"{_processor()}, {cores} cores, {threads} threads a process", platform.system()]
    if torch.cuda.is_available():
        parts.insert(0, torch.cuda.get_device_name())
    return ", ".join(parts)


def _processor() -> str:
    """Its name, and what of its instructions decides the speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    found = {key.strip(): value.strip() for key, value in fields.items()}
    flags = found.get("flags", "").split()
    fast = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{found.get('model name', platform.machine())} ({', '.join(fast) or 'no AVX'})"
