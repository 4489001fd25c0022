"""Publishes one source's alerts, and tells which are open now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from edge_aac.records import Alert, TimeSpan
from edge_aac.streaming.alerts.rules import AlertRule, local_minute
from edge_aac.streaming.alerts.watch import AlertChange, AlertWatch
from edge_aac.streaming.building import RecordBuilder, compact
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.event_changes import EventChange, OpenEvent
from edge_aac.streaming.outlet import Delivery
from edge_aac.timebase import SAMPLE_RATE


class AlertPublisher:
    """Publishes the alerts of one source. The scheduler's thread uses it; any thread may read :attr:`newest`.

    Args:
        rules: those that the source follows.
        builder: whose node and source the records name.
        span: gives the time span from one position in samples to another.
        counters: counts of the source.
        publish: takes the records.
        live: whether the source is live: its records may be dropped.
        is_marked: whether people may talk in an event, by its number, where that is marked.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        *,
        builder: RecordBuilder,
        span: Callable[[int, int], TimeSpan],
        counters: Counters,
        publish: Callable[[Delivery], None],
        live: bool,
        is_marked: Callable[[int], bool],
    ) -> None:
        self._builder = builder
        self._span = span
        self._counters = counters
        self._publish = publish
        self._live = live
        self._is_marked = is_marked
        self._watch = AlertWatch(rules, lambda position: local_minute(span(position, position).end))
        self._starts: dict[int, Alert] = {}
        self.newest: dict[str, Alert] = {}
        """The newest record of each rule that is followed, by the rule's name; replaced as a whole."""
        self.begun: Counter[str] = Counter()
        """Alerts that each rule has begun, by its name."""

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules that are followed."""
        return self._watch.rules

    @property
    def is_open(self) -> bool:
        """Whether any alert is open."""
        return bool(self._watch.open)

    def window(self, start: int, end: int, events: Sequence[OpenEvent]) -> None:
        """Take in a window that tells what is heard; see :meth:`AlertWatch.window`."""
        self._tell(self._watch.window(start, end, events))

    def passed(self, changes: Sequence[EventChange], position: int) -> None:
        """Let time pass to ``position``, which has changed events."""
        self.late(changes)
        self._tell(self._watch.expire(position))

    def late(self, changes: Sequence[EventChange]) -> None:
        """Take in events that no window has started; see :meth:`AlertWatch.late`."""
        self._tell(self._watch.late(changes))

    def finish(self) -> None:
        """End all alerts: nothing is heard any more."""
        self._tell(self._watch.finish())

    def keep_private(self, may_be_told: Callable[[str], bool]) -> None:
        """End alerts whose captions may not be told any more, in the words that were told; no state repeats these."""
        self._tell(self._watch.give_up(may_be_told))
        self.newest = {
            name: record if may_be_told(record.caption) else record.without_words()
            for name, record in self.newest.items()
        }

    def change_rules(self, rules: Sequence[AlertRule]) -> None:
        """Follow other rules from now on; see :meth:`AlertWatch.change_rules`."""
        self._tell(self._watch.change_rules(rules))
        names = {rule.name for rule in rules}
        self.newest = {name: record for name, record in self.newest.items() if name in names}

    def _tell(self, changes: Sequence[AlertChange]) -> None:
        for change in changes:
            record = self._record(change)
            if change.state == "start":
                self._counters.alerts += 1
                self.begun[record.alert] += 1
                self._starts[change.number] = record
            # Whoever is told of the record may look at once.
            self.newest = {**self.newest, record.alert: record}
            self._publish(Delivery(record, not self._live))

    def _record(self, change: AlertChange) -> Alert:
        span = self._span(change.start, change.end)
        before = self._starts.pop(change.number, None) if change.state == "end" else None
        if before is not None:
            # What the first record gave stays, whatever is done to the clock. RFC 3339 in UTC sorts as text.
            end = None if span.end is None else max(span.end, before.start or "")
            span = TimeSpan(start=before.start, end=end, start_s=before.start_s, end_s=span.end_s)
        marked = self._is_marked(change.event) or (before is not None and before.speech)
        rule = change.rule
        return Alert(
            node=self._builder.node,
            source=self._builder.source,
            **span.model_dump(),
            alert=rule.name,
            title=None if rule.title in {"", rule.name} else rule.title,
            number=change.number,
            id=None if span.start is None else f"{compact(span.start)}-{change.number}",
            state=change.state,
            lasted_s=round((change.end - change.start) / SAMPLE_RATE, 3),
            caption=change.caption,
            event=change.event,
            reason=change.reason,
            speech=True if marked else None,
        )
