"""Work for the cores of a processor, side by side: runs of graphs that take one core each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


class SideBySide:
    """Does the same with many items, on several cores.

    The thread that asks works too, so that there is one thread less than cores, and no item is handed to a thread by
    itself: each takes the next as soon as it is done with one.

    Args:
        at_once: items that are worked at side by side, 1 or more.
    """

    def __init__(self, at_once: int) -> None:
        self._others = at_once - 1
        self._pool = ThreadPoolExecutor(self._others, "edge-aac-cores") if self._others else None

    def map(self, work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        """What becomes of each item, in order.

        Args:
            work: called from several threads at the same time.
            items: any number.

        Raises:
            Exception: what ``work`` raised; then not all items are worked at, and none is when this returns.
        """
        if self._pool is None or len(items) < 2:  # noqa: PLR2004 - one goes without others
            return [work(item) for item in items]
        left, found = deque(enumerate(items)), dict[int, Found]()

        def take() -> None:
            while True:
                try:
                    number, item = left.popleft()
                except IndexError:
                    return
                try:
                    found[number] = work(item)
                except BaseException:
                    left.clear()
                    raise

        helping = [self._pool.submit(take) for _ in range(min(self._others, len(items) - 1))]
        try:
            take()
        finally:
            # One that has not begun, since its thread works for somebody else, has nothing left to do.
            begun = [helper for helper in helping if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()
        return [found[number] for number in range(len(items))]


@lru_cache
def side_by_side(at_once: int) -> SideBySide:
    """The one for so many items at once: graphs share its threads, since they run in turn."""
    return SideBySide(at_once)
