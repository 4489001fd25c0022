"""Where torch is not installed, what needs it is left out in words, and ours is measured all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.against import measure, other_orders
from benchmarks.report.making import machine
from benchmarks.report.markdown import markdown
from benchmarks.report.page import page
from benchmarks.report.plan import Plan
from edge_aac.bundle.store import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[3]
PLAN = Plan(bundles=(DEFAULT_BUNDLE,), threads=(1,), slow_repetitions=2, tokens=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The section, of processes that find no torch."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
        return measure(PLAN, lambda line: None)


def test_ours_is_measured_and_the_others_say_what_they_need(made: dict[str, Any]) -> None:
    assert set(made["left_out"]) == set(other_orders(PLAN))
    for why in made["left_out"].values():
        assert why == "left out: it needs the package torch, pip install 'edge-aac[train]' brings it"
    assert made["theirs"] == made["ratios"] == {}
    ours = made["ours"][DEFAULT_BUNDLE]
    assert ours["about"]["tokens"] == PLAN.tokens and ours["ms"]["total"]["count"] == PLAN.slow_repetitions


def test_the_page_and_the_table_say_so(made: dict[str, Any]) -> None:
    report = {
        **{"version": "0.1.0", "date": "2026-01-31", "machine": machine(), "measured_by": "edge-aac bench"},
        **{"note": "", "not_run": {}, "sections": {"against": made}},
    }
    for name in other_orders(PLAN):
        sentence = f"{name}: left out: it needs the package torch"
        assert sentence in markdown(report) and sentence in page(report).replace("&#x27;", "'")
