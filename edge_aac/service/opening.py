"""Opens what is configured: the model, the sources and the sinks."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.absent import AbsentSource
from edge_aac.audio.sources.address import Address, Source, SourceContext, open_source
from edge_aac.audio.sources.paused import PausedSource
from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DeviceError
from edge_aac.models.contract import WindowModel
from edge_aac.models.opening import open_asked
from edge_aac.models.settings import CaptionerSettings
from edge_aac.settings.faults import Chosen
from edge_aac.settings.tree import Settings
from edge_aac.sinks.contract import Sink, SourceControl, TakesCommands
from edge_aac.sinks.stdout import StdoutSettings, StdoutSink
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.outlet import Reopening
from edge_aac.streaming.privacy import PrivacyGate
from edge_aac.streaming.privacy_settings import PrivacySettings
from edge_aac.streaming.settings import ConfiguredSource, SinkSettings, StreamSettings

_NO_CHOICES = ("bundle", "weights", "backend", "threads", "cuda_graph", "seed", "ask_every", "ask_bundle")
"""Settings of the captioner that are none of what its kind of model may be opened with."""
_CHECK_S = 0.1
_GIVE_UP_S = 0.5
"""What is being opened when a stop comes is waited for so long: it closes its processes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """What is published beside what the sinks' own settings say.

    Attributes:
        output_format: of standard output, where its settings have none: "auto" is text on a terminal, JSON Lines
            elsewhere.
        events: standard output takes event records too, where its settings name no kinds of record.
        every_window: publish a caption for every window, not only for those that start an event.
    """

    output_format: Literal["auto", "json", "text"] = "auto"
    events: bool = False
    every_window: bool = False


def open_model(settings: CaptionerSettings) -> WindowModel:
    """The model that the settings describe.

    Raises:
        EdgeAacError: the bundle is not there, is damaged, or cannot be run here.
    """
    choices = settings.model_dump(exclude={*_NO_CHOICES})
    options = EngineOptions(settings.backend, settings.threads, settings.cuda_graph)
    return open_asked(settings.bundle, settings.weights, options, choices, settings.ask_bundle)


def privacy_gate(settings: Settings) -> PrivacyGate:
    """What of the captions may be told, by the settings and the bundle's language.

    Raises:
        ConfigError: captions of speech are to be kept private, and nobody knows which ones in that language are.
        EdgeAacError: the bundle is not there or is damaged.
    """
    bundle = settings.get(CaptionerSettings).bundle
    # Of an ensemble all have one language.
    return PrivacyGate.of(settings.get(PrivacySettings), lambda: open_bundle(bundle_names(bundle)[0]).manifest.language)


def open_sources(
    wanted: Sequence[ConfiguredSource],
    stop: threading.Event | None = None,
    *,
    wait: bool = False,
    paused: Collection[str] = (),
) -> list[tuple[SourceContext, Source]]:
    """Open sources side by side, since each may take its time: a server that accepts and never answers takes 15 s.

    A device that is not there is waited for where another source can be heard meanwhile.

    Args:
        wanted: the sources.
        stop: ends the opening.
        wait: wait for devices even where no source can be heard: a service may start before its microphone. None holds
            up the others then: each is opened by the thread that captures it.
        paused: labels of those whose device is not opened, since a command has paused them.

    Returns:
        The sources in the order of ``wanted``; none where ``stop`` was set meanwhile.

    Raises:
        DeviceError: none can be heard, or one that no later try can reach is among them.
        EdgeAacError: an address is wrong, or a file cannot be read.
    """
    stop = threading.Event() if stop is None else stop
    contexts = [replace(context, stop=stop) for context in contexts_of(wanted)]
    openings = [
        _Opening(_opener(source.address, context, wait=wait, paused=paused))
        for source, context in zip(wanted, contexts, strict=True)
    ]
    try:
        if not _ended(openings, stop):
            raise _StoppedError
        failures = [opening.error for opening in openings if opening.error is not None]
        if len(failures) == len(wanted):
            raise failures[0]
        for failure in failures:
            log.warning("%s. It is waited for.", str(failure).rstrip("."))
        opened: list[tuple[SourceContext, Source]] = []
        for source, context, opening in zip(wanted, contexts, openings, strict=True):
            if opening.source is None:
                opening.source = open_waiting(source.address, context)
            opened.append((context, opening.source))
    except _StoppedError:
        for opening in openings:
            opening.give_up()
        return []
    except BaseException:
        for opening in openings:
            opening.give_up()
        raise
    return opened


class _StoppedError(Exception):
    """The opening of sources was ended by a stop."""


class _Opening:
    """A source that is being opened, in a thread of its own.

    Args:
        work: opens it.

    Attributes:
        source: what was opened; None as long as nothing is.
        error: why it could not be opened; None while there is no error.
    """

    def __init__(self, work: Callable[[], Source]) -> None:
        self.source: Source | None = None
        self.error: Exception | None = None
        self._work = work
        self._lock = threading.Lock()
        self._given_up = False
        self.thread = threading.Thread(target=self._run, name="edge-aac-opening", daemon=True)
        self.thread.start()

    @property
    def hopeless(self) -> bool:
        """Whether it failed in a way that no later try mends."""
        return self.error is not None and (
            isinstance(self.error, PermanentDeviceError) or not isinstance(self.error, DeviceError)
        )

    def give_up(self) -> None:
        """Close the source, now or as soon as it is open."""
        with self._lock:
            self._given_up = True
        if self.source is not None:
            self.source.close()

    def _run(self) -> None:
        try:
            source = self._work()
        except Exception as error:  # raised again by whoever waits for it
            self.error = error
            return
        with self._lock:
            self.source = source
            too_late = self._given_up
        if too_late:
            source.close()


