"""Ways in processes of their own: turns, what cannot run here, and what ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report.side_by_side import Order, Taken, take_turns
from edge_aac.errors import InputMissingError, UsageError

WAYS = """
import os, signal, sys
from benchmarks.report.worker import Way

TURNS = os.environ["TURNS"]

def constant(threads, name, ms):
    print("a library that talks on standard output")
    def run(index):
        with open(TURNS, "a") as stream:
            stream.write(f"{name}{index} ")
        return {"encode": ms, "cores": len(os.sched_getaffinity(0))}
    return Way(run, {"threads": threads})

def needs_torch(threads):
    raise ModuleNotFoundError("no torch here", name="torch.nn")

def killed(threads, at):
    def run(index):
        if index == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"encode": 1.0}
    return Way(run)

def missing_bundle(threads):
    from benchmarks.report.ways import captioner
    return captioner(threads, "/nope")

def faulty(threads):
    raise ValueError("a fault of its own")
"""


@pytest.fixture
def turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ways note their turns; they lie in a module that their processes can import."""
    (tmp_path / "some_ways.py").write_text(WAYS, encoding="utf-8")
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")
    monkeypatch.setenv("TURNS", str(tmp_path / "turns"))
    return tmp_path / "turns"


def taken_of(repetitions: int = 3, **ways: tuple[str, dict[str, object]]) -> tuple[Taken, list[str]]:
    lines: list[str] = []
    orders = {name: Order(f"some_ways:{way}", 1, settings) for name, (way, settings) in ways.items()}
    return take_turns(orders, repetitions, lines.append), lines


def test_ways_take_turns_and_the_first_run_is_not_counted(turns: Path) -> None:
    a, b = ("constant", {"name": "a", "ms": 1.5}), ("constant", {"name": "b", "ms": 3.0})
    taken, lines = taken_of(a=a, b=b)
    assert taken.rows == {"a": [{"encode": 1.5, "cores": 1}] * 3, "b": [{"encode": 3.0, "cores": 1}] * 3}
    assert taken.about == {"a": {"threads": 1}, "b": {"threads": 1}} and taken.left_out == {}
    noted = turns.read_text().split()
    assert noted[:2] == ["a0", "b0"]
    assert [sorted(noted[start : start + 2]) for start in (2, 4, 6)] == [["a1", "b1"], ["a2", "b2"], ["a3", "b3"]]
    assert any("repetition 3 of 3" in line for line in lines)


def test_what_cannot_run_here_is_told_in_words_and_the_others_go_on(turns: Path) -> None:
    taken, _ = taken_of(
        torch=("needs_torch", {}),
        early=("killed", {"at": 0}),
        late=("killed", {"at": 2}),
        a=("constant", {"name": "a", "ms": 1}),
    )
    assert set(taken.rows) == set(taken.about) == {"a"} and len(taken.rows["a"]) == 3
    assert "needs the package torch, pip install 'edge-aac[train]' brings it" in taken.left_out["torch"]
    assert "signal 9" in taken.left_out["early"] and "signal 9" in taken.left_out["late"]


def test_a_users_error_in_a_process_is_the_same_error_here(turns: Path) -> None:
    with pytest.raises(InputMissingError, match="no bundle '/nope'"):
        taken_of(ours=("missing_bundle", {}))
    with pytest.raises(UsageError, match="cores, not 4096"):
        take_turns({"ours": Order("some_ways:faulty", 4096)}, 1, lambda line: None)


def test_a_fault_of_a_way_is_no_result(turns: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ours ended with exit code 1"):
        taken_of(ours=("faulty", {}))
    assert "a fault of its own" in capfd.readouterr().err
