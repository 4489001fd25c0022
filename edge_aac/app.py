"""From settings to a running service: what is configured is opened, put together, run and closed."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.absent import AbsentSource
from edge_aac.audio.sources.address import Address, Source, SourceContext, open_source
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, DeviceError, InputMissingError
from edge_aac.models.contract import WindowModel
from edge_aac.models.registry import open_model as load_model
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service.metrics_endpoint import serving_metrics
from edge_aac.service.metrics_settings import MetricsSettings
from edge_aac.service.watched import Watched
from edge_aac.settings.faults import Chosen
from edge_aac.settings.tree import Settings
from edge_aac.sinks.stdout import StdoutSettings, StdoutSink
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.offline import FileCaptioner
from edge_aac.streaming.session import Session
from edge_aac.streaming.settings import (
    ConfiguredSource,
    HealthSettings,
    SinkSettings,
    SourceSettings,
    StreamSettings,
    configured_sources,
)
from edge_aac.timebase import SAMPLE_RATE

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
    choices = settings.model_dump(exclude={"bundle", "backend", "threads", "seed"})
    return load_model(open_bundle(settings.bundle), EngineOptions(settings.backend, settings.threads), choices)


def run_stream(settings: Settings, output: Output, stop: threading.Event) -> None:
    """Caption all configured sources until they end or ``stop`` is set.

    Raises:
        ConfigError: nothing is configured that can be heard, or a setting is unusable.
        EdgeAacError: the model, a sink or a source cannot be opened; see :meth:`edge_aac.streaming.session.Session.run`
            for what ends a stream later.
    """
    stream = settings.get(StreamSettings)
    wanted = configured_sources(stream, settings.tables(SourceSettings))
    if not wanted:
        raise ConfigError("no source is enabled: enable one of the [[sources]]")
    if sum(Address.parse(source.address).scheme == "stdin" for source in wanted) > 1:
        raise ConfigError("standard input is named by two sources: name it once")
    slicers = [WindowSlicer(WINDOW_SAMPLES, round(source.hop_s * SAMPLE_RATE)) for source in wanted]
    if stop.is_set():
        return
    # Before the model: a port that is taken is told at once.
    with serving_metrics(settings.get(MetricsSettings)) as watch:
        _run_session(settings, output, stop, list(zip(wanted, slicers, strict=True)), watch)


def _run_session(
    settings: Settings,
    output: Output,
    stop: threading.Event,
    sliced: Sequence[tuple[ConfiguredSource, WindowSlicer]],
    watch: Callable[[Watched], None],
) -> None:
    stream, chosen = settings.get(StreamSettings), settings.get(CaptionerSettings)
    model = open_model(chosen)
    hub = open_hub(settings.chosen(SinkSettings), output, stop)
    session = Session(
        model=model,
        hub=hub,
        node=stream.node,
        stop=stop,
        health_interval_s=settings.get(HealthSettings).interval_s,
    )
    try:
        opened = open_sources([source for source, _ in sliced], stop)
    except BaseException:
        hub.close(patient=False)
        raise
    # Of a stream that is stopped while they are opened, some are missing.
    for (source, slicer), (context, one) in zip(sliced, opened, strict=False):
        session.add(
            one,
            slicer,
            ChannelSettings(
                EnergyGate(source.silence_dbfs),
                ScoreGate(stream.min_score, stream.familiar_only),
                chosen.seed,
                output.every_window,
            ),
            same_similarity=stream.same_similarity,
            reopen=partial(open_source, source.address, context),
        )
    log.info("listening to %s with bundle %s", ", ".join(one.label for _, one in opened), model.identity.bundle)
    watch(Watched(session.channels, hub.health, model.identity))
    session.run()


def open_sources(
    wanted: Sequence[ConfiguredSource], stop: threading.Event | None = None
) -> list[tuple[SourceContext, Source]]:
    """Open sources in order, each with a label of its own.

    A device that is not there is waited for where another source can be heard meanwhile. Once ``stop`` is set, no more
    are opened.

    Raises:
        DeviceError: none can be heard, or one that no later try can reach is among them.
        EdgeAacError: an address is wrong, or a file cannot be read.
    """
    contexts = _contexts(wanted)
    opened: list[Source | None] = []
    failures: list[DeviceError] = []
    try:
        for source, context in zip(wanted, contexts, strict=True):
            if stop is not None and stop.is_set():
                break
            try:
                opened.append(open_source(source.address, context))
            except PermanentDeviceError:
                raise
            except DeviceError as error:
                failures.append(error)
                opened.append(None)
        if len(failures) == len(wanted):
            raise failures[0]
        for failure in failures:
            log.warning("%s. It is waited for.", str(failure).rstrip("."))
        for place, (source, context) in enumerate(zip(wanted, contexts, strict=True)):
            if stop is not None and stop.is_set():
                break
            if opened[place] is None:
                opened[place] = _waiting(source.address, SourceContext(context.name, wait_for_device=True))
    except BaseException:
        for one in opened:
            if one is not None:
                one.close()
        raise
    return [(context, one) for context, one in zip(contexts, opened, strict=False) if one is not None]


def _waiting(address: str, context: SourceContext) -> Source:
    try:
        return open_source(address, context)
    except PermanentDeviceError:
        raise
    except DeviceError as error:  # its factory cannot wait: the capture does
        return AbsentSource(context.label(Address.parse(address)), error)


def _contexts(wanted: Sequence[ConfiguredSource]) -> list[SourceContext]:
    """A name for each source whose label another one has already; the others keep theirs."""
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


def open_hub(sinks: Sequence[Chosen], output: Output, stop: threading.Event) -> Hub:
    """Open the configured sinks, or standard output where there are none.

    Raises:
        EdgeAacError: a sink cannot be opened.
    """
    outlets: list[Outlet] = []
    names: Counter[str] = Counter()
    try:
        for chosen in sinks or [Chosen("stdout", StdoutSettings(), StdoutSink)]:
            kind_settings = _with_output(chosen.settings, output)
            names[chosen.kind] += 1
            name = chosen.kind if names[chosen.kind] == 1 else f"{chosen.kind}-{names[chosen.kind]}"
            sink = chosen.factory.open(kind_settings)
            outlets.append(Outlet(name, sink, kind_settings.records, kind_settings.queue_records, stop))
    except BaseException:
        Hub(outlets).close(patient=False)
        raise
    return Hub(outlets)


def _with_output(settings: Any, output: Output) -> Any:
    """Standard output's settings with what the verb's own flags say of it; any other sink's as they are."""
    if not isinstance(settings, StdoutSettings):
        return settings
    changes: dict[str, Any] = {}
    if "format" not in settings.model_fields_set:
        changes["format"] = output.output_format
    if output.events and "records" not in settings.model_fields_set:
        changes["records"] = (*settings.records, "event")
    return settings.model_copy(update=changes)


def caption_files(files: Sequence[Path], settings: Settings, output: Output) -> int:
    """Caption whole files on standard output.

    A file that cannot be captioned is logged and does not keep the others from it.

    Returns:
        The exit code of the first failure; 0 without any.

    Raises:
        EdgeAacError: the model cannot be opened or go on, or standard output cannot be written.
    """
    stream, chosen = settings.get(StreamSettings), settings.get(CaptionerSettings)
    hop_samples = round(stream.hop_s * SAMPLE_RATE)
    WindowSlicer(WINDOW_SAMPLES, hop_samples)  # refuses an unusable hop once, not once a file
    sink = StdoutSink(output.output_format)
    captioner = FileCaptioner(
        open_model(chosen),
        stream.node,
        ChannelSettings(
            EnergyGate(stream.silence_dbfs), ScoreGate(stream.min_score, stream.familiar_only), chosen.seed
        ),
        hop_samples,
        sink.publish,
    )
    exit_code = 0
    for path in files:
        try:
            captioner.caption(path)
        except (DataError, InputMissingError) as error:
            log.error("%s", error)
            exit_code = exit_code or error.exit_code
    sink.close()
    return exit_code
