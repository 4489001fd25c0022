"""Sound that cannot be sound: zeros without end, or one value, which no microphone in any room gives."""

from __future__ import annotations

import logging
import math

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

REPORTED_AFTER_S = 120.0
"""Shorter silence is normal: a sound server starts with zeros, a stream pauses between two programmes."""

_FLAT = 2e-6
"""Samples that differ by less are one value: a thirtieth of 16 bits' last bit (2^-15), far below the noise of any
microphone, and above what a resampler makes of a constant."""


class DigitalSilence:
    """Notices that a live source gives one constant value for minutes, such as zeros.

    A quiet room is never that: the noise of the microphone and its converter moves the last bits. The source is not
    quiet but deaf: muted in a mixer, its cable broken, a driver that gives empty buffers. A warning is logged once each
    time it begins. One thread observes, another asks.

    Args:
        label: the source's name in messages.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._samples = 0
        self._lowest, self._highest = math.inf, -math.inf
        self._logged = False
        self._warning: str | None = None

    @property
    def warning(self) -> str | None:
        """What is wrong, as a sentence; None while nothing is."""
        return self._warning

    def observe(self, samples: npt.NDArray[np.float32]) -> None:
        """Takes the next sound of the source; zeros that stand for lost sound are none.

        Args:
            samples: float32, shape (n,), full scale at 1.
        """
        if not len(samples):
            return
        lowest, highest = float(samples.min()), float(samples.max())
        if not math.isfinite(lowest + highest):
            lowest, highest = -math.inf, math.inf  # no number is no value that could stay
        joined = min(self._lowest, lowest), max(self._highest, highest)
        if joined[1] - joined[0] <= _FLAT:
            self._lowest, self._highest = joined
            self._samples += len(samples)
        elif highest - lowest <= _FLAT:
            self._lowest, self._highest, self._samples = lowest, highest, len(samples)
        else:
            self._lowest, self._highest, self._samples = math.inf, -math.inf, 0
        self._judge()

    def _judge(self) -> None:
        seconds = self._samples / SAMPLE_RATE
        if seconds < REPORTED_AFTER_S:
            if self._logged:
                self._logged = False
                _log.warning("%s gives sound again", self._label)
            self._warning = None
            return
        self._warning = self._sentence(int(seconds // 60))
        if not self._logged:
            self._logged = True
            _log.warning("%s %s", self._label, self._warning)

    def _sentence(self, minutes: int) -> str:
        if max(abs(self._lowest), abs(self._highest)) <= _FLAT:
            return f"gives digital silence for {minutes} minutes: it is muted, or its cable is broken"
        return (
            f"gives one constant value ({self._lowest:.3g} of full scale) for {minutes} minutes: "
            "its cable or its converter is broken"
        )
