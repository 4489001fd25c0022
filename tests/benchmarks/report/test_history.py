"""A line a release, of what was measured."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.history import HISTORY, add_line, line
from edge_aac.errors import DataError, DeviceError


def report(version: str) -> dict[str, Any]:
    def median(value: float) -> dict[str, float]:
        return {"median": value}

    points = [{"at": 1.0, "ms": median(3.0)}, {"at": 10.0, "ms": median(12.0)}]
    ratios = {"(a) published way": {"tiny": median(220.0), "published sizes, int8": median(31.0)}}
    sources = {"points": [{"at": 1, "processor_of_one": median(1.0)}]}
    return {
        "version": version,
        "date": "2026-01-31",
        "machine": {"processor": "Some, processor", "cores": 2},
        "note": "other work had the cores",
        "sections": {
            "against": {"ratios": ratios},
            "growth": {"bundles": {"tiny": {"hop_s": points, "sources": sources}}},
        },
    }


def test_each_report_adds_a_line_and_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    for version in ("0.1.0", "0.2.0"):
        add_line(report(version), "tiny", path)
    with path.open(newline="", encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert (first["version"], second["version"], first["machine"]) == ("0.1.0", "0.2.0", "Some, processor, 2 cores")
    assert first["note"] == "other work had the cores"
    assert (first["published_way_over_bundle"], first["published_way_over_published_int8"]) == ("220.0", "31.0")
    assert first["window_at_hop_1_s_over_hop_10_s"] == "0.25"
    for name in ("effb2_trm_over_bundle", "16_sources_over_one", "seconds_to_listening", "encode_share_of_limit"):
        assert first[name] == ""


def test_the_releases_own_history_takes_the_next_line() -> None:
    with HISTORY.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows and list(rows[-1]) == list(line(report("0.1.0"), "tiny"))


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,age\n", encoding="utf-8")
    with pytest.raises(DataError, match="other columns"):
        add_line(report("0.1.0"), "tiny", path)
    assert path.read_text(encoding="utf-8") == "name,age\n"
    with pytest.raises(DeviceError, match="cannot be written"):
        add_line(report("0.1.0"), "tiny", tmp_path)
