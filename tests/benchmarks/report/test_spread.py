"""Medians, spreads and ratios of times that are known."""

from __future__ import annotations

import pytest

from benchmarks.report.against import ratios
from benchmarks.report.growth import curve, source_points
from benchmarks.report.side_by_side import Taken
from benchmarks.report.spread import by_stage, ratio, spread


def test_a_spread_holds_eight_of_ten() -> None:
    assert spread([float(value) for value in range(11)]) == {"median": 5.0, "low": 1.0, "high": 9.0, "count": 11}
    assert spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0, "count": 1}


def test_the_total_is_that_of_each_repetition() -> None:
    found = by_stage([{"encode": 1.0, "decode": 9.0}, {"encode": 9.0, "decode": 1.0}, {"encode": 2.0, "decode": 2.0}])
    assert found["encode"]["median"] == 2.0 and found["decode"]["median"] == 2.0
    assert found["total"]["median"] == 10.0, "not the sum of the medians"


def test_ratios_are_of_the_same_repetition() -> None:
    # The machine was four times as slow in the second repetition; neither way was.
    theirs, ours = [{"encode": 6.0, "decode": 4.0}, {"encode": 24.0, "decode": 16.0}], [{"all": 2.0}, {"all": 8.0}]
    assert ratio(theirs, ours) == {"median": 5.0, "low": 5.0, "high": 5.0, "count": 2}
    assert ratio(theirs, [{"encode": 3.0}, {"encode": 6.0}], "encode")["median"] == 3.0


def test_a_tagger_is_compared_with_the_encoder_alone() -> None:
    taken = Taken(
        rows={
            "ours": [{"features": 10.0, "encode": 5.0, "decode": 5.0}],
            "captioner": [{"features": 1.0, "encode": 30.0, "decode": 9.0}],
            "tagger": [{"encode": 20.0}],
        },
        left_out={"other": "left out: it needs the package torch"},
    )
    found = ratios(taken, ["ours", "missing"], ["captioner", "tagger", "other"])
    assert {name: row["ours"]["median"] for name, row in found.items()} == {"captioner": 2.0, "tagger": 4.0}
    assert all(set(row) == {"ours"} for row in found.values())


def test_a_curve_ascends_and_is_told_as_a_share_of_its_first_point() -> None:
    points = curve([{"10": 40.0, "0.5": 10.0, "2": 20.0}, {"10": 80.0, "0.5": 20.0, "2": 40.0}])
    assert [point["at"] for point in points] == [0.5, 2.0, 10.0]
    assert [point["of_first"]["median"] for point in points] == [1.0, 2.0, 4.0]
    assert points[0]["ms"]["median"] == 15.0


def test_sources_are_compared_with_one_of_the_same_repetition() -> None:
    one = {"processor_s": 1.0, "busy_s": 1.0, "resident_mb": 100.0}
    slow = {"processor_s": 3.0, "busy_s": 2.0, "resident_mb": 100.0}
    four = {"processor_s": 2.0, "busy_s": 3.0, "resident_mb": 112.0}
    four_slow = {"processor_s": 6.0, "busy_s": 6.0, "resident_mb": 112.0}
    first, second = source_points({1: [one, slow], 4: [four, four_slow]})
    assert first["mb_a_source_more"] is None and second["mb_a_source_more"] == pytest.approx(4.0)
    assert second["processor_of_one"]["median"] == 2.0 and second["busy_of_one"]["median"] == 3.0
