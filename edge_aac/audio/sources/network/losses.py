"""Sound that was lost on the way, as the difference between a stream's own clock and the sound that came of it."""

from __future__ import annotations

from collections import deque

_COMPARED = 4
# A clock that is 3 % too fast drifts by that much between two accounts, which come twice a second.
_SHORTEST_LOSS_S = 0.015


class LossMeter:
    """Finds losses in accounts of a stream: how far its timestamps have come, and how much sound was given until then.

    The timestamps of RTP count the samples at the sender, so what they are ahead of the sound was lost, whether packets
    were lost on the way or the sender left them out. Either of the two may be one packet ahead in an account: a
    loss counts once the last four accounts show it, 2 s later.
    """

    def __init__(self) -> None:
        self._ahead_s: deque[float] = deque(maxlen=_COMPARED)
        self._level_s: float | None = None

    def lost_s(self, clock_s: float, sound_s: float) -> float:
        """Takes an account and gives the seconds that were lost since those before.

        Args:
            clock_s: time of the end of the sound by the stream's timestamps, in seconds since its start.
            sound_s: sound given until then, in seconds.
        """
        self._ahead_s.append(clock_s - sound_s)
        if len(self._ahead_s) < _COMPARED:
            return 0.0
        level_s = min(self._ahead_s)
        before_s, self._level_s = self._level_s, level_s
        if before_s is None:
            # The stream begins at zero by both, so what is missing by now is missing in its beginning.
            before_s = 0.0
        lost_s = level_s - before_s
        return lost_s if lost_s >= _SHORTEST_LOSS_S else 0.0
