"""What a decoder may do to the process that it runs in."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection

import numpy as np

from otomatch.errors import AudioError
from otomatch.web.decoding import decode_upload


def hang(_):
    time.sleep(60)


def crash(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def exhaust(_):
    return {"bytes": len(np.ones(1 << 40, np.uint8))}, b""


def refuse(job):
    raise AudioError(f"no {job}")


def without_av(job):
    sys.modules["av"] = None  # as if it were not installed
    return decode_upload(job)


def echo(job):
    return {"pid": os.getpid(), "job": job}, b"bytes"


def babble(job):
    """Answer with what a decoder that was broken into might send, before the true answer."""
    connection = Connection(os.dup(int(sys.argv[1])))
    connection.send_bytes(job)
    connection.send_bytes(b"the answer to what was asked before")
    return {}, b"late"
