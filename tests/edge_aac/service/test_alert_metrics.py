"""Alerts as Prometheus is told of them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from edge_aac.service.metrics import Exposition, SessionCollector
from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import blocks, session


def _of_alerts(made: Session) -> dict[str, dict[str, float]]:
    """Value of each metric of alerts by rule, by the metric's name."""
    body, _ = Exposition(SessionCollector(made)).text("")
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.name.startswith("edge_aac_alert"):
                assert sample.labels["source"] == "garden.wav"
                found.setdefault(sample.name, {})[sample.labels["alert"]] = sample.value
    return found


def test_alerts_are_counted_by_rule_and_told_while_they_are_open() -> None:
    made = session(FakeSource(blocks(5), live=False), FakeSink())
    (channel,) = made.channels
    channel.publisher.alerts.change_rules([AlertRule("rain", ("rain",)), AlertRule("dog", ("dog",))])
    open_then: list[float] = []
    made.alerted = lambda _record: open_then.append(_of_alerts(made)["edge_aac_alert_open"]["rain"])
    made.run()
    assert open_then == [1, 0]
    assert _of_alerts(made) == {
        "edge_aac_alerts_total": {"rain": 1, "dog": 0},
        "edge_aac_alert_open": {"rain": 0, "dog": 0},
    }
