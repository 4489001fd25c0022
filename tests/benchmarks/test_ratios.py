"""What CI prints of times, beside the last release's."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ratios import PARTS, WHOLE, lines, measure, newest
from edge_aac.bundle.store import DEFAULT_BUNDLE


def test_every_part_is_told_beside_the_last_release(tmp_path: Path) -> None:
    rows = {name: [{"ms": 10.0}] * 3 for name in (WHOLE, *PARTS)}
    rows["window 1 s after the last"] = [{"ms": 4.0}, {"ms": 5.0}, {"ms": 6.0}]
    path = tmp_path / "history.csv"
    assert newest(path) == {}
    path.write_text("version,window_at_hop_1_s_over_hop_10_s\n0.1.0,0.3\n0.2.0,0.35\n", encoding="utf-8")
    first, *others = lines(rows, newest(path))
    assert first == "window 1 s after the last / whole window: 0.5 (0.42 – 0.58); 0.2.0 had 0.35"
    assert others and all(line.endswith(": 1 (1 – 1)") for line in others)


def test_all_parts_of_the_default_bundle_are_timed() -> None:
    rows = measure(DEFAULT_BUNDLE, 2)
    assert set(rows) == {WHOLE, *PARTS} and {len(times) for times in rows.values()} == {2}
    assert min(row["ms"] for times in rows.values() for row in times) > 0.0
