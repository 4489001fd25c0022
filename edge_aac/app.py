"""From settings to a running service: what is configured is opened, put together, run and closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge_aac.audio.windows import check_hop
from edge_aac.models.contract import WindowModel
from edge_aac.models.settings import CaptionerSettings
from edge_aac.records import Alert
from edge_aac.service.companions import OpenCompanion
from edge_aac.service.control import Control
from edge_aac.service.discoveries import Discoveries
from edge_aac.service.discovering import Discovering
from edge_aac.service.listening import model_to_come, tell_listening
from edge_aac.service.metrics_endpoint import open_metrics
from edge_aac.service.notify import ServiceManager
from edge_aac.service.open_alerts import FILE_NAME as OPEN_ALERTS_FILE
from edge_aac.service.open_alerts import OpenAlerts
from edge_aac.service.opening import (
    Output,
    configured_sinks,
    open_model,
    open_outlets,
    open_sources,
    privacy_gate,
    sink_plans,
    takes_commands,
)
from edge_aac.service.overrides import FILE_NAME as OVERRIDES_FILE
from edge_aac.service.overrides import Overrides
from edge_aac.service.plans import SourcePlan, source_plans
from edge_aac.service.reload import Reloader, Running
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.service.state_file import StateFile, path_of_environment
from edge_aac.service.watchdog import Watchdog, dump_stacks_at_abort
from edge_aac.settings.tree import Settings
from edge_aac.sinks.stdout import StdoutSink
from edge_aac.state_folder import state_folder
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.clips.saving import open_clips
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.heap import give_back, opening_heap
from edge_aac.streaming.hub import Delivery, Hub
from edge_aac.streaming.load import heat_watch
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.streaming.offline import FileCaptioner, in_turn
from edge_aac.streaming.session import Session
from edge_aac.streaming.settings import HealthSettings, StreamSettings
from edge_aac.timebase import SAMPLE_RATE

__all__ = ["Output", "caption_files", "run_stream"]

COMPANIONS: tuple[OpenCompanion, ...] = (open_metrics,)
"""What lives beside a stream, each in its own module."""

log = logging.getLogger(__name__)


def run_stream(
    settings: Settings,
    output: Output,
    stop: threading.Event,
    *,
    manager: ServiceManager | None = None,
    reload: ReloadRequest | None = None,
) -> None:
    """Caption all configured sources until they end or ``stop`` is set.

    Args:
        settings: what is configured.
        output: what the verb's own flags say of standard output.
        stop: ends the stream.
        manager: is told how the service does; None where nobody is.
        reload: says when settings are read anew; None where they never are.

    Raises:
        ConfigError: nothing is configured that can be heard, or a setting is unusable.
        EdgeAacError: the model, a sink or a source cannot be opened; see :meth:`edge_aac.streaming.session.Session.run`
            for what ends a stream later.
    """
    manager = manager or ServiceManager()
    plans = source_plans(settings, output)
    if stop.is_set():
        return
    state_path = path_of_environment()
    state_file = None if state_path is None else StateFile(state_path)
    with ExitStack() as at_end:
        if manager.listens:
            dump_stacks_at_abort()
        try:
            watchdog = Watchdog(settings.get(StreamSettings).node, manager, state_file)
            at_end.callback(watchdog.close)
            chosen = settings.get(StreamSettings).wait_for_device
            # A service manager would start it again and again; nobody sits before it to read the exit code.
            wait = manager.listens or state_file is not None if chosen is None else chosen

            def accompany(session: Session) -> None:
                for open_companion in COMPANIONS:
                    if (companion := open_companion(settings)) is not None:
                        at_end.callback(companion.close)
                        companion.start(session)

            running = _opened(settings, output, stop, plans, wait, manager, accompany)
            session = running.session
            open_alerts = OpenAlerts(state_folder() / OPEN_ALERTS_FILE)
            at_end.callback(open_alerts.close)
            at_end.callback(running.discoveries.close)
            try:
                _keep_alerts(open_alerts, running, settings)
                watchdog.watch(session)
                if reload is not None or len(running.discoveries):
                    at_end.callback(Discovering(running).close)
                if reload is not None:
                    at_end.callback(Reloader(running, reload, watchdog).close)
            except BaseException:
                session.close()
                raise
            give_back()  # what the start alone needed
            session.run()
        except Exception as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            manager.failed(str(error) or type(error).__name__, cause.errno if isinstance(cause, OSError) else None)
            raise


def _keep_alerts(open_alerts: OpenAlerts, running: Running, settings: Settings) -> None:
    """Have open alerts kept, and end those that an earlier run left open; their records go out with the first ones."""
    session, tell = running.session, running.changed

    def alerted(record: Alert) -> None:
        open_alerts.note(record)
        tell()

    session.alerted = alerted
    privacy = privacy_gate(settings)
    for record in open_alerts.take_over(settings.get(StreamSettings).node):
        told = privacy.judge_texts([record.caption]).published
        session.hub.publish(Delivery(record if told else record.without_words()))


def _opened(  # noqa: PLR0913, PLR0917 - what a stream is made of
    settings: Settings,
    output: Output,
    stop: threading.Event,
    plans: Sequence[SourcePlan],
    wait: bool,
    manager: ServiceManager,
    accompany: Callable[[Session], None],
) -> Running:
    """Everything opened and put together; see :func:`run_stream` for what it raises.

    ``accompany`` starts the session's companions, before it is told that there is a stream: where one cannot be started
    there is none.
    """
    chosen = settings.get(CaptionerSettings)
    to_come = model_to_come(chosen)
    model: WindowModel = to_come or _opened_model(chosen)
    overrides = Overrides.load(state_folder() / OVERRIDES_FILE)
    if not takes_commands(configured_sinks(settings)):
        # Nobody could end a pause.
        if overrides.by_label:
            log.warning("what commands have set before does not count: no sink takes commands")
        overrides = Overrides()
    overrides.keep_only(plans)
    overrides.save()
    control = Control(overrides)
    sinks = sink_plans(configured_sinks(settings), output, control, asks=chosen.asks)
    with ExitStack() as on_failure:
        clips = open_clips(settings.get(ClipSettings))
        if clips is not None:
            on_failure.callback(clips.close)
        hub = Hub(open_outlets(sinks, stop))
        on_failure.callback(hub.close, patient=False)
        discoveries = Discoveries()
        on_failure.callback(discoveries.close)
        discoveries.put_in_place({plan.key: plan for plan in plans}, discoveries.opened(plans, wait=wait))
        single = [plan for plan in plans if not plan.several]
        paused = [plan.label for plan in single if overrides.listening(plan).paused]
        opened = []
        if single:
            wait = wait or len(discoveries) > 0
            opened = open_sources([plan.source for plan in single], stop, wait=wait, paused=paused)
        for _, source in opened:
            on_failure.callback(source.close)
        session = Session(
            model=model,
            hub=hub,
            node=settings.get(StreamSettings).node,
            stop=stop,
            health_interval_s=settings.get(HealthSettings).interval_s,
            heat=heat_watch(settings.get(LoadSettings)),
            clips=clips,
        )
        session.more_may_come = len(discoveries) > 0
        # Of a stream that is stopped while they are opened, all are missing.
        pairs = zip(single, opened, strict=False)
        channels = {plan.key: (plan, plan.add_to(session, source)) for plan, (_, source) in pairs}
        for plan, channel in channels.values():
            listening = overrides.listening(plan)
            session.reconfigure(channel, listening.hop_samples, listening.settings, plan.same_similarity)
        if to_come is not None:
            for channel in session.channels:
                on_failure.callback(channel.close)
                channel.start()
        accompany(session)
        looked_at = [plan.label for plan, _ in discoveries]
        tell_listening(manager, [source for _, source in opened], looked_at, model.identity.bundle)
        if to_come is not None:
            session.use(_opened_model(chosen), settings.get(StreamSettings).same_similarity)
        on_failure.pop_all()
    outlets = list(zip(sinks, hub.outlets, strict=True))
    running = Running(session, settings, output, stop, channels, outlets, overrides, control, discoveries=discoveries)
    control.attach(running)
    return running


def _opened_model(settings: CaptionerSettings) -> WindowModel:
    with opening_heap():
        return open_model(settings)


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
    check_hop(hop_samples)  # once, not once a file
    sink = StdoutSink(output.output_format)
    captioner = FileCaptioner(
        open_model(chosen),
        stream.node,
        ChannelSettings(
            EnergyGate(stream.silence_dbfs),
            ScoreGate(stream.min_score, stream.familiar_only),
            chosen.seed,
            privacy=privacy_gate(settings),
        ),
        hop_samples,
        sink.publish,
    )
    exit_code = in_turn(files, captioner.caption)
    sink.close()
    return exit_code
