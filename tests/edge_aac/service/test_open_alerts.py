"""Alerts that a run leaves open have their end in the next one, and a damaged or foreign file harms nobody."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge_aac import app
from edge_aac.records import Alert
from edge_aac.service.open_alerts import OpenAlerts
from edge_aac.service.reload import Running
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from edge_aac.streaming.outlet import Delivery


def _alert(number: int, state: str = "start", node: str = "kitchen", live: bool = True) -> Alert:
    return Alert.model_validate(
        {
            "schema": "edge-aac/alert/1",
            "node": node,
            "source": "hall",
            "start": "2026-05-01T10:00:00.000Z" if live else None,
            "end": "2026-05-01T10:01:10.000Z" if live else None,
            "alert": "baby",
            "number": number,
            "id": f"20260501T100000.000Z-{number}" if live else None,
            "state": state,
            "lasted_s": 70.0,
            "caption": "a baby cries",
            "event": 3,
        }
    )


def test_what_is_open_when_a_process_dies_is_ended_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alerts.json"
    first = OpenAlerts(path)
    assert first.take_over("kitchen") == []
    for record in (_alert(0), _alert(1), _alert(0, "end"), _alert(2, live=False)):
        first.note(record)
    first.close()  # as the kernel does for a process that is killed
    second = OpenAlerts(path)
    (end,) = second.take_over("kitchen")
    assert (end.number, end.state, end.reason) == (1, "end", "restart")
    assert (end.start, end.end, end.lasted_s, end.caption) == (
        "2026-05-01T10:00:00.000Z",
        "2026-05-01T10:01:10.000Z",
        70.0,
        "a baby cries",
    )
    second.close()
    third = OpenAlerts(path)
    assert third.take_over("kitchen") == [], "once is enough"
    third.close()


@pytest.mark.parametrize(("suppressed", "told"), [("babies", "a baby cries"), ("baby", "baby")])
def test_words_that_may_not_be_told_any_more_are_not_told_by_the_end_of_a_run_that_died(
    tmp_path: Path, suppressed: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_aac.settings.tree.default_files", list)
    first = OpenAlerts(tmp_path / "alerts.json")
    first.take_over("kitchen")
    first.note(_alert(0))
    first.close()
    published: list[Delivery] = []
    session = SimpleNamespace(hub=SimpleNamespace(publish=published.append))
    running = cast(Running, SimpleNamespace(session=session, changed=lambda: None))
    settings = load_settings(given=Layer({"stream": {"node": "kitchen"}, "privacy": {"suppress": [suppressed]}}))
    second = OpenAlerts(tmp_path / "alerts.json")
    app._keep_alerts(second, running, settings)
    (end,) = [delivery.record for delivery in published]
    assert isinstance(end, Alert) and (end.caption, end.reason) == (told, "restart")
    second.close()


def test_the_alerts_of_a_process_that_runs_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    first, second = OpenAlerts(path), OpenAlerts(path)
    first.take_over("kitchen")
    first.note(_alert(0))
    before = path.read_bytes()
    assert second.take_over("kitchen") == []
    second.note(_alert(5))
    second.close()
    assert path.read_bytes() == before
    first.close()


def test_another_node_has_other_alerts(tmp_path: Path) -> None:
    first = OpenAlerts(tmp_path / "alerts.json")
    first.take_over("kitchen")
    first.note(_alert(0))
    first.close()
    second = OpenAlerts(tmp_path / "alerts.json")
    assert second.take_over("attic") == []
    second.close()


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b"{}", b'{"schema": "edge-aac/open-alerts/1", "open": [7]}', b"[" * 100_000, b" " * 1_000_001]
    + [json.dumps({"schema": "edge-aac/open-alerts/1", "open": [{"schema": "edge-aac/gap/1"}]}).encode()],
)
def test_a_damaged_file_is_named_and_begun_anew(text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "alerts.json"
    path.write_bytes(text)
    kept = OpenAlerts(path)
    assert kept.take_over("kitchen") == []
    assert "cannot be read" in caplog.text and str(path) in caplog.text
    kept.note(_alert(0))
    assert len(json.loads(path.read_text())["open"]) == 1
    kept.close()


def test_a_folder_that_cannot_be_made_is_named_once_and_nothing_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    kept = OpenAlerts(tmp_path / "file" / "alerts.json")
    with caplog.at_level(logging.WARNING):
        assert kept.take_over("kitchen") == []
        kept.note(_alert(0))
    assert caplog.text.count("cannot be written") == 1
    kept.close()


def test_the_file_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    kept = OpenAlerts(tmp_path / "alerts.json")
    kept.take_over("kitchen")
    kept.note(_alert(0))
    kept.close()
    assert {os.stat(each).st_mode & 0o077 for each in tmp_path.iterdir()} == {0}
