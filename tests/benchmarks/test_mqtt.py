"""The benchmark of events to a broker, in its short form: all arrive, beside a stream that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mqtt import _figures, measure, started_broker
from edge_aac.bundle.store import DEFAULT_BUNDLE
from tests.edge_aac.audio.sources.network.servers import require_parts


@pytest.mark.waits
def test_every_event_arrives_in_order_while_the_stream_goes_on(tmp_path: Path) -> None:
    require_parts("mosquitto", "mosquitto_sub")
    with started_broker(tmp_path) as port:
        figures = measure(DEFAULT_BUNDLE, 200, 2.0, 2, tmp_path, port)
    assert (figures["events"], figures["arrived"], figures["lost"]) == (800, 800, 0)
    assert figures["in_order"]
    assert min(figures["windows"].values()) >= 2 and figures["ratio"] > 0.0


def test_what_is_missing_or_out_of_order_is_told() -> None:
    latencies = {True: [[4.0, 6.0]], False: [[4.0, 6.0], [8.0, 12.0]]}
    figures = _figures(latencies, 4, [0, 2, 1, 1], 200)
    assert (figures["arrived"], figures["lost"], figures["twice"], figures["in_order"]) == (3, 1, 1, False)
    assert (figures["ratio"], figures["ratio_without"]) == (round(5.0 / 7.0, 3), 2.0)
