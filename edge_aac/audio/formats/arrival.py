"""The pace at which raw samples arrive: a live writer's tells whether its stated rate and channels can be right."""

from __future__ import annotations

from dataclasses import dataclass

MIN_OBSERVED_S = 10.0
_SAMPLE_BYTES = 2
_TOLERANCE = 0.05
_USUAL_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
_USUAL_CHANNELS = (1, 2, 4, 6, 8)
# A live writer gives a block every few milliseconds to a second, and is waited for each time.
_SEGMENTS = 5
_LONGEST_WAIT_S = 1.0
_LOWEST_SHARE_OF_WAITS = 0.9
# How far the pace may differ between the fifths of what was observed; a program that computes varies more.
_STEADINESS = 0.03
_LOWEST_RATIO, _HIGHEST_RATIO = 1 / 30, 30.0


@dataclass(frozen=True)
class PaceFinding:
    """Samples that arrive at another pace than was stated.

    Attributes:
        ratio: measured pace in bytes a second by the stated one.
        frames_per_s: what the rate would be if the channels are right, in Hz.
        candidates: usual rates in Hz with numbers of channels that give this pace, the likeliest first.
    """

    ratio: float
    frames_per_s: float
    candidates: tuple[tuple[int, int], ...]


class ArrivalRate:
    """Compares the pace of a live stream of 16-bit samples with its stated rate and channels.

    It answers once, at the earliest after 10 s in which the reader had to wait for nearly every block, as it has to for
    a microphone; and only where the pace is steady and that of usual rates and channels. A file, a program that gives
    sound as fast as it can, a burst after a stall, and a pace within 5 % of what was stated get no answer.

    Args:
        rate: stated sample rate in Hz.
        channels: stated number of interleaved channels.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._answered = False
        self._start_s: float | None = None
        self._latest_s = 0.0
        self._blocks = self._waits = self._bytes = 0
        self._marks: list[tuple[float, int]] = []

    def feed(self, now_s: float, size: int, waited: bool) -> PaceFinding | None:
        """Takes the arrival of a block.

        Args:
            now_s: when it was read, in monotonic seconds.
            size: its size in bytes.
            waited: whether the reader had to wait for it.

        Returns:
            The finding, once; None before, afterwards, and where there is nothing to say.
        """
        if self._answered:
            return None
        if self._start_s is None or now_s - self._latest_s > _LONGEST_WAIT_S:
            # What arrives at the start, or after a stall, may have been waiting: it is not counted.
            self._restart(now_s)
            return None
        self._latest_s = now_s
        self._blocks += 1
        self._waits += waited
        self._bytes += size
        elapsed_s = now_s - self._start_s
        if elapsed_s >= len(self._marks) * MIN_OBSERVED_S / _SEGMENTS:
            self._marks.append((elapsed_s, self._bytes))
        if len(self._marks) <= _SEGMENTS:
            return None
        finding = self._judged()
        self._answered = finding is not None
        self._restart(now_s)
        return finding

    def _restart(self, start_s: float) -> None:
        self._start_s = self._latest_s = start_s
        self._blocks = self._waits = self._bytes = 0
        self._marks = [(0.0, 0)]

    def _judged(self) -> PaceFinding | None:
        elapsed_s, total = self._marks[-1]
        pace = total / elapsed_s
        parts = [
            (later - sooner) / (end_s - begin_s)
            for (begin_s, sooner), (end_s, later) in zip(self._marks, self._marks[1:], strict=False)
        ]
        if max(abs(part / pace - 1) for part in parts) > _STEADINESS if pace else True:
            return None
        ratio = pace / (_SAMPLE_BYTES * self._rate * self._channels)
        if self._waits < _LOWEST_SHARE_OF_WAITS * self._blocks or not _LOWEST_RATIO < ratio < _HIGHEST_RATIO:
            return None
        if abs(ratio - 1) <= _TOLERANCE:
            return None
        candidates = self._candidates(pace)
        return PaceFinding(ratio, ratio * self._rate, candidates) if candidates else None

    def _candidates(self, pace: float) -> tuple[tuple[int, int], ...]:
        """What differs in one of the two comes first, then what is nearest."""
        found = []
        for channels in _USUAL_CHANNELS:
            for rate in _USUAL_RATES:
                error = abs(pace / (_SAMPLE_BYTES * rate * channels) - 1)
                if error <= _TOLERANCE / 2:
                    changed = (rate != self._rate) + (channels != self._channels)
                    found.append((changed, round(error, 2), channels, rate))
        return tuple((rate, channels) for _, _, channels, rate in sorted(found))
