"""How far apart a live source's windows are: farther in quiet, under load and in heat, and back at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.audio.windows import WindowSlicer
from edge_aac.timebase import SAMPLE_RATE

UNCHANGED_WINDOWS = 3
"""So many windows without anything new let the hop grow once."""

GROWTH = 1.5
"""The hop in quiet is multiplied by this each time."""

SPARE = 1.1
"""Under load the hop is the time of a round times this, so that the machine keeps up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HopLimits:
    """Between which hops a live source's may be; a source whose own hop is longer keeps that.

    Attributes:
        max_hop_s: longest hop in seconds, under load and in heat.
        max_quiet_hop_s: longest hop in seconds while nothing is heard, or nothing new.
    """

    max_hop_s: float
    max_quiet_hop_s: float


class AdaptiveHop:
    """Chooses the hop of one live source, and sets it in its slicer. The scheduler's thread alone uses it.

    The hop is the longest of four: the source's own; that of quiet, which grows by half after every three windows that
    were silent or sounded as before; that of load, which follows the shorter of the last two rounds, so that one slow
    round changes nothing and one fast round ends it; and that of heat. Equal sound and equal times give equal hops.
    One that is longer than the source's own is a multiple of what the model prefers, where that is within the limits.

    Args:
        label: name of the source in logs.
        slicer: cuts the source's windows; its hop is the source's own.
        limits: limits of the hop.
    """

    def __init__(self, label: str, slicer: WindowSlicer, limits: HopLimits) -> None:
        self._label = label
        self._slicer = slicer
        self._own_s = slicer.hop_samples / SAMPLE_RATE
        self._max_s = max(self._own_s, limits.max_hop_s)
        self._max_quiet_s = max(self._own_s, limits.max_quiet_hop_s)
        self._unchanged = 0
        self._quiet_s = self._own_s
        self._rounds_s = (0.0, 0.0)
        self._slow = False
        self._heat = 0.0
        self._told = False
        self._step_samples = FRAME_SHIFT_SAMPLES

    def prefer_multiples_of(self, samples: int) -> None:
        """Have longer hops be multiples of so many samples, themselves a multiple of 160."""
        self._step_samples = samples
        self._set()

    @property
    def hop_s(self) -> float:
        """Seconds from the start of a window to the start of the next."""
        return self._slicer.hop_samples / SAMPLE_RATE

    @property
    def overloaded(self) -> bool:
        """Whether the hop is longer since describing takes longer than the source's own."""
        return self._slow

    def note_window(self, changed: bool) -> None:
        """A window is settled: ``changed`` is False where it was silent or sounded as the one before."""
        if changed:
            self._unchanged, self._quiet_s = 0, self._own_s
        else:
            self._unchanged += 1
            if self._unchanged % UNCHANGED_WINDOWS == 0:
                self._quiet_s = min(self._max_quiet_s, GROWTH * self._quiet_s)
        self._set()

    def note_fresh_sound(self, loudest_dbfs: float) -> None:
        """Sound was heard that is in no window yet; what is louder than ``loudest_dbfs`` is new."""
        if self._quiet_s > self._own_s and self._slicer.fresh_dbfs > loudest_dbfs:
            self.note_window(changed=True)

    def note_round(self, seconds: float) -> None:
        """A round of describing took so long, with the windows of all sources in it."""
        self._rounds_s = (self._rounds_s[1], seconds)
        slow = self._load_s > self._own_s
        if slow != self._slow:
            self._slow = slow
            if slow:
                # What is near the limit comes and goes: health records tell of it each time.
                log.log(
                    logging.DEBUG if self._told else logging.WARNING,
                    "%s: describing takes %.1f s, longer than the hop: windows come every %.1f s until it is faster",
                    self._label,
                    min(self._rounds_s),
                    min(self._max_s, self._load_s),
                )
            else:
                log.log(logging.DEBUG if self._told else logging.INFO, "%s: describing keeps up again", self._label)
                self._told = True
        self._set()

    def note_heat(self, share: float) -> None:
        """The board is hot: 0 leaves the hop as it is, 1 makes it as long as it may be."""
        self._heat = share
        self._set()

    @property
    def _load_s(self) -> float:
        return SPARE * min(self._rounds_s)

    def _set(self) -> None:
        heat_s = self._own_s + self._heat * (self._max_s - self._own_s)
        busy_s = max(min(self._max_s, max(self._own_s, self._load_s)), heat_s)
        hop_samples = max(self._fitted(self._quiet_s, self._max_quiet_s), self._fitted(busy_s, self._max_s))
        if hop_samples != self._slicer.hop_samples:
            self._slicer.change_hop(hop_samples)

    def _fitted(self, hop_s: float, max_s: float) -> int:
        """A hop in samples: the source's own, or a longer one that is a multiple of what the model prefers."""
        wanted, own, longest = (_whole_frames(seconds) for seconds in (hop_s, self._own_s, max_s))
        if wanted <= own:
            return own
        longer = -(-wanted // self._step_samples) * self._step_samples
        if longer <= longest:
            return longer
        shorter = longer - self._step_samples
        return shorter if shorter > own else wanted


def _whole_frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / FRAME_SHIFT_SAMPLES) * FRAME_SHIFT_SAMPLES
