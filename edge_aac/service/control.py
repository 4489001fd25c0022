"""Commands to a running stream: sources are paused, and heard by other thresholds and hops."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

from edge_aac.service.overrides import Override, Overrides, Setting, unusable_hop
from edge_aac.service.plans import SourcePlan
from edge_aac.service.reload import Running
from edge_aac.sinks.contract import AlertState, SourceState
from edge_aac.streaming.channel import Channel
from edge_aac.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)

Change = Callable[[SourcePlan, Channel, Override], Override]


class Control:
    """The :class:`~edge_aac.sinks.contract.SourceControl` of a stream, which sinks are given before it begins.

    Args:
        overrides: what commands have set; kept when they set more.
    """

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._running: Running | None = None
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._one_at_a_time = threading.Lock()
        self._switching = threading.Lock()
        """Held until a source is as the command says: of two commands at once, what is kept is what is so."""

    def attach(self, running: Running) -> None:
        """Change the sources of this stream from now on; those that commands have paused before are paused now.

        Called before the stream runs.
        """
        self._running = running
        running.changed = self.tell
        self.tell()

    def sources(self) -> list[SourceState]:
        """The sources that are configured now, in order; none before the stream begins."""
        running = self._running
        if running is None:
            return []
        return [self._state(plan, channel) for plan, channel in list(running.channels.values())]

    def set_enabled(self, label: str, enabled: bool) -> None:
        """See :meth:`edge_aac.sinks.contract.SourceControl.set_enabled`."""

        def change(_plan: SourcePlan, channel: Channel, override: Override) -> Override:
            if not channel.capture.can_pause:
                raise ValueError(f"{label} is a file or pipe, which is not paused: whoever writes it sets the pace")
            if channel.ended:
                raise ValueError(f"{label} has ended")
            return replace(override, paused=not enabled)

        with self._switching:
            channel = self._change(label, change, f"{'listens again' if enabled else 'paused'}")
            # Here and not between two rounds: a driver may take its time to close.
            if enabled:
                channel.capture.resume()
            else:
                channel.capture.pause()
        self.tell()

    def set_threshold(self, label: str, min_score: float | None) -> None:
        """See :meth:`edge_aac.sinks.contract.SourceControl.set_threshold`."""
        if min_score is not None and not math.isfinite(min_score):
            raise ValueError("a threshold is a finite number")

        def change(plan: SourcePlan, _channel: Channel, override: Override) -> Override:
            configured = plan.settings.score_gate.min_score
            return replace(override, min_score=None if min_score == configured else Setting(min_score, configured))

        self._change(label, change, "no threshold" if min_score is None else f"threshold {min_score:g}")
        self.tell()

    def set_hop(self, label: str, hop_s: float) -> None:
        """See :meth:`edge_aac.sinks.contract.SourceControl.set_hop`."""
        if (fault := unusable_hop(hop_s)) is not None:
            raise ValueError(fault)

        def change(plan: SourcePlan, _channel: Channel, override: Override) -> Override:
            configured = plan.source.hop_s
            return replace(override, hop_s=None if hop_s == configured else Setting(hop_s, configured))

        self._change(label, change, f"hop {hop_s:g} s")
        self.tell()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See :meth:`edge_aac.sinks.contract.SourceControl.subscribe`."""
        key = object()
        self._callbacks[key] = callback

        def end() -> None:
            self._callbacks.pop(key, None)

        return end

    def tell(self) -> None:
        """Tell all who have subscribed that something has changed."""
        for callback in list(self._callbacks.values()):
            try:
                callback()
            except Exception:
                log.exception("who takes commands cannot be told of a change")

    def _change(self, label: str, change: Change, what: str) -> Channel:
        """Change what was set of a source, and how it is heard, between two rounds."""
        running = self._running
        if running is None:
            raise ValueError("the stream has not begun")

        def put_in_place() -> Channel:
            for plan, channel in running.channels.values():
                if channel.label == label:
                    override = change(plan, channel, self._overrides.of(label))
                    self._overrides.set(label, override)
                    listening = self._overrides.listening(plan)
                    running.session.reconfigure(
                        channel, listening.hop_samples, listening.settings, plan.same_similarity
                    )
                    return channel
            raise ValueError(f"there is no source {label!r}")

        with self._one_at_a_time:
            try:
                channel = running.session.between_rounds(put_in_place).result()
            except CancelledError as error:
                raise ValueError("the stream has ended") from error
            self._overrides.save()
        log.info("%s: %s, by a command", label, what)
        return channel

    def _state(self, plan: SourcePlan, channel: Channel) -> SourceState:
        listening, newest = self._overrides.listening(plan), channel.publisher.alerts.newest
        return SourceState(
            label=channel.label,
            enabled=not listening.paused,
            min_score=listening.settings.score_gate.min_score,
            hop_s=listening.hop_samples / SAMPLE_RATE,
            can_pause=channel.capture.can_pause,
            state=channel.capture.state,
            alerts=tuple(
                AlertState(rule.name, rule.title, rule.device_class, newest.get(rule.name))
                for rule in channel.publisher.alerts.rules
            ),
        )
