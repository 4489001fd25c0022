"""How often and how closely a live source is listened to: its hop, and the windows that need no decoding."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.models.contract import Undecoded, WindowModel, hears_sound, shared_work
from edge_aac.streaming.batches import Outcome
from edge_aac.streaming.channel_settings import ChannelSettings
from edge_aac.streaming.gate import SoundMemory
from edge_aac.streaming.hop import AdaptiveHop


class Adaptation:
    """Fits a source's windows to what is heard and to what the machine can do. The scheduler's thread alone uses it.

    What is heard of a file depends on nothing but the file: of one, no hop changes and every loud window is decoded.

    Args:
        label: name of the source in logs.
        slicer: cuts the windows; its hop is changed here.
        settings: of the channel.
        live: whether the source is live.
    """

    def __init__(self, label: str, slicer: WindowSlicer, settings: ChannelSettings, *, live: bool) -> None:
        self._label = label
        self._slicer = slicer
        self._settings = settings
        self._live = live
        self._own_hop_samples = slicer.hop_samples
        self._step_samples = FRAME_SHIFT_SAMPLES
        self._memory = self._new_memory()
        self.hop = self._new_hop()
        """Of a live source whose hop may change; else None."""

    def change(self, hop_samples: int, settings: ChannelSettings) -> None:
        """Listen by other settings from now on.

        Args:
            hop_samples: samples from one window to the next, a multiple of 160.
            settings: of the channel.
        """
        before, self._settings = self._settings, settings
        if (hop_samples, settings.hop_limits) != (self._own_hop_samples, before.hop_limits):
            self._own_hop_samples = hop_samples
            self._slicer.change_hop(hop_samples)
            self.hop = self._new_hop()
        # What sounds as before is told as before: that was decided by the gates before.
        if _telling(settings) != _telling(before):
            self.forget()

    def fit(self, model: WindowModel) -> None:
        """Have windows hold what this model hears, and choose hops at which they share the most work."""
        if hears_sound(model):
            self._slicer.keep_sound()
        work = shared_work(model)
        self._step_samples = FRAME_SHIFT_SAMPLES if work is None else work.hop_samples
        if self.hop is not None:
            self.hop.prefer_multiples_of(self._step_samples)

    def forget(self) -> None:
        """Forget what was heard: the next window is decoded, whatever it sounds like."""
        self._memory = self._new_memory()

    @property
    def compares_sound(self) -> bool:
        """Whether windows are compared with what was heard before, so that some need no decoding."""
        return self._memory is not None

    def wants(self, window: Window, embedding: npt.NDArray[np.float32]) -> bool:
        """Whether a window is to be decoded, by its audio embedding."""
        return self._memory is None or not self._memory.is_same(window, embedding)

    def settle(self, window: Window, outcome: Outcome) -> None:
        """Take note of what became of a window, before its records are made; windows come in order."""
        if self._memory is not None:
            self._memory.settle(window, outcome)

    def note_window(self, outcome: Outcome) -> None:
        """Take note of whether a window told something new, after its records were made."""
        if self.hop is not None:
            self.hop.note_window(changed=not (outcome is None or isinstance(outcome, Undecoded)))

    def note_round(self, seconds: float) -> None:
        """Take note of how long a round of describing took."""
        if self.hop is not None:
            self.hop.note_round(seconds)

    def note_heat(self, share: float) -> None:
        """Take note of how much less the board is to be given, from 0 to 1."""
        if self.hop is not None:
            self.hop.note_heat(share)

    def look_for_new_sound(self) -> None:
        """Where the hop is long, what begins between two windows is noticed within a second."""
        if self.hop is None:
            return
        loudest_dbfs = self._settings.level_gate.audible_dbfs
        if self._memory is not None and (same_dbfs := self._memory.loudest_same_dbfs) < math.inf:
            loudest_dbfs = max(loudest_dbfs, same_dbfs)
        self.hop.note_fresh_sound(loudest_dbfs)

    def _new_memory(self) -> SoundMemory | None:
        gate = self._settings.same_gate if self._live and not self._settings.every_window else None
        return None if gate is None else SoundMemory(gate)

    def _new_hop(self) -> AdaptiveHop | None:
        limits = self._settings.hop_limits if self._live else None
        if limits is None:
            return None
        hop = AdaptiveHop(self._label, self._slicer, limits)
        hop.prefer_multiples_of(self._step_samples)
        return hop


def _telling(settings: ChannelSettings) -> tuple[Hashable, ...]:
    """The settings that decide what is told of a window that sounds as before."""
    return settings.same_gate, settings.every_window, settings.score_gate, settings.privacy
