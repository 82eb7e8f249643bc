"""Provenance of a study: the command, data, versions and machine."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from otomatch.studies.data import StudyData


def describe_study(
    command: str, references: Sequence[str], data: StudyData, costs: Sequence[Mapping[str, object]]
) -> dict[str, str]:
    """Return what is needed to repeat a study: command, data, versions and machines.

    Args:
        command: Command as the user typed it.
        references: Data sets as the user named them.
        data: Data sets that were opened or composed.
        costs: Costs of the finished cells, which name the machine of each training.
    """
    tests = ", ".join(f"{t.name} ({len(t.clips)} clips)" for t in data.tests)
    return {
        "command": command,
        "data": ", ".join(references),
        "test sets": tests,
        "versions": _distinct(costs, "versions", versions()),
        "machine": _distinct(costs, "machine", machine()),
    }


def versions() -> str:
    """Return the versions of otomatch, torch and Python."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("otomatch", "torch"))
    return f"{packages}, Python {platform.python_version()}"


def machine() -> str:
    """Return the GPU if there is one, the processor, its cores, torch's threads, and the system."""
    cores = os.cpu_count()
    threads = torch.get_num_threads()
    parts = [f"{_processor()}, {cores} cores, {threads} threads a process", platform.system()]
    if torch.cuda.is_available():
        parts.insert(0, torch.cuda.get_device_name())
    return ", ".join(parts)


def _distinct(costs: Sequence[Mapping[str, object]], name: str, default: str) -> str:
    found = dict.fromkeys(str(cost[name]) for cost in costs if name in cost)
    return "; ".join(found) or default


def _processor() -> str:
    """Return the processor's name and the instruction sets that determine its speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    found = {key.strip(): value.strip() for key, value in fields.items()}
    flags = found.get("flags", "").split()
    fast = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{found.get('model name', platform.machine())} ({', '.join(fast) or 'no AVX'})"
