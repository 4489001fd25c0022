"""A live source's connection to its device: what it gives, and the ways in which one cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edge_aac.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SourceState = Literal["waiting", "listening", "stalled", "failed"]
"""``waiting``: for the device, or for its first sound; ``listening``: sound arrives; ``stalled``: the device is open,
but silent; ``failed``: the source ended with an error that no later try can mend."""


class PermanentDeviceError(DeviceError):
    """A device that no later try can reach: a library is missing, or the address names what cannot be."""


class RefusedError(DeviceError):
    """A device that wants other credentials: it is tried again seldom, so that it locks nobody out."""


@dataclass(frozen=True)
class Sound:
    """Sound that arrived at once.

    Attributes:
        samples: mono at 16 kHz, float32, shape (n,); n may be 0 while a resampler fills.
        duration_s: length of the sound in seconds, before a resampler held back some of it.
        arrived_s: monotonic time in seconds at which the last of it arrived.
        lost_s: seconds of sound known to be lost between the sound before and this one.
    """

    samples: npt.NDArray[np.float32]
    duration_s: float
    arrived_s: float
    lost_s: float = 0.0


class Connection(Protocol):
    """An open device. One thread at a time uses it."""

    def read(self, timeout_s: float) -> Sound | None:
        """Waits for sound.

        Args:
            timeout_s: seconds to wait at most.

        Returns:
            The next sound, or None where none came in time.

        Raises:
            DeviceError: the connection is lost.
        """

    def close(self) -> None:
        """Releases the device; called once."""
