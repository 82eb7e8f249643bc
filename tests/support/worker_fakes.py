"""Functions for a `WorkerProcess` that do what a broken or hostile decoder may do.

Each imports what it needs itself, so that a process that runs one of the others starts quickly.
"""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from otomatch.errors import AudioError


def hang(sign):
    """Touch the file ``sign``, if it is a path, and never return."""
    if isinstance(sign, str):
        Path(sign).touch()
    time.sleep(600)


def crash(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def exhaust(_):
    import numpy as np

    return {"bytes": len(np.ones(1 << 40, np.uint8))}, b""


def refuse(job):
    raise AudioError(f"no {job}")


def without_av(job):
    from otomatch.web.decoding import decode_upload

    sys.modules["av"] = None  # as if it were not installed
    return decode_upload(job)


def echo(job):
    return {"pid": os.getpid(), "job": job}, b"bytes"


def babble(job):
    """Send what a compromised decoder might, before the true answer."""
    connection = Connection(os.dup(int(sys.argv[1])))
    connection.send_bytes(job)
    connection.send_bytes(b"the answer to what was asked before")
    return {}, b"late"
