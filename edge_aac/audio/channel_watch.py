"""What is wrong with a source's channels, said once: one that is dead, opposite phases, clipping."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clipping import ClippingMeter
from edge_aac.audio.mixing import BLOCK_SAMPLES, COMPARABLE_POWER, ChannelFacts
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

_BLOCKS_PER_S = SAMPLE_RATE // BLOCK_SAMPLES
# Mean squares: of -110 dBFS, below the last bit of 16; and of -70 dBFS, the level at which the default gate opens.
_DEAD_POWER = 1e-11
_AUDIBLE_POWER = 1e-7
_OPPOSITE_CORRELATION = -0.9
_DEAD_AFTER_BLOCKS = 10 * _BLOCKS_PER_S
_OPPOSITE_AFTER_BLOCKS = 3 * _BLOCKS_PER_S
_SHORTEST_BLOCKS = 3
_CLIPPED_SHARE = 1e-3
_CLIPPING_JUDGED_S = 10


class ChannelWatch:
    """Logs, each once, what the mix cannot mend or hides from a user.

    It lives as long as its source: a microphone that is opened again has the same one.

    - A channel that is digitally silent for 10 s (or all of a shorter source) in which another one is heard.
    - A channel that is in opposite phase to the first one that is heard (correlation below -0.9, within 20 dB) in most
      of at least 3 s of sound (or of a shorter source).
    - Clipping (see :class:`~edge_aac.audio.clipping.ClippingMeter`) of more than one sample in a thousand.

    Args:
        label: the source's name in messages.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._channels = 0
        self._heard_blocks = 0
        self._dead: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._opposite: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._clipping = ClippingMeter()
        self._rate = SAMPLE_RATE
        self._logged: set[str] = set()

    def observe(self, facts: ChannelFacts) -> None:
        """Takes what a mixer saw in one block of 0.1 s."""
        channels = len(facts.powers)
        if channels != self._channels:
            self._channels, self._heard_blocks = channels, 0
            self._dead, self._opposite = np.ones(channels, np.bool_), np.zeros(channels, np.int64)
        highest = float(facts.powers.max())
        if not highest > _AUDIBLE_POWER:  # a NaN is none of them, too
            self._dead &= ~(facts.powers > _DEAD_POWER)
            return
        self._heard_blocks += 1
        self._dead &= facts.powers < _DEAD_POWER
        comparable = facts.powers > highest * COMPARABLE_POWER
        self._opposite += comparable & (facts.correlations < _OPPOSITE_CORRELATION)
        if self._heard_blocks == _DEAD_AFTER_BLOCKS:
            self._report_dead()
        if self._heard_blocks >= _OPPOSITE_AFTER_BLOCKS:
            self._report_opposite()

    def hear(self, frames: npt.NDArray[np.float32], rate: int) -> None:
        """Takes the source's sound before it is mixed.

        Args:
            frames: float32, shape (n, channels), full scale at 1.
            rate: rate in Hz.
        """
        self._rate = rate
        if "clipped" in self._logged:
            return
        # Judged at fixed times, whatever the blocks are.
        judged_frames = _CLIPPING_JUDGED_S * rate
        while len(frames):
            until_judged = judged_frames - self._clipping.frames % judged_frames
            self._clipping.accept(frames[:until_judged])
            if len(frames) >= until_judged:
                self._report_clipping()
            frames = frames[until_judged:]

    def end(self) -> None:
        """Takes note that the source has ended: what is too short to be judged before is judged now."""
        if self._heard_blocks:
            self._report_dead()
            if self._heard_blocks >= _SHORTEST_BLOCKS:
                self._report_opposite()
        self._report_clipping()

    def _report_dead(self) -> None:
        dead = np.flatnonzero(self._dead) + 1
        if len(dead):
            sentence = f"{_numbered(dead)} of {self._channels} held only digital silence: is one not connected?"
            self._warn("dead", sentence)

    def _report_opposite(self) -> None:
        opposite = np.flatnonzero(2 * self._opposite > self._heard_blocks) + 1
        if len(opposite):
            is_ = "is" if len(opposite) == 1 else "are"
            self._warn(
                "opposite",
                f"{_numbered(opposite)} of {self._channels} {is_} in opposite phase to the first that is heard, "
                "and is turned over to be heard: are two wires of a plug swapped?",
            )

    def _report_clipping(self) -> None:
        share, channel = self._clipping.share()
        if share > _CLIPPED_SHARE:
            where = f"channel {channel} is" if self._clipping.channels > 1 else "the sound is"
            self._warn("clipped", f"{where} clipped, {100 * share:.2g} % of its samples: record with less gain.")

    def _warn(self, kind: str, sentence: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("%s: %s", self._label, sentence)


def _numbered(channels: npt.NDArray[np.int64]) -> str:
    """Names channels: "channel 2", "channels 1 and 3", "channels 1 to 4 and 6"."""
    runs = np.split(channels, np.flatnonzero(np.diff(channels) > 1) + 1)
    parts: list[str] = []
    for run in runs:
        if len(run) > 2:  # noqa: PLR2004
            parts.append(f"{run[0]} to {run[-1]}")
        else:
            parts += [str(number) for number in run]
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}"
    return f"channel {listed}" if len(channels) == 1 else f"channels {listed}"
