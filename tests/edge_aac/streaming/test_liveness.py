"""Parts that stand still are found, and nothing else is taken for one."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator

import pytest

from edge_aac.streaming.liveness import Liveness, Sign


class _Parts:
    """Signs and a clock that a test moves."""

    def __init__(self, **values: Hashable | None) -> None:
        self.values = values
        self.allowance_s = 0.0
        self.now_s = 0.0

    def signs(self) -> Iterator[Sign]:
        for name, value in self.values.items():
            yield Sign(name, value, f"{name} stands still", source=name, allowance_s=self.allowance_s)

    def liveness(self) -> Liveness:
        return Liveness(self.signs, limit_s=10.0, interval_s=1.0, monotonic=lambda: self.now_s)

    def pass_s(self, liveness: Liveness, seconds: int, *moving: str) -> list[str]:
        """Let seconds pass, a check each, in which some parts move."""
        found: list[str] = []
        for _ in range(seconds):
            self.now_s += 1.0
            for name in moving:
                value = self.values[name]
                assert isinstance(value, int)
                self.values[name] = value + 1
            found = liveness.check()
        return found


def test_a_part_that_stands_still_is_found_logged_once_and_forgiven(caplog: pytest.LogCaptureFixture) -> None:
    parts = _Parts(mic0=0, mic1=0)
    liveness = parts.liveness()
    with caplog.at_level(logging.WARNING):
        assert parts.pass_s(liveness, 11, "mic0") == []
        assert parts.pass_s(liveness, 5, "mic0") == ["mic1 stands still for 15 s"]
        assert liveness.missing() == liveness.missing("mic1") == ["mic1 stands still for 15 s"]
        assert liveness.missing("mic0") == []
        assert parts.pass_s(liveness, 1, "mic0", "mic1") == liveness.missing() == []
    assert caplog.messages == ["mic1 stands still for 11 s", "this is over: mic1 stands still"]


def test_a_part_that_has_nothing_to_do_is_not_missed() -> None:
    parts = _Parts(mic0=None)
    liveness = parts.liveness()
    assert parts.pass_s(liveness, 100) == []
    parts.values["mic0"] = 1
    assert parts.pass_s(liveness, 10) == []
    assert parts.pass_s(liveness, 2) != [], "its time began when it had something to do"


def test_a_wait_that_is_allowed_counts_beside_the_limit() -> None:
    parts = _Parts(mic0=1)
    liveness = parts.liveness()
    parts.allowance_s = 30.0
    assert parts.pass_s(liveness, 40) == []
    assert parts.pass_s(liveness, 2) != []


def test_a_night_of_suspend_is_no_hang() -> None:
    parts = _Parts(mic0=1)
    liveness = parts.liveness()
    parts.pass_s(liveness, 5)
    parts.now_s += 30_000.0
    assert liveness.check() == []
    assert parts.pass_s(liveness, 3) == [], "two seconds of the night count, no more"
    assert parts.pass_s(liveness, 3) != []


def test_a_part_that_has_gone_is_forgotten() -> None:
    parts = _Parts(mic0=1)
    liveness = parts.liveness()
    assert parts.pass_s(liveness, 20) != []
    del parts.values["mic0"]
    assert parts.pass_s(liveness, 1) == liveness.missing() == []
