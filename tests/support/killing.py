"""Training runs in separate processes that are killed (SIGKILL) at chosen moments.

The processes are forked from a server that has imported everything but computed nothing, so each
starts in a fraction of a second.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR
context = multiprocessing.get_context("forkserver")
_models = ("bert.modeling_bert", "clap.modeling_clap", "clap.feature_extraction_clap")
context.set_forkserver_preload(
    ["otomatch.training.trainer", *(f"transformers.models.{name}" for name in _models)]
)


def start(config: Path, run: Path, die_at: int | None = None, events: Path | None = None) -> Any:
    """Start training; the process kills itself just before its event number ``die_at``.

    Events are training steps and all changes that Python makes in the run's folder. A process that
    is not killed writes the names of its events to ``events``.
    """
    process = context.Process(target=_train, args=(config, run, die_at, events))
    process.start()
    return process


def wait(process: Any, seconds: float = 60) -> int:
    """Return the exit code of a process; negative for the signal that killed it."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"the training process still ran after {seconds} s")
    return int(process.exitcode)


def _train(config: Path, run: Path, die_at: int | None, events: Path | None) -> None:
    import torch

    from otomatch.training.config import load_config
    from otomatch.training.step import TrainingStep
    from otomatch.training.trainer import train

    torch.set_num_threads(1)
    seen: list[str] = []
    _announce(TrainingStep, "__call__")
    sys.addaudithook(_hook(str(run), seen, die_at))
    train(load_config(config), run, progress=False)
    if events is not None:
        events.write_text(json.dumps(seen))


def _announce(owner: type, method: str) -> None:
    original: Callable[..., Any] = getattr(owner, method)

    def announced(*args: Any) -> Any:
        sys.audit("step", "")
        return original(*args)

    setattr(owner, method, announced)


def _hook(run: str, seen: list[str], die_at: int | None) -> Callable[[str, tuple[Any, ...]], None]:
    def changes(event: str, args: tuple[Any, ...]) -> bool:
        if event == "step":
            return True
        if event == "open":
            return str(args[0]).startswith(run) and bool((args[2] or 0) & _WRITES)
        return event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove") and any(
            run in str(arg) for arg in args
        )

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if changes(event, args):
            if len(seen) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(f"{event} {args[0]}")

    return hook
