"""A package for the machine of the tests: a live source that plays a sound file, and faults that a file switches on.

``paced:PATH?fault=NAME``: while ``/run/faults/NAME.capture`` is there its :meth:`read` hangs, and while
``/run/faults/NAME.inference`` is there the model does.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import soundfile

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.models.seq2seq import Captioner

_BLOCK_SAMPLES = 1_600
_RATE = 16_000
FOLDER = "/run/faults"


def _hang_while(path: str) -> None:
    while os.path.exists(path):
        time.sleep(0.1)


class PacedSource:
    """Plays a file for ever, as a microphone gives it."""

    live = True
    state = "listening"
    reconnects = 0

    def __init__(self, path: str, fault: str, label: str) -> None:
        self.label = label
        self._fault = fault
        self._samples = soundfile.read(path, dtype="float32")[0]
        self._given = 0
        self._began_s = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> np.ndarray | None:
        _hang_while(f"{FOLDER}/{self._fault}.capture")
        due_s = self._began_s + (self._given + _BLOCK_SAMPLES) / _RATE
        if self._closed.wait(max(0.0, due_s - time.monotonic())):
            return None
        places = (self._given + np.arange(_BLOCK_SAMPLES)) % len(self._samples)
        self._given += _BLOCK_SAMPLES
        return self._samples[places]

    def lost_samples(self) -> int:
        return 0

    def close(self) -> None:
        self._closed.set()


def open_paced(address: Address, context: SourceContext) -> PacedSource:
    """The factory of the scheme ``paced``; the model of this process hangs with it."""
    path, _, fault = address.rest.partition("?fault=")
    describe = Captioner.describe

    def hanging(self: Captioner, *arguments: object, **more: object) -> object:
        _hang_while(f"{FOLDER}/{fault}.inference")
        return describe(self, *arguments, **more)

    Captioner.describe = hanging
    return PacedSource(path, fault, context.label(address))
