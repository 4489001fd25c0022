"""The ring: nothing lost without a count, positions that stay true, threads that never hang."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.audio.ring import SampleRing
from tests.waiting import PATIENCE_S, ended, until


def _ramp(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_reads_what_was_written_across_the_seam() -> None:
    ring = SampleRing(10)
    for start in range(0, 70, 7):
        ring.write(_ramp(start, 7), block=True)
        position, samples = ring.read(100, 0) or pytest.fail("ended")
        assert position == start
        assert np.array_equal(samples, _ramp(start, 7))
    assert ring.overrun_samples == 0
    assert ring.backlog_samples == 0
    assert ring.written_samples == 70


def test_read_is_a_copy() -> None:
    ring = SampleRing(4)
    ring.write(_ramp(0, 4), block=False)
    _, samples = ring.read(4, 0) or pytest.fail("ended")
    ring.write(_ramp(4, 4), block=False)
    assert np.array_equal(samples, _ramp(0, 4))


def test_max_samples_and_backlog() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 8), block=True)
    position, samples = ring.read(3, 0) or pytest.fail("ended")
    assert (position, samples.tolist(), ring.backlog_samples) == (0, [0, 1, 2], 5)


def test_timeout_gives_an_empty_array() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 5), block=True)
    ring.read(5, 0)
    position, samples = ring.read(5, 0.01) or pytest.fail("ended")
    assert position == 5
    assert samples.shape == (0,)
    assert samples.dtype == np.float32


def test_overrun_drops_the_oldest_and_jumps() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 8), block=False)
    ring.write(_ramp(8, 6), block=False)
    position, samples = ring.read(100, 0) or pytest.fail("ended")
    assert position == 4
    assert np.array_equal(samples, _ramp(4, 10))
    assert ring.overrun_samples == 4


@pytest.mark.parametrize("count", [10, 11, 25, 1000])
def test_more_than_the_capacity_without_blocking(count: int) -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 3), block=False)
    ring.read(1, 0)
    ring.write(_ramp(3, count), block=False)
    position, samples = ring.read(10_000, 0) or pytest.fail("ended")
    assert position == count + 3 - 10
    assert np.array_equal(samples, _ramp(position, 10))
    assert ring.overrun_samples == count + 2 - 10


def test_more_than_the_capacity_with_blocking() -> None:
    ring = SampleRing(10)
    writer = threading.Thread(target=lambda: (ring.write(_ramp(0, 1003), block=True), ring.close()), daemon=True)
    writer.start()
    received = []
    while (chunk := ring.read(7, 5)) is not None:
        received.append(chunk[1])
    assert np.array_equal(np.concatenate(received), _ramp(0, 1003))
    assert ring.overrun_samples == 0
    ended(writer)


def test_threads_with_odd_sizes_lose_nothing() -> None:
    ring = SampleRing(997)
    random = np.random.default_rng(0)
    total = 200_000

    def write() -> None:
        start = 0
        while start < total:
            count = min(int(random.integers(0, 3000)), total - start)
            ring.write(_ramp(start, count), block=True)
            start += count
        ring.close()

    threading.Thread(target=write, daemon=True).start()
    expected = 0
    while (chunk := ring.read(611, 5)) is not None:
        position, samples = chunk
        assert position == expected
        assert np.array_equal(samples, _ramp(position, len(samples)))
        expected += len(samples)
    assert expected == total


def test_threads_with_overruns_account_for_every_sample() -> None:
    ring = SampleRing(500)

    def write() -> None:
        for start in range(0, 100_000, 100):
            ring.write(_ramp(start, 100), block=False)
        ring.close()

    threading.Thread(target=write, daemon=True).start()
    seen = 0
    jumped = 0
    expected = 0
    while (chunk := ring.read(333, 5)) is not None:
        position, samples = chunk
        assert np.array_equal(samples, _ramp(position, len(samples)))
        jumped += position - expected
        expected = position + len(samples)
        seen += len(samples)
    assert jumped == ring.overrun_samples
    assert seen + jumped == 100_000


def test_gap_advances_time_with_zeros() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(1, 3), block=False)
    ring.write_gap(2)
    ring.write(_ramp(6, 2), block=False)
    assert ring.gap_samples == 2
    position, samples = ring.read(10, 0) or pytest.fail("ended")
    assert (position, samples.tolist()) == (0, [1, 2, 3, 0, 0, 6, 7])
    assert ring.overrun_samples == 0


def test_long_gap_counts_unread_sound_as_overrun_once() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(1, 6), block=False)
    ring.write_gap(8)
    assert (ring.gap_samples, ring.overrun_samples, ring.backlog_samples) == (8, 4, 10)
    position, samples = ring.read(10, 0) or pytest.fail("ended")
    assert (position, samples.tolist()) == (4, [5, 6, 0, 0, 0, 0, 0, 0, 0, 0])

    ring.write_gap(10**12)
    assert (ring.gap_samples, ring.overrun_samples, ring.backlog_samples) == (8 + 10**12, 4, 10)
    position, samples = ring.read(10, 0) or pytest.fail("ended")
    assert position == 10**12 + 4
    assert not samples.any()


def test_zeros_of_a_gap_are_lost_once() -> None:
    ring = SampleRing(10)
    ring.write_gap(25)
    ring.write(_ramp(1, 3), block=False)
    assert (ring.gap_samples, ring.overrun_samples) == (25, 0)
    ring.write(_ramp(4, 9), block=False)
    assert (ring.gap_samples, ring.overrun_samples) == (25, 2), "two of the samples before, and no zeros"
    ring.write_gap(5)
    ring.write(_ramp(13, 7), block=False)
    assert (ring.gap_samples, ring.overrun_samples) == (30, 12), "all sound before the gap"
    position, samples = ring.read(10, 0) or pytest.fail("ended")
    assert (position, samples.tolist()) == (25 + 12 + 2, [0, 0, 0, 13, 14, 15, 16, 17, 18, 19])


def test_end_comes_after_the_rest() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 3), block=True)
    ring.close()
    ring.close(RuntimeError("too late to count"))
    assert ring.read(10, 0) is not None
    assert ring.read(10, 0) is None
    assert ring.read(10, 0) is None


def test_error_comes_after_the_rest() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 3), block=True)
    ring.close(RuntimeError("the cat pulled the plug"))
    assert ring.read(10, 0) is not None
    with pytest.raises(RuntimeError, match="the cat"):
        ring.read(10, 0)


def test_close_wakes_a_waiting_reader() -> None:
    ring = SampleRing(10)
    threading.Timer(0.05, ring.close).start()
    assert ring.read(1, PATIENCE_S) is None


def test_stop_writing_frees_a_waiting_writer() -> None:
    ring = SampleRing(10)
    writer = threading.Thread(target=ring.write, args=(_ramp(0, 100),), kwargs={"block": True}, daemon=True)
    writer.start()
    until(lambda: ring.backlog_samples == 10)
    ring.stop_writing()
    ended(writer)
    ring.write(_ramp(0, 5), block=False)
    ring.write_gap(5)
    assert ring.written_samples == 10


def test_misuse() -> None:
    with pytest.raises(ValueError, match="capacity"):
        SampleRing(0)
    ring = SampleRing(10)
    with pytest.raises(ValueError, match="max_samples"):
        ring.read(0, 0)
    with pytest.raises(ValueError, match="negative"):
        ring.write_gap(-1)
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        ring.write(_ramp(0, 1), block=True)
    with pytest.raises(ValueError, match="closed"):
        ring.write_gap(1)


def test_a_writer_waits_for_room() -> None:
    ring = SampleRing(10)
    ring.write(_ramp(0, 6), block=False)
    assert ring.wait_for_room(4, 0.0)
    assert not ring.wait_for_room(5, 0.0)
    assert not ring.wait_for_room(1_000, 0.01)
    reader = threading.Timer(0.05, ring.read, (100, 0.0))
    reader.start()
    assert ring.wait_for_room(1_000, 30.0), "all was read"
    ring.write(_ramp(6, 10), block=False)
    ring.stop_writing()
    assert ring.wait_for_room(1_000, 30.0), "nobody reads"


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "read", "gap", "history"]), st.integers(0, 25), st.integers(0, 60)),
        max_size=40,
    )
)
def test_history_is_what_was_written_and_disturbs_nobody(steps: list[tuple[str, int, int]]) -> None:
    ring, bare = SampleRing(10), SampleRing(10)
    heard: list[float] = []
    for step, count, start in steps:
        if step == "write":
            samples = _ramp(len(heard) + 1, count)
            heard += samples.tolist()
            for each in (ring, bare):
                each.write(samples, block=False)
        elif step == "gap":
            heard += [0.0] * count
            for each in (ring, bare):
                each.write_gap(count)
        elif step == "read" and count:
            one, other = ring.read(count, 0), bare.read(count, 0)
            assert one is not None and other is not None
            assert one[0] == other[0] and np.array_equal(one[1], other[1])
        else:
            position, samples = ring.history(start, start + count)
            end = min(start + count, len(heard))
            assert position == min(max(start, len(heard) - 10), end)
            assert samples.tolist() == heard[position:end] and samples.dtype == np.float32
            samples[:] = -1.0
        assert ring.overrun_samples == bare.overrun_samples and ring.backlog_samples == bare.backlog_samples


def test_history_of_what_was_never_written_is_empty() -> None:
    ring = SampleRing(10)
    assert ring.history(3, 9)[1].shape == (0,)
    ring.write(_ramp(0, 4), block=True)
    position, samples = ring.history(-5, 100)
    assert position == 0 and samples.tolist() == [0, 1, 2, 3]
