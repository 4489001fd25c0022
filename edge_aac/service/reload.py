"""Settings that are read anew while the service runs: what changed is opened, then put in place between two rounds.

Nothing is touched before everything new is open, so that settings that cannot be used leave the old ones in use. A
source that stays loses no sample: its capture goes on, and only what is made of its sound may change.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from edge_aac.audio.sources.address import Address, Source
from edge_aac.audio.sources.discovery import Discovery
from edge_aac.audio.sources.paused import PausedSource
from edge_aac.errors import ConfigError, EdgeAacError
from edge_aac.fluency.languages import phrase_splitter
from edge_aac.models.contract import WindowModel
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service.changed_settings import need_restart
from edge_aac.service.discoveries import Discoveries
from edge_aac.service.opening import Output, SinkPlan, configured_sinks, open_model, open_waiting, sink_plans
from edge_aac.service.overrides import Overrides
from edge_aac.service.plans import SourcePlan, source_plans
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.service.watchdog import Watchdog
from edge_aac.settings.tree import Settings
from edge_aac.sinks.contract import SourceControl
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.heap import opening_heap
from edge_aac.streaming.hub import Outlet
from edge_aac.streaming.load import heat_watch
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.streaming.session import Session
from edge_aac.streaming.settings import (
    HealthSettings,
    StreamSettings,
)

JOIN_TIMEOUT_S = 0.3
SETTLE_S = 0.25
"""Time between two looks at settings that are read anew."""
EXCHANGE_TIMEOUT_S = 5.0
"""A sink has so long to deliver the record in hand before another one takes its place."""

log = logging.getLogger(__name__)


@dataclass
class Opened:
    """What was opened for new settings, and is not in use yet."""

    model: WindowModel | None = None
    sources: list[tuple[SourcePlan, Source]] = field(default_factory=list)
    discoveries: dict[tuple[str, str], Discovery] = field(default_factory=dict)
    outlets: list[tuple[SinkPlan, Outlet]] = field(default_factory=list)

    def close(self) -> None:
        """Close it: it will not be used."""
        for _, source in self.sources:
            source.close()
        for discovery in self.discoveries.values():
            discovery.close()
        for _, outlet in self.outlets:
            outlet.close(patient=False)


@dataclass
class Running:
    """What runs now, and the settings that it was made of.

    Attributes:
        session: captions.
        settings: in use.
        output: what the verb's own flags say of standard output.
        stop: ends the session.
        channels: each source as it is configured, with its channel, by :attr:`SourcePlan.key`.
        outlets: each sink as it is configured, with its outlet.
        overrides: what commands have set of the sources.
        control: given to sinks that take commands.
        changed: called after other settings were put in place.
        discoveries: look for sources at the addresses that name several; what they found is among ``channels``.
    """

    session: Session
    settings: Settings
    output: Output
    stop: threading.Event
    channels: dict[tuple[str, str], tuple[SourcePlan, Channel]]
    outlets: list[tuple[SinkPlan, Outlet]]
    overrides: Overrides = field(default_factory=Overrides)
    control: SourceControl | None = None
    changed: Callable[[], None] = lambda: None
    discoveries: Discoveries = field(default_factory=Discoveries)

    def change_to(self, settings: Settings) -> list[str]:
        """Put other settings in place; to be called by any thread but the session's.

        Returns:
            What changed, in words; empty where nothing did.

        Raises:
            EdgeAacError: they cannot be used; the old ones go on.
            CancelledError: the session ended meanwhile.
        """
        sources = {plan.key: plan for plan in source_plans(settings, self.output)}
        asks = settings.get(CaptionerSettings).asks
        sinks = sink_plans(configured_sinks(settings), self.output, self.control, asks=asks)
        opened = Opened()
        try:
            self._open(settings, sources, sinks, opened)
            changes = self.session.between_rounds(lambda: self._put_in_place(settings, sources, sinks, opened)).result()
            self.overrides.save()
            return changes
        except BaseException:
            opened.close()
            raise

    def _open(
        self,
        settings: Settings,
        sources: Mapping[tuple[str, str], SourcePlan],
        sinks: list[SinkPlan],
        opened: Opened,
    ) -> None:
        """Open what is new; see :meth:`change_to` for what it raises."""
        if _needs_model(self.settings.get(CaptionerSettings), settings.get(CaptionerSettings)):
            with opening_heap():
                opened.model = open_model(settings.get(CaptionerSettings))
            phrase_splitter(opened.model.language)  # refuses one that cannot be loaded before anything is changed
        opened.discoveries = self.discoveries.opened(sources.values(), wait=True)
        for key, plan in sources.items():
            if plan.several:
                continue
            if key in self.channels:
                if _has_failed(self.channels[key][1]):
                    self._open_again(plan, opened)
                continue
            if Address.parse(plan.source.address).scheme == "stdin":
                raise ConfigError("standard input cannot be opened anew: restart the service for it")
            paused = self.overrides.listening(plan).paused
            source = PausedSource(plan.label) if paused else open_waiting(plan.source.address, plan.context)
            opened.sources.append((plan, source))
        self._open_sinks(sinks, opened)

    @staticmethod
    def _open_again(plan: SourcePlan, opened: Opened) -> None:
        """Open a source that ended with an error: what kept it from being heard may be mended, or not yet."""
        try:
            opened.sources.append((plan, open_waiting(plan.source.address, plan.context)))
        except EdgeAacError as error:
            log.warning("%s", error)

    def _open_sinks(self, sinks: list[SinkPlan], opened: Opened) -> None:
        """Open new sinks, last of all.

        One that cannot be open beside the one that it follows, as two that write one file, takes its place in the same
        outlet, and its queue.
        """
        exchanged: list[tuple[int, SinkPlan]] = []
        try:
            for sink in sinks:
                if self._outlet_of(sink) is not None:
                    continue
                try:
                    opened.outlets.append((sink, sink.open(self.stop)))
                except EdgeAacError as error:
                    place = self._followed_by(sink, sinks)
                    if place is None:
                        raise
                    log.debug("sink %s takes the place of the one before it: %s", sink.name, error)
                    before, outlet = self.outlets[place]
                    outlet.exchange(sink.reopening, before.reopening, EXCHANGE_TIMEOUT_S)
                    exchanged.append((place, before))
                    self.outlets[place] = sink, outlet
        except BaseException:
            for place, before in exchanged:
                sink, outlet = self.outlets[place]
                outlet.exchange(before.reopening, sink.reopening, EXCHANGE_TIMEOUT_S)
                self.outlets[place] = before, outlet
            raise

    def _followed_by(self, sink: SinkPlan, sinks: list[SinkPlan]) -> int | None:
        """Place of an outlet of the same kind that the new settings have no more."""
        for place, (before, outlet) in enumerate(self.outlets):
            unused = all(before.chosen != other.chosen for other in sinks)
            if before.chosen.kind == sink.chosen.kind and outlet.error is None and unused:
                return place
        return None

    def _put_in_place(
        self,
        settings: Settings,
        sources: Mapping[tuple[str, str], SourcePlan],
        sinks: list[SinkPlan],
        opened: Opened,
    ) -> list[str]:
        """Change the session between two of its rounds; nothing here can be refused any more."""
        changes: list[str] = []
        session = self.session
        kept = [(sink, outlet) for sink in sinks if (outlet := self._outlet_of(sink)) is not None]
        if opened.outlets or len(kept) < len(self.outlets):
            changes.append("sinks")
            self.outlets = kept + opened.outlets
            opened.outlets = []
            for sink, outlet in self.outlets:
                outlet.name = sink.name
            session.hub.replace([outlet for _, outlet in self.outlets])
        stream = settings.get(StreamSettings)
        self.overrides.keep_only(sources.values())
        changes += self.discoveries.put_in_place(sources, opened.discoveries)
        session.more_may_come = len(self.discoveries) > 0
        again = {plan.key for plan, _ in opened.sources}
        named = {plan.label for plan in sources.values() if not plan.several}
        for key, (before, channel) in list(self.channels.items()):
            plan = sources.get(key) if before.found_by is None else self.discoveries.plan_of(before)
            if before.found_by is not None and before.label in named:
                plan = None  # it is found again, and gets another label
            if plan is None or key in again:
                changes.append(f"without {channel.label}")
                session.remove(channel)
                del self.channels[key]
            elif plan != before:
                changes.append(f"{channel.label} changed")
                listening = self.overrides.listening(plan)
                session.reconfigure(channel, listening.hop_samples, listening.settings, plan.same_similarity)
                self.channels[key] = plan, channel
        if opened.model is not None:
            # After what may be told has changed: the events that end now are told by that.
            changes.append(f"bundle {opened.model.identity.bundle}")
            session.use(opened.model, stream.same_similarity)
        while opened.sources:
            plan, source = opened.sources[0]
            channel = plan.add_to(session, source)
            del opened.sources[0]
            self.channels[plan.key] = plan, channel
            changes.append(f"with {channel.label}")
        interval_s = settings.get(HealthSettings).interval_s
        if interval_s != session.health.interval_s:
            changes.append("health interval")
            session.health.change_interval(interval_s)
        if (load := settings.get(LoadSettings)) != self.settings.get(LoadSettings):
            changes.append("load")
            session.watch_heat(heat_watch(load))
        self.settings = settings
        self.changed()
        return changes

    def _outlet_of(self, sink: SinkPlan) -> Outlet | None:
        """The outlet in use that has a sink's settings; its name may be another. One that has failed is not used on."""
        found = (outlet for before, outlet in self.outlets if before.chosen == sink.chosen and outlet.error is None)
        return next(found, None)


