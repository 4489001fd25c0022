"""Settings of the store that messages wait in before a remote sink has delivered them."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from edge_aac.sinks.contract import SinkSettings


@dataclass(frozen=True)
class SpoolLimits:
    """Bounds of a store; beyond them the oldest messages are dropped and counted.

    Attributes:
        messages: how many may wait.
        bytes: how many bytes they may have.
        age_s: seconds after which a message is of no use any more, while the machine is on; 0: never.
        memory_bytes: bytes that may wait in memory where the disk takes none.
        sync_s: seconds after which a message that still waits is safe from a power cut too.
        retry_s: seconds between two tries to use a disk that failed.
    """

    messages: int = 100_000
    bytes: int = 64_000_000
    age_s: float = 0.0
    memory_bytes: int = 4_000_000
    sync_s: float = 5.0
    retry_s: float = 10.0


def since_boot_s() -> float:
    """Seconds since the machine was started, sleep included: no one can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def this_boot() -> str:
    """What tells one run of the machine from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SpooledSettings(SinkSettings):
    """What the configuration may say of any sink whose messages wait on disk until they are delivered.

    Attributes:
        spool_path: file that they wait in; None has one chosen, see :meth:`spool_file`.
        spool_mb: megabytes (10^6 bytes) of messages that may wait; 0 keeps them in memory alone.
        spool_messages: how many may wait.
        spool_age_h: hours after which one is of no use any more; 0: never.
        spool_sync_s: seconds after which a message that still waits is safe from a power cut.
    """

    spool_path: Path | None = Field(
        default=None,
        description="File for messages that wait.",
        examples=["/var/lib/edge-aac/spool/broker.sqlite"],
        json_schema_extra={"absent": "one in the service's state folder, else in ~/.local/state/edge-aac"},
    )
    spool_mb: float = Field(
        default=64.0,
        ge=0.0,
        le=100_000.0,
        description="Messages that may wait on disk; 0: in memory alone.",
        json_schema_extra={"unit": "MB"},
    )
    spool_messages: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Messages that may wait before the oldest are dropped.",
        json_schema_extra={"unit": "messages"},
    )
    spool_age_h: float = Field(
        default=0.0,
        ge=0.0,
        le=100_000.0,
        description="Age at which a message is dropped; 0: none.",
        json_schema_extra={"unit": "h"},
    )
    spool_sync_s: float = Field(
        default=5.0,
        ge=0.0,
        le=3600.0,
        description="Age at which a message that waits is made safe from a power cut.",
        json_schema_extra={"unit": "s"},
    )

    @property
    def spool_limits(self) -> SpoolLimits:
        """The bounds of the store."""
        return SpoolLimits(
            messages=self.spool_messages,
            bytes=round(self.spool_mb * 1e6) or SpoolLimits.memory_bytes,
            age_s=self.spool_age_h * 3600.0,
            sync_s=self.spool_sync_s,
        )

    def spool_file(self, kind: str, target: str) -> Path | None:
        """File of the store; None where messages wait in memory alone.

        Without ``spool_path`` it is in the service's state folder, else in the user's, and its name tells the target:
        what waits for one broker is not sent to another.

        Args:
            kind: of the sink.
            target: address that the sink delivers to; the name holds a hash of it.
        """
        if self.spool_mb == 0:
            return None
        if self.spool_path is not None:
            return self.spool_path.expanduser()
        if service := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
            folder = Path(service)
        else:
            configured = os.environ.get("XDG_STATE_HOME") or ""
            state = Path(configured) if os.path.isabs(configured) else Path("~/.local/state").expanduser()
            folder = state / "edge-aac"
        name = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return folder / "spool" / f"{kind}-{name}.sqlite"

    @property
    def waits_in_words(self) -> str:
        """A sentence about messages that wait, for ``leaves``."""
        if self.spool_mb == 0:
            return "What cannot be delivered waits in memory."
        place = f' in the file "{self.spool_path}"' if self.spool_path is not None else " in its state folder"
        return f"What cannot be delivered waits{place}, up to {self.spool_mb:g} MB."
