"""The figures of a running session for Prometheus, read when they are asked for.

Names follow Prometheus's conventions (https://prometheus.io/docs/practices/naming/): base units, ``_total`` for counts.
``prometheus_client`` is imported with this module, so only where metrics are served.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edge_aac import __version__
from edge_aac.board.power import PowerMeter
from edge_aac.board.temperature import read_heat
from edge_aac.models.contract import WindowModel, shared_work
from edge_aac.records import SinkHealth
from edge_aac.records.health import HealthState, SinkState
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.counters import LATENCY_BOUNDS_S
from edge_aac.streaming.session import Session
from edge_aac.timebase import SAMPLE_RATE

_SOUNDS = {"events": "event", "unconfirmed": "unconfirmed", "cooled": "cooled"}
_NO_OUTCOMES = {"windows", "lost_samples", "alerts", *_SOUNDS}
_OUTCOMES = {"captions": "captioned"}
_BOUNDS = [*(repr(bound) for bound in LATENCY_BOUNDS_S), "+Inf"]


class SessionCollector(Collector):
    """Gives the metrics of a session, and of the machine that it runs on.

    Args:
        session: its channels, sinks and model may change while it runs.
        root: folder in which ``sys`` lies; a test has another.
    """

    def __init__(self, session: Session, root: Path = Path("/")) -> None:
        self._session = session
        self._root = root
        self._power = PowerMeter(root)

    def collect(self) -> Iterator[Metric]:
        """Give all metrics as they are now."""
        session = self._session
        channels = list(session.channels)
        model = session.model.identity
        facts = {"version": __version__, "bundle": model.bundle, "bundle_version": model.version}
        build = InfoMetricFamily("edge_aac_build", "Version of edge-aac, and the model that it runs.")
        build.add_metric([], {**facts, "backend": model.backend, "precision": model.precision})
        yield build
        alive = not missing_parts(session)
        yield GaugeMetricFamily("edge_aac_alive", "1 while sound is taken and windows are described, else 0.", alive)
        yield GaugeMetricFamily("edge_aac_threads", "Threads of the process.", threading.active_count())
        yield from _of_model(session.model)
        yield from _of_sources(channels)
        yield from _of_records(dict(session.hub.published))
        yield from _of_sinks(session.hub.health())
        yield from self._of_board()

    def _of_board(self) -> Iterator[Metric]:
        heat = read_heat(self._root)
        zones: dict[str, float] = {}
        for zone in heat.zones:
            # Two may have one name, as the packages of two processors; the warmer one tells.
            zones[zone.name] = max(zone.celsius, zones.get(zone.name, zone.celsius))
        yield _gauge("edge_aac_temperature_celsius", "Temperature of the processor, by zone.", "zone", zones)
        yield GaugeMetricFamily("edge_aac_slowed", "1 while heat or want of power slows the board down.", heat.slowed)
        yield _gauge("edge_aac_power_watts", "Power that the machine takes, by rail.", "rail", self._power.read())


def missing_parts(session: Session) -> list[str]:
    """A sentence for each part of a session that has stood still too long; none where everything is alive."""
    sentences = [sentence for each in list(session.channels) for sentence in session.health.missing(each.label)]
    return list(dict.fromkeys(sentences))


class Exposition:
    """Metrics as text in the form that the client asks for: Prometheus's own or OpenMetrics.

    Args:
        collectors: what is exposed beside the figures of the process.
    """

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics now, and the content type.

        Args:
            accept: the request's header ``Accept``.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def _of_model(model: WindowModel) -> Iterable[Metric]:
    if (work := shared_work(model)) is not None:
        text = "Patches of windows by whether they were computed, or known from another window."
        yield _counter("edge_aac_patches", text, "outcome", {"computed": work.computed, "reused": work.reused})


def _of_sources(channels: Sequence[Channel]) -> Iterable[Metric]:
    labels = [channel.label for channel in channels]
    counters = [channel.counters for channel in channels]

    def counter(name: str, text: str, values: Iterable[float]) -> Metric:
        return _counter(f"edge_aac_{name}", text, "source", dict(zip(labels, values, strict=True)))

    def gauge(name: str, text: str, values: Iterable[float]) -> Metric:
        return _gauge(f"edge_aac_{name}", text, "source", dict(zip(labels, values, strict=True)))

    yield _states("edge_aac_source_state", "source", HealthState, {each.label: each.capture.state for each in channels})
    yield counter(
        "source_reconnects", "Times that a source's sound came back.", (each.capture.reconnects for each in channels)
    )
    yield counter(
        "source_sound_seconds",
        "Sound of a source so far, what was lost included.",
        (each.written_samples / SAMPLE_RATE for each in channels),
    )
    yield _gauge(
        "edge_aac_source_level_dbfs",
        "Level of the newest window in dB below full scale.",
        "source",
        {each.label: each.level.newest_dbfs for each in channels if each.level.newest_dbfs is not None},
    )
    yield gauge("source_hop_seconds", "Seconds from one window to the next.", (each.hop_s for each in channels))
    yield gauge(
        "source_queued_seconds",
        "Sound that waits to be cut into windows.",
        (each.queued_samples / SAMPLE_RATE for each in channels),
    )
    yield gauge("source_due_windows", "Windows that wait to be described.", (len(each.queue) for each in channels))
    lost = CounterMetricFamily(
        "edge_aac_lost_sound_seconds", "Sound that reached no window, by reason.", labels=["source", "reason"]
    )
    for channel in channels:
        for why, seconds in channel.lost_s().items():
            lost.add_metric([channel.label, why], seconds)
    yield lost
    yield counter("windows_cut", "Windows cut from the sound.", (each.windows for each in counters))
    yield _outcomes(channels)
    sounds = CounterMetricFamily(
        "edge_aac_sounds", "Sounds that were followed, by what became of them.", labels=["source", "outcome"]
    )
    for channel in channels:
        for field, outcome in _SOUNDS.items():
            sounds.add_metric([channel.label, outcome], getattr(channel.counters, field))
    yield sounds
    skipped = CounterMetricFamily(
        "edge_aac_windows_skipped", "Windows left out, by reason.", labels=["source", "reason"]
    )
    for channel in channels:
        for reason, count in dict(channel.counters.skipped).items():
            skipped.add_metric([channel.label, reason], count)
    yield skipped
    yield from _alerts(channels)
    yield counter("captions", "Captions published.", (each.captions for each in counters))
    yield _latencies(channels)


def _outcomes(channels: Sequence[Channel]) -> Metric:
    metric = CounterMetricFamily("edge_aac_windows", "Windows by what became of them.", labels=["source", "outcome"])
    for channel in channels:
        # All that is counted, so that a count that is added one day is seen at once.
        for field in fields(channel.counters):
            count = getattr(channel.counters, field.name)
            if field.name not in _NO_OUTCOMES:
                total = sum(dict(count).values()) if isinstance(count, Mapping) else count
                metric.add_metric([channel.label, _OUTCOMES.get(field.name, field.name)], total)
    return metric


def _alerts(channels: Sequence[Channel]) -> Iterable[Metric]:
    begun = CounterMetricFamily("edge_aac_alerts", "Alerts that began.", labels=["source", "alert"])
    now = GaugeMetricFamily("edge_aac_alert_open", "1 while an alert is open, else 0.", labels=["source", "alert"])
    for channel in channels:
        alerts = channel.publisher.alerts
        for rule in alerts.rules:
            labels = [channel.label, rule.name]
            begun.add_metric(labels, alerts.begun[rule.name])
            newest = alerts.newest.get(rule.name)
            now.add_metric(labels, float(newest is not None and newest.state == "start"))
    return [begun, now]


def _latencies(channels: Sequence[Channel]) -> Metric:
    metric = HistogramMetricFamily(
        "edge_aac_latency_seconds",
        "Time from the end of a window's sound to the delivery of its caption by the first sink.",
        labels=["source"],
    )
    for channel in channels:
        if channel.live:
            counts = channel.latencies.counts
            groups = [(bound, float(count)) for bound, count in zip(_BOUNDS, counts.at_most, strict=True)]
            metric.add_metric([channel.label], groups, counts.sum_s)
    return metric


def _of_records(published: Mapping[tuple[str, str, str], int]) -> Iterable[Metric]:
    kinds: Counter[tuple[str, str]] = Counter()
    events = CounterMetricFamily("edge_aac_events", "Event records, by state.", labels=["source", "state"])
    for (source, kind, state), count in published.items():
        kinds[source, kind] += count
        if state:
            events.add_metric([source, state], count)
    records = CounterMetricFamily("edge_aac_records", "Records published, by kind.", labels=["source", "kind"])
    for labels, count in kinds.items():
        records.add_metric(labels, count)
    return [records, events]


def _of_sinks(sinks: Mapping[str, SinkHealth]) -> Iterable[Metric]:
    yield _states("edge_aac_sink_state", "sink", SinkState, {name: sink.state for name, sink in sinks.items()})
    for field, text in (
        ("delivered", "Records delivered."),
        ("dropped", "Records dropped since the sink did not take them."),
        ("retries", "Deliveries tried again."),
    ):
        counts = {name: float(getattr(sink, field)) for name, sink in sinks.items()}
        yield _counter(f"edge_aac_sink_{field}", text, "sink", counts)
    queued = {name: float(sink.queued) for name, sink in sinks.items()}
    yield _gauge("edge_aac_sink_queued_records", "Records that wait for the sink.", "sink", queued)


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric


def _states(name: str, label: str, states: object, now: Mapping[str, str]) -> Metric:
    """One time series for each state, 1 for the one that holds."""
    metric = GaugeMetricFamily(name, f"1 for the state that the {label} is in, else 0.", labels=[label, "state"])
    for key, state in now.items():
        for each in get_args(states):
            metric.add_metric([key, each], float(each == state))
    return metric
