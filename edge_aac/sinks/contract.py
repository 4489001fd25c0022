"""What every sink promises, and what every kind of sink can be told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_aac.errors import EdgeAacError
from edge_aac.records import Alert, Record, as_text, known_kinds
from edge_aac.records.health import SinkState

_log = logging.getLogger(__name__)


class TransientSinkError(Exception):
    """A delivery failed for a reason that may pass: the same record is delivered again later."""


@dataclass(frozen=True)
class SinkStatus:
    """How a sink does that takes records at once and delivers them later, by a thread of its own.

    Attributes:
        state: "delivering"; "retrying" while a fault that may pass is waited out; "failed" when it takes no more.
        queued: messages that the sink itself holds now, those under way included.
        dropped: messages that it gave up, since it was opened.
        retries: deliveries that it tried again, since it was opened.
        delivered: messages whose arrival was confirmed, since it was opened; None where the sink does not count them.
        reason: why it retries or failed, or what is wrong although it delivers.
    """

    state: SinkState = "delivering"
    queued: int = 0
    dropped: int = 0
    retries: int = 0
    delivered: int | None = None
    reason: str | None = None


class Sink(Protocol):
    """Where records go. One thread at a time uses it.

    A sink that keeps messages of its own has a property ``status`` too, a :class:`SinkStatus`, which any thread may
    read at any time and which never waits: health records and metrics show it together with the queue before the sink.
    """

    def publish(self, record: Record) -> None:
        """Deliver one record; may block.

        Raises:
            TransientSinkError: not now; the caller keeps the record and tries again.
            Exception: the sink can never deliver again.
        """

    def close(self) -> None:
        """Flush and let go."""


class SinkSettings(BaseModel):
    """What the configuration may say of any sink; a kind of sink adds its own keys in a subclass.

    Attributes:
        records: the kinds of record that the sink takes.
        queue_records: how many records may wait for the sink; then the oldest of live sources are dropped and counted.

    A subclass may have a method ``leaves(self) -> str`` that tells in sentences where records go, for
    ``edge-aac config --show``, and a method ``for_node(self, node)`` that gives the settings to open the sink with on
    the device of that name.
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    records: tuple[str, ...] = Field(default=("caption", "alert"), description="Kinds of record that the sink takes.")
    queue_records: int = Field(
        default=256,
        ge=8,
        le=1_000_000,
        description="Records that may wait before the oldest are dropped.",
        json_schema_extra={"unit": "records"},
    )

    @field_validator("records")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        known = known_kinds()
        for kind in kinds:
            if kind not in known:
                raise ValueError(f"there is no kind of record {kind!r}: use {', '.join(known)}")
        return kinds

    @property
    def records_in_words(self) -> str:
        """The kinds of record as a sentence begins with them: "Caption and event records"."""
        *others, last = self.records or ("no",)
        names = f"{', '.join(others)} and {last}" if others else last
        return f"{names[:1].upper()}{names[1:]} records"

    @classmethod
    def parse(cls, rest: str) -> SinkSettings:
        """Settings from what follows the kind in a short form such as ``jsonl:PATH``.

        Raises:
            ValueError: the kind takes nothing there, or something else.
        """
        if rest:
            raise ValueError("nothing may follow this kind of sink")
        return cls()


class SinkKind(Protocol):
    """What the entry-point group ``edge_aac.sinks`` registers under the name of a kind of sink.

    It may have a class method ``check(settings) -> str`` too, which `edge-aac doctor` calls in place of opening and
    closing the sink: it goes the whole way of a record, and leaves nothing that could be taken for one (a file of its
    own that it deletes, a message that is not retained on a topic for tests), also while the service uses the same
    sink. It gives what it did in one sentence without its full stop, and raises what :meth:`open` and
    :meth:`Sink.publish` raise.
    """

    Settings: ClassVar[type[SinkSettings]]

    @classmethod
    def open(cls, settings: Any) -> Sink:
        """Open a sink from an instance of :attr:`Settings`.

        Raises:
            EdgeAacError: it cannot be opened, and trying again would not help.
        """


def status_of(sink: Sink) -> SinkStatus | None:
    """Status of a sink that has one; None of any other. It never raises: one sink's fault is not the stream's."""
    try:
        status = getattr(sink, "status", None)
    except Exception as error:
        _log.debug("a sink has no status now", exc_info=True)
        return SinkStatus("retrying", reason=f"its status cannot be read ({reason_of(error)})")
    return status if isinstance(status, SinkStatus) else None


@dataclass(frozen=True)
class AlertState:
    """A rule for alerts that a source follows, and its state.

    Attributes:
        name: name of the rule.
        title: name of the rule for people.
        device_class: what Home Assistant takes the sound for.
        newest: the newest record of its alerts in this run; None before the first.
    """

    name: str
    title: str
    device_class: str = "sound"
    newest: Alert | None = None

    @property
    def is_open(self) -> bool:
        """Whether an alert of the rule is open."""
        return self.newest is not None and self.newest.state == "start"


@dataclass(frozen=True)
class SourceState:
    """A source as it is listened to now.

    Attributes:
        label: name of the source in records.
        enabled: False where a command has paused it: its device is closed, and nothing of it is heard.
        min_score: captions with a lower hybrid score are not published; None: all are.
        hop_s: seconds from one window to the next, where nothing makes it longer for a while.
        can_pause: whether it may be paused: a file or pipe, whose reader sets the pace, may not.
        state: as health records have it: "listening", "paused", "failed" …
        alerts: the rules for alerts that it follows, in order.
    """

    label: str
    enabled: bool
    min_score: float | None
    hop_s: float
    can_pause: bool
    state: str
    alerts: tuple[AlertState, ...] = ()


class SourceControl(Protocol):
    """Changes how sources are listened to, while they are. Any thread may call it; a call waits for the change.

    A value that was set here holds, over restarts and reloads too, until the configuration's own value of the same
    setting is another one than it was when the command came.
    """

    def sources(self) -> Sequence[SourceState]:
        """The sources that are configured now, in order."""

    def set_enabled(self, label: str, enabled: bool) -> None:
        """Pause a source, which closes its device, or listen again.

        Raises:
            ValueError: there is no such source, it cannot be paused, or the stream has ended; the message says which.
        """

    def set_threshold(self, label: str, min_score: float | None) -> None:
        """Publish no caption of a source with a lower hybrid score; None publishes all.

        Raises:
            ValueError: there is no such source, the score is no number, or the stream has ended.
        """

    def set_hop(self, label: str, hop_s: float) -> None:
        """Have a source's windows begin so many seconds apart.

        Raises:
            ValueError: there is no such source, the hop is unusable, or the stream has ended.
        """

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after sources, their settings or alerts have changed, whoever changed them.

        It is called in the thread that describes sound: it must not wait, and must not call this object; it may let
        another thread do so.

        Returns:
            Ends the subscription.
        """


@runtime_checkable
class TakesCommands(Protocol):
    """A sink by which others may change how sources are listened to.

    Its settings have a field ``commands``: where that is true of no sink, what commands have set before does not count.
    """

    def take_commands(self, control: SourceControl) -> None:
        """Take commands from now on, until the sink is closed; called once, after the sink was opened."""


def reason_of(error: BaseException) -> str:
    """An error as a sink's health gives it."""
    known = isinstance(error, (EdgeAacError, TransientSinkError))
    return as_text(str(error) if known else f"{type(error).__name__}: {error}")