def _has_failed(channel: Channel) -> bool:
    """Whether a live source is heard no more, though nobody has taken it out."""
    return channel.live and channel.ended and channel.capture.state == "failed"


def _needs_model(before: CaptionerSettings, after: CaptionerSettings) -> bool:
    return before.model_copy(update={"seed": after.seed, "ask_every": after.ask_every}) != after


class Reloader:
    """Reads the settings anew whenever that is asked for, in a thread of its own.

    Args:
        running: what is changed.
        request: says when, and reads the settings.
        watchdog: is told, and tells the service manager.
    """

    def __init__(self, running: Running, request: ReloadRequest, watchdog: Watchdog) -> None:
        self._started_with = running.settings
        self._running = running
        self._request = request
        self._watchdog = watchdog
        self._thread = threading.Thread(target=self._run, name="edge-aac-reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: the session has ended. A reload that opens something slow is left behind."""
        self._request.end()
        # Only a stop is in a hurry.
        self._thread.join(JOIN_TIMEOUT_S if self._running.stop.is_set() else None)
        self._request.left_behind = self._thread.is_alive()

    def _run(self) -> None:
        while self._request.wait():
            self._watchdog.reloading()
            note = None
            try:
                note = self._reload()
            except CancelledError:
                return
            except EdgeAacError as error:
                note = f"the new settings are refused, the old ones are in use: {error}"
                log.error("%s", note)
            except Exception as error:
                note = f"the new settings cannot be used, the old ones go on: {type(error).__name__}: {error}"
                log.exception("%s", note)
            self._watchdog.reloaded(note)

    def _reload(self) -> str | None:
        after = self._settled()
        # What needs a restart is what it was at the start, however often it was read since.
        restart = list(need_restart(self._started_with, after))
        changes = self._running.change_to(after)
        log.info("the settings were read anew: %s", ", ".join(changes) or "nothing changed")
        if not restart:
            return None
        note = f"a change of {', '.join(restart)} needs a restart"
        log.warning("%s", note)
        return note

    def _settled(self) -> Settings:
        """The settings once they are the same at two looks: an editor that is half done leaves an empty file.

        Raises:
            EdgeAacError: they cannot be used.
            CancelledError: the session ended meanwhile.
        """
        before = self._look()
        while not self._running.stop.wait(SETTLE_S):
            after = self._look()
            if isinstance(after, EdgeAacError):
                if str(after) == str(before):
                    raise after
            elif after == before:
                return after
            before = after
        raise CancelledError

    def _look(self) -> Settings | EdgeAacError:
        try:
            return self._request.load()
        except EdgeAacError as error:
            return error
