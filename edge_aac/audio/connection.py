"""A live source's connection to its device: what it gives, and the ways in which one cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from edge_aac.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SourceState = Literal["waiting", "listening", "stalled", "failed"]
"""``waiting``: for the device, or for its first sound; ``listening``: sound arrives; ``stalled``: the device is open,
but silent; ``failed``: the source ended with an error that no later try can mend."""


LossReason = Literal["disconnected", "stalled", "suspended", "lost", "overrun"]
"""Why sound is missing: the device was away; it was open and gave none; the machine slept; a driver or network lost it;
it waited too long in the ring."""


class PermanentDeviceError(DeviceError):
    """A device that no later try can reach: a library is missing, or the address names what cannot be."""


class RefusedError(DeviceError):
    """A device that wants other credentials: it is tried again seldom, so that it locks nobody out."""


@dataclass(frozen=True, eq=False)
class Outage:
    """A time without sound from a live source, from its last sound on; each outage is an object of its own.

    Attributes:
        reason: what began it.
        since_s: monotonic time in seconds from which on sound is missed.
        detail: the error that began it, as a sentence.
    """

    reason: LossReason
    since_s: float
    detail: str


@dataclass(frozen=True)
class Loss:
    """Sound that is lost for good.

    Attributes:
        reason: why it was lost.
        samples: number of samples at 16 kHz.
        outage: the outage that has cost it and is over now; None for sound that was lost on the way.
    """

    reason: LossReason
    samples: int
    outage: Outage | None = None


@runtime_checkable
class ExplainsLosses(Protocol):
    """A source that knows why it lost sound; all that :class:`~edge_aac.audio.reconnect.Reconnecting` keeps do."""

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now; None while sound arrives. May be read from another thread."""

    @property
    def reason(self) -> str | None:
        """Why the source is not heard now; None while it is. May be read from another thread."""

    def take_losses(self) -> list[Loss]:
        """Gives what was lost before the last block that was read, each loss once; by the thread that reads.

        In all they are :meth:`~edge_aac.audio.sources.address.Source.lost_samples`.
        """


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
