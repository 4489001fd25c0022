"""Signs of life: whether every capture thread comes round, sound arrives, and windows are described.

A process can look healthy and be deaf: a thread hangs in a driver, an accelerator does not answer. Each part that must
not stand still has a value that moves while it works; :meth:`Liveness.check` finds those that do not move.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

LIMIT_S = 30.0
"""A part that stands still for longer than this counts as hung."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sign:
    """Sign of life of one part, as it is now.

    Attributes:
        key: the part; the same one at every look.
        value: changes while the part works; None where the part has nothing to do, which is no fault.
        complaint: sentence that names the part and what is missing, without the seconds.
        source: label of the source that it belongs to; None where it belongs to all.
        allowance_s: seconds beyond the limit that the part may take now.
    """

    key: Hashable
    value: Hashable | None
    complaint: str
    source: str | None = None
    allowance_s: float = 0.0


@dataclass
class _Watched:
    value: Hashable | None
    still_s: float = 0.0
    missing: bool = False


class Liveness:
    """Finds parts that stand still. One thread checks; others may read what it found.

    Time is counted from check to check, and no more of it than twice the usual time between two: after a suspend, or
    when the whole process was stopped for a while, nothing has hung.

    Args:
        signs: gives the signs of all parts, as they are now.
        limit_s: seconds after which a part that stands still is missing.
        interval_s: usual seconds between two checks.
        monotonic: clock in seconds.
    """

    def __init__(
        self,
        signs: Callable[[], Iterable[Sign]],
        limit_s: float = LIMIT_S,
        interval_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signs = signs
        self._limit_s = limit_s
        self._longest_step_s = 2.0 * interval_s
        self._monotonic = monotonic
        self._checked_s = monotonic()
        self._watched: dict[Hashable, _Watched] = {}
        self._lock = threading.Lock()
        self._missing: tuple[tuple[str | None, str], ...] = ()

    def check(self) -> list[str]:
        """Look at all signs; what is newly missing is logged once, and once more when it is back.

        Returns:
            One sentence for each part that has stood still for too long; none where all are alive.
        """
        now_s = self._monotonic()
        step_s = min(max(0.0, now_s - self._checked_s), self._longest_step_s)
        self._checked_s = now_s
        watched: dict[Hashable, _Watched] = {}
        missing: list[tuple[str | None, str]] = []
        for sign in self._signs():
            before = self._watched.get(sign.key)
            now = watched[sign.key] = before or _Watched(sign.value)
            if sign.value is None or sign.value != now.value:
                if now.missing:
                    log.warning("this is over: %s", sign.complaint)
                now.value, now.still_s, now.missing = sign.value, 0.0, False
                continue
            now.still_s += step_s if before else 0.0
            if now.still_s <= self._limit_s + sign.allowance_s:
                continue
            if not now.missing:
                now.missing = True
                log.error("%s for %.0f s", sign.complaint, now.still_s)
            missing.append((sign.source, f"{sign.complaint} for {now.still_s:.0f} s"))
        self._watched = watched
        with self._lock:
            self._missing = tuple(missing)
        return [sentence for _, sentence in missing]

    def missing(self, source: str | None = None) -> list[str]:
        """What the last check found, one sentence each.

        Args:
            source: only what belongs to this source or to all; None for everything.
        """
        with self._lock:
            return [sentence for owner, sentence in self._missing if source is None or owner in {source, None}]
