"""The page and the Markdown table of numbers that are known."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.report.bars import ratio_bars, stacked_bars
from benchmarks.report.command import QUICK_NOTE
from benchmarks.report.growth import curve, source_points
from benchmarks.report.making import NOT_RUN
from benchmarks.report.markdown import markdown
from benchmarks.report.page import NO_CURVES, page
from benchmarks.report.spread import by_stage, spread

ROW = {"features": 16.0, "encode": 6.0, "decode": 4.0, "rerank": 1.0, "publish": 0.25}
ABOUT = {"precision": "fp32", "candidates": 2}


@pytest.fixture
def report() -> dict[str, Any]:
    """A report of all sections."""
    share = {
        **{"precision": "int8", "macs": 3_000_000, "bytes": 2_000_000, "arithmetic_ms": 0.6, "memory_ms": 0.2},
        **{"bound_ms": 0.6, "measured_ms": spread([2.0]), "share": 0.3},
    }
    one, many = ({"processor_s": 1.0 * count, "busy_s": 0.5 * count, "resident_mb": 100.0 + count} for count in (1, 32))
    live = {"sources": 32, "hop_s": 2.0, "seconds": 40, "windows": 512, "skipped": 7, "cores_used": 1.25}
    tiny = {
        "hop_s": curve([{"10": 12.0, "0.5": 1.5}]),
        "candidates": curve([{"1": 2.0, "50": 44.0}]),
        "tokens": curve([{"6": 2.0, "30": 9.0}]),
        "sources": {"points": source_points({1: [one], 32: [many]}), "live": live},
        "window_s": "not measured: tiny hears windows of 10 s and no others",
        "left_out": {},
    }
    hour = {"processor_s_an_hour": spread([40.0]), "share_of_a_core": 0.0111, "watts_while_computing": None}
    memory = {"pss_mib_early": 88.0, "pss_mib_late": 89.0, "rss_mib_late": 114.0, "rss_mib_peak": 120.0}
    left_out = {"(c) transformers' generate": "left out: it needs the package torch, pip install <it>"}
    return {
        "version": "0.1.0",
        "date": "2026-01-31",
        "machine": {"processor": "Some <processor>", "cores": 2, "packages": {"numpy": "2.0"}},
        "measured_by": "edge-aac bench --report DIR",
        "note": QUICK_NOTE,
        "not_run": NOT_RUN,
        "sections": {
            "windows": {
                "rows": [{"name": "tiny", "threads": 1, "about": ABOUT, "ms": by_stage([ROW])}],
                "left_out": {},
            },
            "against": {
                "threads": 2,
                "tokens": 16,
                "ours": {"tiny": {"about": ABOUT, "ms": by_stage([ROW])}},
                "theirs": {"(f) tagger": {"about": {}, "words": "a tagger", "ms": by_stage([{"encode": 48.0}])}},
                "ratios": {"(f) tagger": {"tiny": spread([8.0])}},
                "left_out": left_out,
            },
            "limit": {
                "by_threads": {
                    "1": {
                        "rates": {"fp32_gmacs_per_s": 50.0},
                        "bundles": {"tiny": {"encode": share, "decode": share}},
                        "left_out": {"bf16": "left out: it needs the package torch"},
                    },
                    "2": {"left_out": {"rates": "left out: it needs the package onnx"}},
                }
            },
            "growth": {"bundles": {"tiny": tiny}},
            "start": {
                "seconds": {"edge-aac --help": spread([0.15])},
                "memory_mib": {"tiny": memory},
                "bare_interpreter_rss_mib": 42.0,
                "bytes": {"bundle tiny": 6_800_000, "wheel": "not measured: hatchling is missing"},
            },
            "energy": {"watts_at_rest": None, "bundles": {"tiny": {"2": hour}}, "left_out": "no sensor"},
        },
    }


def test_the_page_shows_every_section_and_loads_nothing(report: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib", reason="curves are drawn with it: pip install 'edge-aac[evaluate]'")
    shown = page(report)
    text = re.sub(r"<[^>]*>", " ", shown)
    for words in (
        "16 (16 – 16)",
        "8 (8",
        "30 %",
        "50",
        "512 windows, 7 skipped",
        "89",
        "6.8 MB",
        "1.11 %",
        "not yet run",
    ):
        assert words in text, words
    assert "needs the package torch, pip install &lt;it&gt;." in shown and "Some &lt;processor&gt;" in shown
    assert "no sensor" in text and "hatchling is missing" in text and "needs the package onnx" in text
    assert QUICK_NOTE in text
    # Namespaces are names, and nothing else of the page lies elsewhere.
    addresses = set(re.findall(r"https?://[^\"' <)]+", shown))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(script|link|img|iframe)|url\((?!#)", shown)
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert len(ids) == len(set(ids))


def test_without_matplotlib_the_curves_are_left_out_in_words(
    report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    shown = page(report)
    assert shown.count(NO_CURVES) == 3 and "44 (44 – 44)" in shown


def test_a_report_of_one_section(report: dict[str, Any]) -> None:
    report["sections"] = {"windows": report["sections"]["windows"]}
    report["note"] = ""
    assert "A window of 10 s" in page(report) and "Energy" not in page(report)
    assert "processor seconds" not in markdown(report)


def test_the_markdown_has_a_table_of_each_section(report: dict[str, Any]) -> None:
    lines = markdown(report).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    heads = [number for number, line in enumerate(rows) if line.startswith("|---")]
    for number, start in enumerate(heads):
        stop = heads[number + 1] - 1 if number + 1 < len(heads) else len(rows)
        assert {row.count("|") for row in rows[start - 1 : stop]} == {rows[start].count("|")}
    for cells in (
        "| (f) tagger | 8 × |",
        "| tiny | 1 | 30 % | 30 % |",
        "| ms | 1.5 | 12 |",
        "| tiny | 2 | 40 (40 – 40) | 1.11 % |",
    ):
        assert cells in lines
    assert any("7 windows skipped" in line for line in lines) and lines[-1].startswith("GPU: not yet run")


def test_bars_are_as_long_as_their_values() -> None:
    drawn = ElementTree.fromstring(
        stacked_bars({"a": {"encode": 1.0, "decode": 3.0}, "b": {"encode": 2.0, "decode": 0}}, "ms")
    )
    widths = [float(bar.attrib["width"]) for bar in drawn.iter() if bar.tag.endswith("rect")]
    first, second, third = widths[:3]
    assert second == pytest.approx(3 * first, rel=0.01) and third == pytest.approx(2 * first, rel=0.01)
    texts = [text.text for text in drawn.iter() if text.tag.endswith("text")]
    assert {"a", "b", "4 ms", "2 ms", "encode", "decode"} <= set(texts)


def test_ratio_bars_lie_on_either_side_of_one() -> None:
    drawn = ElementTree.fromstring(ratio_bars({"slower": spread([100.0]), "faster": spread([0.1])}))
    slower, faster = (bar.attrib for bar in drawn.iter() if bar.tag.endswith("rect"))
    assert float(slower["width"]) == pytest.approx(2 * float(faster["width"]), rel=0.01)
    assert float(faster["x"]) + float(faster["width"]) == pytest.approx(float(slower["x"]), abs=0.2)
