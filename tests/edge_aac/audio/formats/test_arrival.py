"""A wrong rate shows where a live writer sets the pace, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.formats.arrival import ArrivalRate, PaceFinding


def _live(
    rate: float,
    channels: int = 1,
    *,
    stated: tuple[int, int] = (16_000, 1),
    seconds: float = 30.0,
    block_s: float = 0.1,
    jitter_s: float = 0.02,
) -> list[PaceFinding]:
    """What is found about a microphone that is read block by block."""
    random = np.random.default_rng(0)
    arrival = ArrivalRate(*stated)
    found = []
    sent = 0
    for block in range(round(seconds / block_s)):
        due = 2 * channels * round(rate * block_s * (block + 1))
        finding = arrival.feed(100 + block_s * (block + 1) + random.uniform(0, jitter_s), due - sent, True)
        sent = due
        if finding is not None:
            found.append(finding)
    return found


@pytest.mark.parametrize(
    ("real", "stated"),
    [
        ((48_000, 1), (16_000, 1)),
        ((44_100, 1), (16_000, 1)),
        ((8_000, 1), (16_000, 1)),
        ((16_000, 2), (16_000, 1)),
        ((16_000, 1), (48_000, 1)),
        ((48_000, 2), (44_100, 2)),
        ((48_000, 1), (48_000, 2)),
    ],
)
def test_a_wrong_rate_is_found_once(real: tuple[int, int], stated: tuple[int, int]) -> None:
    found = _live(*real, stated=stated)
    assert len(found) == 1
    true_ratio = real[0] * real[1] / (stated[0] * stated[1])
    assert found[0].ratio == pytest.approx(true_ratio, rel=0.02)
    assert real in found[0].candidates
    assert found[0].frames_per_s == pytest.approx(true_ratio * stated[0], rel=0.02)


def test_twice_the_rate_may_be_two_channels() -> None:
    [finding] = _live(32_000)
    assert set(finding.candidates[:2]) == {(32_000, 1), (16_000, 2)}


@pytest.mark.parametrize("drift", [0.96, 0.999, 1.0, 1.0004, 1.04])
def test_the_right_rate_and_any_clock(drift: float) -> None:
    assert _live(16_000 * drift, seconds=600) == []


@pytest.mark.parametrize("block_s", [0.005, 0.02, 0.5])
def test_any_size_of_block(block_s: float) -> None:
    assert len(_live(48_000, block_s=block_s, jitter_s=0.002)) == 1
    assert _live(16_000, block_s=block_s, jitter_s=0.002) == []


def test_it_needs_ten_seconds() -> None:
    assert _live(48_000, seconds=9.5) == []


def test_a_pace_of_no_usual_rate_says_nothing() -> None:
    assert _live(37_000) == []


def test_a_file_says_nothing() -> None:
    arrival = ArrivalRate(16_000, 1)
    assert not any(arrival.feed(block * 1e-4, 65_536, False) for block in range(200_000))
    # One that is read at three times the rate by chance: its reader never waits.
    assert not any(arrival.feed(100 + block * 0.1, 9_600, False) for block in range(1_000))


def test_stalls_and_bursts_say_nothing() -> None:
    random = np.random.default_rng(1)
    arrival = ArrivalRate(16_000, 1)
    now_s = 0.0
    for _ in range(2_000):
        pause_s = random.exponential(0.3)
        now_s += pause_s
        # All that was recorded meanwhile comes at once, and now and then some of it is lost.
        assert (
            arrival.feed(now_s, 2 * round(16_000 * pause_s * random.choice([1, 1, 0.2])), bool(random.integers(2)))
            is None
        )


def test_a_stall_does_not_hide_what_follows() -> None:
    arrival = ArrivalRate(16_000, 1)
    found = [arrival.feed(block * 0.1, 9_600, True) for block in range(50)]
    found += [arrival.feed(500 + block * 0.1, 9_600, True) for block in range(150)]
    assert sum(finding is not None for finding in found) == 1