def _ended(openings: Sequence[_Opening], stop: threading.Event) -> bool:
    """Wait until all are open or have failed; False once ``stop`` is set.

    Raises:
        Exception: the error of one that no later try mends.
    """
    for opening in openings:
        while opening.thread.is_alive() and not stop.is_set():
            opening.thread.join(_CHECK_S)
            for other in openings:
                if other.hopeless and other.error is not None:
                    raise other.error
        if opening.hopeless and opening.error is not None:
            raise opening.error
    if not stop.is_set():
        return True
    deadline_s = time.monotonic() + _GIVE_UP_S
    for opening in openings:
        opening.thread.join(max(0.0, deadline_s - time.monotonic()))
    return False


def _opener(address: str, context: SourceContext, *, wait: bool, paused: Collection[str]) -> Callable[[], Source]:
    if (label := context.label(Address.parse(address))) in paused:
        return partial(PausedSource, label)
    return partial(open_waiting if wait else open_source, address, context)


def open_waiting(address: str, context: SourceContext) -> Source:
    """Open a source whose device may come later.

    Raises:
        PermanentDeviceError: no later try can reach the device.
        EdgeAacError: the address is wrong, or a file cannot be read.
    """
    try:
        return open_source(address, SourceContext(context.name, wait_for_device=True))
    except PermanentDeviceError:
        raise
    except DeviceError as error:  # its factory cannot wait: the capture does
        return AbsentSource(context.label(Address.parse(address)), error)


def contexts_of(wanted: Sequence[ConfiguredSource]) -> list[SourceContext]:
    """The sources' contexts: a name for each whose label another one has already; the others keep theirs."""
    taken = Counter(source.name for source in wanted if source.name is not None)
    contexts = []
    for source in wanted:
        name = source.name
        if name is None:
            label = Address.parse(source.address).label
            taken[label] += 1
            number = taken[label]
            while number > 1 and taken[f"{label}-{number}"]:
                number += 1
            if number > 1:
                name = f"{label}-{number}"
                taken[name] += 1
        contexts.append(SourceContext(name))
    return contexts


@dataclass(frozen=True)
class SinkPlan:
    """A sink as it is configured.

    Attributes:
        name: of the sink in logs and health records.
        chosen: its kind and settings.
        control: given to a sink that takes commands; None where nothing is controlled.
    """

    name: str
    chosen: Chosen
    control: SourceControl | None = None

    def open(self, stop: threading.Event) -> Outlet:
        """Open the sink, behind a queue.

        Raises:
            EdgeAacError: it cannot be opened.
        """
        how = self.reopening
        return Outlet(self.name, how.open(), how.kinds, how.queue_records, stop)

    @property
    def reopening(self) -> Reopening:
        """Opens the sink in an outlet that is there."""
        settings: Any = self.chosen.settings
        return Reopening(self._opened, settings.records, settings.queue_records)

    def _opened(self) -> Sink:
        sink: Sink = self.chosen.factory.open(self.chosen.settings)
        if self.control is not None and isinstance(sink, TakesCommands):
            sink.take_commands(self.control)
        return sink


def sink_plans(
    sinks: Sequence[Chosen], output: Output, control: SourceControl | None = None, *, asks: bool = False
) -> list[SinkPlan]:
    """The configured sinks, or standard output where there are none; those that take commands are given ``control``.

    Where the stream ``asks`` something, standard output takes the answers, if its settings name no kinds of record.
    """
    plans: list[SinkPlan] = []
    names: Counter[str] = Counter()
    for chosen in sinks or [Chosen("stdout", StdoutSettings(), StdoutSink)]:
        names[chosen.kind] += 1
        name = chosen.kind if names[chosen.kind] == 1 else f"{chosen.kind}-{names[chosen.kind]}"
        settings = _with_output(chosen.settings, output, asks)
        plans.append(SinkPlan(name, Chosen(chosen.kind, settings, chosen.factory), control))
    return plans


def takes_commands(sinks: Sequence[Chosen]) -> bool:
    """Whether one of the sinks is set to take commands: its settings have ``commands = true``."""
    return any(getattr(chosen.settings, "commands", False) is True for chosen in sinks)


def configured_sinks(settings: Settings) -> list[Chosen]:
    """The configured sinks; settings that have a method ``for_node(node)`` are those that it gives."""
    node = settings.get(StreamSettings).node
    found = []
    for chosen in settings.chosen(SinkSettings):
        hook = getattr(chosen.settings, "for_node", None)
        found.append(chosen if hook is None else Chosen(chosen.kind, hook(node), chosen.factory))
    return found


def open_outlets(plans: Sequence[SinkPlan], stop: threading.Event) -> list[Outlet]:
    """Open sinks in order.

    Raises:
        EdgeAacError: one of them cannot be opened; the others are closed.
    """
    outlets: list[Outlet] = []
    try:
        for plan in plans:
            outlets.append(plan.open(stop))
    except BaseException:
        Hub(outlets).close(patient=False)
        raise
    return outlets


def _with_output(settings: Any, output: Output, asks: bool) -> Any:
    """Standard output's settings with what is to be printed by flags and questions; any other sink's as they are."""
    if not isinstance(settings, StdoutSettings):
        return settings
    changes: dict[str, Any] = {}
    if "format" not in settings.model_fields_set:
        changes["format"] = output.output_format
    if "records" not in settings.model_fields_set:
        added = (*(("event",) if output.events else ()), *(("answer",) if asks else ()))
        changes |= {"records": (*settings.records, *added)} if added else {}
    return settings.model_copy(update=changes)
