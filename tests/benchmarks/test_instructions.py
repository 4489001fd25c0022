"""Counted instructions: what is read from valgrind, and when a loop counts as dearer. script/test counts in earnest."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.instructions import __main__ as program
from benchmarks.instructions.__main__ import compared
from benchmarks.instructions.counting import count, read_counts
from benchmarks.instructions.loops import loops
from benchmarks.instructions.ratios import BRIDGE_LOOPS, Bound, Ratio, ratios, read_bounds, value, write_bounds
from edge_aac.errors import DataError, DeviceError

pytestmark = pytest.mark.one_python

DUMPS = """# callgrind format
part: 1
desc: Trigger: Client Request: ring of 2 s
events: Ir
summary: 2454035

fn=(1) write
16 400
totals: 2483302
part: 2
desc: Trigger: Client Request: bridge crc32 1024
events: Ir
summary: 14366
totals: 14366
part: 3
desc: Trigger: Program termination
summary: 1264
"""


def test_counts_of_a_file_of_callgrind() -> None:
    assert read_counts(DUMPS) == {"ring of 2 s": 2454035, "bridge crc32 1024": 14366}


def test_every_ratio_is_of_loops_that_are_counted() -> None:
    found = loops()
    for loop in found.values():
        loop()
    names = {*found, *(f"bridge {name} {size}" for name in BRIDGE_LOOPS for size in (1024, 4096))}
    assert {name for ratio in ratios() for name in (ratio.loop, ratio.over) if not name.isdecimal()} == names
    source = (Path(read_counts.__code__.co_filename).parent / "bridge.c").read_text()
    assert all(f'count_both("{name}", ' in source for name in BRIDGE_LOOPS)


def test_a_loop_that_became_dearer_is_named() -> None:
    bound = Bound(Ratio("ring of 60 s", "ring of 2 s", 0.15), 1.0, 1.15)
    for now, exceeded, verdict in ((1149, False, "ok"), (1151, True, "DEARER"), (840, False, "cheaper")):
        (line,), found = compared([bound], {"ring of 60 s": now, "ring of 2 s": 1000})
        assert found == exceeded and verdict in line and "ring of 60 s / ring of 2 s" in line


def test_a_number_below_is_units_of_work() -> None:
    assert value(Ratio("bridge crc32 4096", "4096", 0.5), {"bridge crc32 4096": 8192}) == 2.0


def test_the_committed_table_is_of_these_ratios() -> None:
    bounds = read_bounds()
    assert [bound.ratio for bound in bounds] == list(ratios())
    assert all(bound.measured < bound.at_most <= 1.61 * bound.measured for bound in bounds)


def test_a_table_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "bounds.csv"
    names = {name for ratio in ratios() for name in (ratio.loop, ratio.over) if not name.isdecimal()}
    counts = {name: 1000 + number for number, name in enumerate(sorted(names))}
    write_bounds(counts, path)
    lines, exceeded = compared(read_bounds(path), counts)
    assert not exceeded and all(" ok " in line for line in lines)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="--renew"):
        read_bounds(path)


def test_without_valgrind_one_sentence_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt install valgrind"):
        count()


def test_it_fails_where_a_bound_is_exceeded_on_the_processor_that_it_was_counted_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {name: 1000 for ratio in ratios() for name in (ratio.loop, ratio.over)}
    monkeypatch.setattr(program, "count", lambda: counts | {"ring of 60 s": 30_000})
    monkeypatch.setattr("sys.argv", ["benchmarks.instructions"])
    monkeypatch.setattr(program.platform, "machine", lambda: "x86_64")
    with pytest.raises(SystemExit, match="1"):
        program.main()
    told = capsys.readouterr()
    assert told.out.count("DEARER") >= 1 and "became dearer" in told.err
    monkeypatch.setattr(program.platform, "machine", lambda: "aarch64")
    program.main()
    assert "nothing fails on aarch64" in capsys.readouterr().out
