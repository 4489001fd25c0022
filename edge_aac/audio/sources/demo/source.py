"""The source of the scheme ``demo``: a scene in memory, to try the captioner without a microphone or a file."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import SourceState
from edge_aac.audio.sources.address import Address, SourceContext, integer_option, number_option, split_query
from edge_aac.audio.sources.demo.programme import PROGRAMME_S, play_programme
from edge_aac.audio.sources.demo.rain import synthesise_demo
from edge_aac.audio.sources.pace import Pacer
from edge_aac.errors import UsageError

_BLOCK_SAMPLES = 1_600
_LONGEST_S = 600

_Scene = Callable[[float, int], npt.NDArray[np.float32]]

_SCENES: dict[str, tuple[_Scene, float]] = {
    "programme": (play_programme, PROGRAMME_S),
    "rain": (synthesise_demo, 20.0),
}
"""Name in an address → what makes the samples of a length in seconds and a seed, and the length that it has unasked."""

_UNASKED = "programme"


def open_demo(address: Address, context: SourceContext) -> DemoSource:
    """Opens ``demo:`` or ``demo:?scene=rain&seconds=20&seed=0&speed=1``; the factory of the scheme ``demo``.

    Raises:
        UsageError: an option is unknown or unusable.
        InputMissingError: a recording of the programme cannot be read.
    """
    rest, options = split_query(address.rest, ("scene", "seconds", "seed", "speed"))
    if rest:
        raise UsageError(f"'{address.label}' is unusable: write demo: or demo:?seconds=20.")
    name = options.get("scene", _UNASKED)
    if name not in _SCENES:
        raise UsageError(f"scene={name} is unusable: give {' or '.join(_SCENES)}.")
    scene, unasked_s = _SCENES[name]
    seconds = number_option(options, "seconds", unasked_s, 0.1, _LONGEST_S)
    seed = integer_option(options, "seed", 0, 0, 2**32 - 1)
    speed = number_option(options, "speed", 0.0, 0.01, 1000.0)
    return DemoSource(scene(seconds, seed), speed, context.label(address))


class DemoSource:
    """Samples in memory as a :class:`~edge_aac.audio.sources.address.Source`.

    Args:
        samples: mono at 16 kHz, float32, shape (n,).
        speed: 1 gives them as fast as they sound; 0 as fast as they are read.
        label: the source's name in records and messages.
    """

    live = False
    state: SourceState = "listening"
    reconnects = 0

    def __init__(self, samples: npt.NDArray[np.float32], speed: float = 0.0, label: str = "demo") -> None:
        self.label = label
        self._samples = samples
        self._given = 0
        self._closed = threading.Event()
        self._pacer = Pacer(speed, self._closed)

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        if self._closed.is_set() or self._given >= len(self._samples):
            return None
        block = self._samples[self._given : self._given + _BLOCK_SAMPLES]
        self._given += len(block)
        return block if self._pacer.wait(len(block)) else None

    def lost_samples(self) -> int:
        """Always 0: the reader sets the pace."""
        return 0

    def close(self) -> None:
        """Ends a paced :meth:`read`."""
        self._closed.set()
