"""The cost of an ensemble in units of its members."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import ensembles
from edge_aac.errors import UsageError
from edge_aac.models.contract import Latency
from tests.edge_aac.models.ensemble_bundles import tiny_member


def test_ratios_are_those_of_one_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is ten times as slow in every second turn, which no ratio shows."""
    names = ",".join(tiny_member(tmp_path / str(seed), seed) for seed in range(2))
    heard: list[str] = []
    cost = {"0": 1.0, "1": 3.0, "0,1": 5.0}

    def latency(model: ensembles.CaptioningModel, window: object) -> Latency:
        heard.append(model.identity.bundle)
        slow = 10.0 if (len(heard) - 1) // 3 % 2 else 1.0
        return Latency(slow * cost[model.identity.bundle], slow * 2.0, 0.5)

    monkeypatch.setattr(ensembles, "_latency", latency)
    monkeypatch.setattr(sys, "argv", ["ensembles", "--bundle", names, "--turns", "4", "--candidates", "2"])
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", printed.append)
    ensembles.main()
    table = json.loads(printed[0])
    assert (table["bundle"], table["windows"], table["candidates"]) == ("0,1", 4, 2)
    assert (table["stages"]["encode"]["of_first"], table["stages"]["encode"]["of_sum"]) == (5.0, 1.25)
    assert (table["stages"]["decode"]["of_first"], table["stages"]["decode"]["of_sum"]) == (1.0, 0.5)
    turns = [tuple(heard[start : start + 3]) for start in range(0, len(heard), 3)]
    assert all(sorted(turn) == ["0", "0,1", "1"] for turn in turns) and len(set(turns)) > 1


def test_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = tiny_member(tmp_path / "a", 1)
    monkeypatch.setattr(sys, "argv", ["ensembles", "--bundle", f"{name},{name}", "--turns", "1", "--method", "beam"])
    ensembles.main()
    table = json.loads(capsys.readouterr().out)
    assert (table["method"], table["precision"], table["windows"]) == ("beam", "fp32", 1)
    assert all(stage["ensemble_ms"] >= 0.0 for stage in table["stages"].values())
    monkeypatch.setattr(sys, "argv", ["ensembles", "--bundle", name])
    with pytest.raises(UsageError, match="one bundle is no ensemble"):
        ensembles.main()
