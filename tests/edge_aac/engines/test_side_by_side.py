"""Work that is shared among cores."""

from __future__ import annotations

import threading

import pytest

from edge_aac.engines.side_by_side import SideBySide


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_everything_is_found_in_order(at_once: int, count: int) -> None:
    assert SideBySide(at_once).map(lambda item: 10 * item, range(count)) == [10 * item for item in range(count)]


def test_as_many_work_at_once_as_asked_for_and_one_of_them_asks() -> None:
    together = threading.Barrier(3, timeout=30)
    workers = SideBySide(3).map(lambda _: together.wait() >= 0 and threading.get_ident(), range(3))
    assert len(set(workers)) == 3
    assert threading.get_ident() in workers


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failure_is_raised_once_nobody_works_any_more(at_once: int) -> None:
    begun, ended = [], []

    def work(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise IndexError("the third")
        ended.append(item)

    with pytest.raises(IndexError, match="the third"):
        SideBySide(at_once).map(work, range(100))
    assert len(begun) == len(ended) + 1


def test_nobody_waits_for_a_thread_that_works_for_somebody_else() -> None:
    shared, busy, go_on = SideBySide(2), threading.Barrier(3, timeout=30), threading.Event()

    def slow(item: int) -> int:
        busy.wait()
        assert go_on.wait(30)
        return item

    other = threading.Thread(target=shared.map, args=(slow, range(2)))
    other.start()
    busy.wait()  # both threads work for the other
    asking = threading.Thread(target=shared.map, args=(str, range(3)))
    asking.start()
    asking.join(10)
    waits = asking.is_alive()
    go_on.set()
    other.join(30)
    asking.join(30)
    assert not waits
