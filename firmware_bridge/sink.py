"""The sink ``bridge``: captions and alerts go back to the devices, routed by their source."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from edge_aac.errors import DeviceError, UsageError
from edge_aac.records import Alert as AlertRecord
from edge_aac.records import Caption as CaptionRecord
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkSettings, SinkStatus
from firmware_bridge.device_ids import id_of
from firmware_bridge.fields import Abilities, Pattern, Priority
from firmware_bridge.frame import Ack
from firmware_bridge.outbox import Outbox

# What is imported here is imported by `edge-aac config --example` too, which reads the settings: links are not.
if TYPE_CHECKING:
    from firmware_bridge.address import Endpoint
    from firmware_bridge.device import Device
    from firmware_bridge.link import Link
    from firmware_bridge.registry import Registry

PATTERNS = {pattern.name.lower().replace("_", "-"): pattern for pattern in Pattern}
EVERY_SOURCE = "*"
_LOOK_S = 0.05
_CLOSE_S = 1.5

log = logging.getLogger(__name__)


class BridgeSettings(SinkSettings):
    """``[[sinks]]`` of kind ``bridge``.

    Attributes:
        records: kinds of record that the sink takes: captions are shown, alerts are played and shown.
        links: links that are opened for their displays alone; those of sources need no entry.
        own: whether a device shows the captions of its own microphone.
        show: sources whose captions a device shows beside its own, by the device's id or name; ``*`` for all.
        show_s: how long a caption is shown.
        min_interval_s: time between two captions on one device.
        alerts: pattern that is played where a caption has these words.
        alert_s: how long a pattern repeats.
        alert_pattern: pattern of an alert record.
    """

    records: tuple[str, ...] = Field(
        default=("caption", "alert"),
        description="Kinds of record that the sink takes.",
    )
    links: tuple[str, ...] = Field(
        default=(),
        description="Links that are opened for their displays alone: serial:PATH or udp://HOST:PORT. Those that are "
        "heard need no entry.",
        examples=[["udp://0.0.0.0:5005"]],
    )
    own: bool = Field(default=True, description="A device shows the captions of its own microphone.")
    show: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Sources that a device shows beside its own, by the device's name or id; * for all.",
        examples=[{"wrist": ["*"]}],
        json_schema_extra={"public": True},
    )
    show_s: int = Field(
        default=10, ge=0, le=65_535, description="How long a caption is shown; 0: until the next.",
        json_schema_extra={"unit": "s"},
    )  # fmt: skip
    min_interval_s: float = Field(
        default=2.0,
        ge=0.0,
        le=3600.0,
        description="Time between two captions on a device; the newest is shown.",
        json_schema_extra={"unit": "s"},
    )
    alerts: dict[str, str] = Field(
        default_factory=dict,
        description=f"Pattern that is played where a caption has these words: {', '.join(PATTERNS)}.",
        examples=[{"smoke alarm": "three-short"}],
        json_schema_extra={"public": True},
    )
    alert_s: int = Field(
        default=10, ge=0, le=65_535, description="How long a pattern repeats; 0: once.", json_schema_extra={"unit": "s"}
    )
    alert_pattern: str = Field(default="in-turns", description="Pattern of an alert record.")

    @field_validator("links")
    @classmethod
    def _are_links(cls, links: tuple[str, ...]) -> tuple[str, ...]:
        for link in links:
            try:
                _endpoint_of(link)
            except UsageError as error:
                raise ValueError(str(error).rstrip(".")) from error
        return links

    @field_validator("alerts")
    @classmethod
    def _have_patterns(cls, alerts: dict[str, str]) -> dict[str, str]:
        for words, pattern in alerts.items():
            cls._is_pattern(pattern)
            if not words.strip():
                raise ValueError("the words of an alert are empty")
        return alerts

    @field_validator("alert_pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        if pattern not in PATTERNS:
            raise ValueError(f"there is no pattern {pattern!r}: use {', '.join(PATTERNS)}")
        return pattern

    @classmethod
    def parse(cls, rest: str) -> BridgeSettings:
        """Settings of ``bridge``, or of ``bridge:LINK`` with a link that is opened for its displays."""
        return cls(links=(rest,)) if rest else cls()

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        return (
            f"{self.records_in_words} go to microcontrollers on serial links and in the network (udp); there "
            "they are authenticated, unless the link's address says auth=none, and not encrypted."
        )


class BridgeSink:
    """Sends captions to displays and alerts to vibrators, by a thread of its own.

    Args:
        settings: see :class:`BridgeSettings`.
        links: those that are open; None for those of this process.
        now_s: monotonic time in seconds.

    Raises:
        EdgeAacError: a link of the settings cannot be opened.
    """

    Settings = BridgeSettings

    def __init__(
        self, settings: BridgeSettings, links: Registry | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        if links is None:
            from firmware_bridge.registry import registry

            links = registry
        self._settings = settings
        self._registry = links
        self._now_s = now_s
        self._lock = threading.Lock()
        self._outboxes: dict[tuple[int, int], tuple[Link, Outbox]] = {}
        """By the link's identity and the device's id."""
        self._listening: dict[int, Callable[[], None]] = {}
        self._unreachable = 0
        self._reason: str | None = None
        self._own_links: list[Link] = []
        try:
            for address in settings.links:
                self._own_links.append(links.open(_endpoint_of(address), wait=True))
        except BaseException:
            self._release()
            raise
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-aac-bridge-sink", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, settings: BridgeSettings) -> BridgeSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: BridgeSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`: nothing is sent, since that would alarm people."""
        from firmware_bridge.seen import read_seen, seen_file

        names = sorted({one.name or one.id for one in read_seen(seen_file())})
        there = f"; those that have said HELLO here before: {', '.join(names)}" if names else ""
        return f"nothing is sent in a check{there}"

    @property
    def status(self) -> SinkStatus:
        """See :class:`edge_aac.sinks.contract.SinkStatus`."""
        with self._lock:
            outboxes = [outbox for _, outbox in self._outboxes.values()]
        counters = [outbox.counters for outbox in outboxes]
        return SinkStatus(
            "delivering",
            sum(outbox.queued for outbox in outboxes),
            sum(one.replaced + one.unanswered + one.refused for one in counters),
            sum(one.retries for one in counters),
            sum(one.answered for one in counters),
            self._reason,
        )

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`. It never waits for a device."""
        if isinstance(record, AlertRecord):
            self._publish_alert(record)
            return
        text = record.caption if isinstance(record, CaptionRecord) else record.sentence()
        found = text.casefold()
        patterns = [pattern for words, pattern in self._settings.alerts.items() if words.casefold() in found]
        for link, device in self._devices_of(record.source):
            with self._lock:
                outbox = self._outbox(link, device)
                for pattern in patterns:
                    self._play(outbox, device, PATTERNS[pattern])
                self._show(outbox, device, text, Priority.IMPORTANT if patterns else Priority.NORMAL)
        self._changed.set()

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: what waits is sent once, within a moment."""
        deadline_s = self._now_s() + _CLOSE_S
        while self._now_s() < deadline_s and self.status.queued:
            self._closed.wait(_LOOK_S)
        self._closed.set()
        self._changed.set()
        self._thread.join(_CLOSE_S)
        for end in self._listening.values():
            end()
        self._release()

    def _publish_alert(self, alert: AlertRecord) -> None:
        starts = alert.state == "start"
        pattern = PATTERNS[self._settings.alert_pattern] if starts else Pattern.STOP
        for link, device in self._devices_of(alert.source):
            with self._lock:
                outbox = self._outbox(link, device)
                self._play(outbox, device, pattern)
                if starts:
                    self._show(outbox, device, f"{alert.title or alert.alert}: {alert.caption}", Priority.URGENT)
        self._changed.set()

    def _play(self, outbox: Outbox, device: Device, pattern: Pattern) -> None:
        if device.hello.abilities & Abilities.ALERT:
            outbox.play(pattern, Priority.URGENT, self._settings.alert_s)

    def _show(self, outbox: Outbox, device: Device, text: str, priority: Priority) -> None:
        if device.hello.abilities & Abilities.DISPLAY:
            outbox.show(text, priority, self._settings.show_s, device.hello.caption_bytes)

    def _devices_of(self, source: str) -> list[tuple[Link, Device]]:
        """The devices that show what is heard at a source, each once.

        One that is on several links is sent it where it was heard last, or where that source is heard.
        """
        found: dict[int, tuple[Link, Device]] = {}
        named = self._registry.named(source) if self._settings.own else None
        by_time = sorted(self._registry.devices(), key=lambda one: one[1].heard_s)
        for link, device in sorted(by_time, key=lambda one: named == (one[0], one[1].id)):
            own = named is not None and named == (link, device.id)
            if own or self._is_shown(source, device):
                found[device.id] = link, device
        return list(found.values())

    def _is_shown(self, source: str, device: Device) -> bool:
        for name, sources in self._settings.show.items():
            if (name == device.label or id_of(name) == device.id) and (EVERY_SOURCE in sources or source in sources):
                return True
        return False

    def _outbox(self, link: Link, device: Device) -> Outbox:
        key = id(link), device.id
        if key not in self._outboxes:
            self._outboxes[key] = link, Outbox(device.id, device.next_id, self._settings.min_interval_s)
        if id(link) not in self._listening:
            self._listening[id(link)] = link.listen(partial(self._answered, id(link)))
        return self._outboxes[key][1]

    def _answered(self, link: int, device: Device, ack: Ack) -> None:
        with self._lock:
            found = self._outboxes.get((link, device.id))
            if found is not None:
                found[1].answer(ack)
        self._changed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._changed.wait(_LOOK_S if self.status.queued else None)
            self._changed.clear()
            with self._lock:
                now_s = self._now_s()
                due = [(link, frame) for link, outbox in self._outboxes.values() if (frame := outbox.due(now_s))]
            for link, frame in due:
                try:
                    link.send(frame)
                    self._reason = None
                except DeviceError as error:
                    # It is tried again as one that was not answered.
                    self._unreachable += 1
                    self._reason = str(error)
                    log.debug("%s", error)

    def _release(self) -> None:
        for link in self._own_links:
            self._registry.release(link)
        self._own_links = []


def _endpoint_of(text: str) -> Endpoint:
    """The link of an address.

    Raises:
        UsageError: it is none.
    """
    from edge_aac.audio.sources.address import Address
    from firmware_bridge.address import BridgeAddress

    address = Address.parse(text)
    if address.scheme not in {"serial", "udp"}:
        raise UsageError("a link is serial:PATH or udp://HOST:PORT")
    return BridgeAddress.of(address).endpoint
