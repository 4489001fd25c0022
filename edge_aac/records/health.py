"""The health record: how one source and the sinks did in the last interval."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Part, Record

HealthState = Literal["waiting", "listening", "mute", "stalled", "paused", "failed", "ended"]
SinkState = Literal["delivering", "retrying", "failed"]


class PublishedLatencyMs(Part):
    """Milliseconds from the end of a window's sound to the delivery of its caption by the first sink.

    Attributes:
        median, maximum: over the captions of the interval.
    """

    median: float
    maximum: float


class SinkHealth(Part):
    """State of a sink.

    Attributes:
        state: "delivering"; "retrying" while a fault that may pass is waited out; "failed" when it takes no more.
        queued: records that wait for the sink now.
        delivered, dropped, retries: records delivered, records dropped by a full queue and deliveries tried again, all
            since the start.
        reason: why it retries or failed.
    """

    state: SinkState
    queued: int
    delivered: int
    dropped: int
    retries: int
    reason: str | None = None


class ClipsHealth(Part):
    """State of the clips that are saved, of all sources.

    Attributes:
        state: "saving"; "failing" while the last one could not be written.
        queued_ms: milliseconds of sound that wait for the disk now.
        saved, dropped, private, removed: clips saved, clips not saved for the disk or for want of room, clips not kept
            since people talk in them or their words are suppressed, and clips deleted for the limits, all since the
            start.
        reason: why the last one could not be written.
    """

    state: Literal["saving", "failing"]
    queued_ms: int
    saved: int
    dropped: int
    private: int
    removed: int
    reason: str | None = None


class Health(Record):
    """Figures of a source between ``start`` and ``end``.

    Attributes:
        state: "waiting" for the device to come, "listening", "mute" when it has given digital silence or one constant
            value for minutes, "stalled" when it is there and gives no sound, "paused" while a command keeps it closed,
            which is no loss, "failed", "ended" after the last sound of a file or pipe.
        reason: why it is not listening, where that is known.
        level_dbfs: mean level of the interval's windows in dB below full scale; absent without windows.
        windows: number of windows that were cut from the sound.
        captions: captions published.
        silent, unsure, failed: windows below the level gate, below the score gate, and not described for an error.
        skipped: windows left out, by reason: "overlap" for a later window that holds the same sound, "behind" where
            the machine is too slow for all sources, "late" where what was heard in them was described before and they
            have waited for more than two hops, "stop" where the run ended before they were described.
        dropped_ms: milliseconds of sound lost, those of an outage that goes on included.
        latency_ms: time from the end of a window's sound to its publication; absent without captions or for files.
        queued_ms: milliseconds of sound that wait to be taken.
        due_windows: number of windows that wait to be described.
        reconnects: number of times that the source was found again, since the start.
        sinks: state of each sink.
        warnings: what is wrong beside that, each as a sentence; empty where nothing is.
        described: windows that were decoded, whether or not a caption of them was published.
        same: windows that sounded like the last one that was decoded, so that they were not.
        hop_s: seconds from one window to the next at the end of the interval; absent where it never changes.
        temperature_c: the processor's temperature in degrees Celsius; absent where no sensor is known.
        private: windows of which nothing was published, since people talk in them or their words are suppressed.
        clips: state of the clips that are saved; absent where none are.
        events: sounds that started an event.
        unconfirmed: sounds that too few windows had for an event.
        cooled: sounds that came back within the cool-down of their last event, and were over within it.
        alerts: alerts that began.
    """

    schema_: Literal["edge-aac/health/1"] = Field(default="edge-aac/health/1", alias="schema")
    state: HealthState
    reason: str | None = None
    level_dbfs: float | None = None
    windows: int
    captions: int
    silent: int
    unsure: int
    failed: int
    skipped: dict[str, int]
    dropped_ms: int
    latency_ms: PublishedLatencyMs | None = None
    queued_ms: int
    due_windows: int
    reconnects: int
    sinks: dict[str, SinkHealth]
    warnings: list[str] = Field(default_factory=list)
    described: int = 0
    same: int = 0
    hop_s: float | None = None
    temperature_c: float | None = None
    private: int = 0
    clips: ClipsHealth | None = None
    events: int = 0
    unconfirmed: int = 0
    cooled: int = 0
    alerts: int = 0

    def sentence(self) -> str:
        skipped = sum(self.skipped.values())
        parts = [f"[{self.state}] {self.windows} windows", f"{self.captions} captions", f"{self.silent} silent"]
        parts += [
            f"{count} {what}"
            for count, what in ((skipped, "skipped"), (self.failed, "failed"), (self.private, "private"))
            if count
        ]
        if self.dropped_ms:
            parts.append(f"{self.dropped_ms} ms of sound lost")
        if self.latency_ms:
            parts.append(f"latency {self.latency_ms.median:.0f} ms, at most {self.latency_ms.maximum:.0f} ms")
        if self.same:
            parts.append(f"{self.same} same as before")
        if self.temperature_c is not None:
            parts.append(f"{self.temperature_c:.0f} °C")
        parts += [f"{name} {sink.state}" for name, sink in self.sinks.items() if sink.state != "delivering"]
        parts += self.warnings
        return ", ".join(parts)
