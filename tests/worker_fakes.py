"""What a decoder may do to the process that it runs in."""

import os
import signal
import time

import numpy as np

from otomatch.errors import AudioError


def hang(_):
    time.sleep(60)


def crash(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def exhaust(_):
    return {"bytes": len(np.ones(1 << 40, np.uint8))}, b""


def refuse(job):
    raise AudioError(f"no {job}")


def echo(job):
    return {"pid": os.getpid(), "job": job}, b"bytes"
