"""Waiting times between tries, for whatever is tried again: a device, a source, a sink."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waiting times between tries.

    Attributes:
        first_s: seconds after the first failure; each further failure doubles them.
        longest_s: seconds that they grow to.
        refused_s: seconds after the device refused the credentials.
        jitter: part of each wait, 0 to 1, that chance may take off, so that many sources do not try all at once.
        steady_s: seconds for which sound must arrive before a new failure counts as the first again.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    refused_s: float = 300.0
    jitter: float = 0.25
    steady_s: float = 10.0

    def wait_s(self, failures: int, chance: float) -> float:
        """Gives the seconds to wait.

        Args:
            failures: tries in a row that failed, at least 1.
            chance: evenly distributed from 0 to 1.
        """
        doublings = min(failures - 1, 32)
        return min(self.longest_s, self.first_s * 2.0**doublings) * (1 - self.jitter * chance)
