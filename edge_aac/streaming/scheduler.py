"""The scheduler: fair batches of windows over all channels, described together; a tick when no sound arrives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clock import Clocks
from edge_aac.audio.windows import Window
from edge_aac.heartbeat import Heartbeat
from edge_aac.models.contract import CancelledError, WindowModel
from edge_aac.streaming.batches import describe_loud
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.heap import HeapTrimmer

MAX_BATCH_WINDOWS = 16
"""More gain little on a processor, and make the first of them wait for the last."""

MAX_WINDOWS_AHEAD = 8
"""Windows of files that are cut ahead where no live source would wait for them."""

GATHER_S = 0.03
"""How long the first window that is due waits for those of other sources: together they cost much less."""

TICK_S = 0.25
"""How long nothing may happen before events and health are looked after all the same."""

log = logging.getLogger(__name__)


class Scheduler:
    """Describes the windows of all channels until every source has ended, no sink is left or the stop is set.

    Every round takes the windows that are due of all channels in one batch. Of each live channel the newest comes
    first, and what does not fit into the batch is skipped and counted; a file's windows come one after the other and
    none is skipped. Where a batch is too small for all channels, those that wait the longest come first.

    Where live sources are heard, a batch holds no more windows than are described within the shortest of their hops,
    and of files within half of it, by the time that windows have taken so far: the newest window of a source waits for
    one short batch, whatever files are read beside it.

    Args:
        model: used by this thread alone.
        stop: set from another thread or a signal handler.
        has_room: whether the sinks can take the records of a file's windows.
        sinks_error: the error that ends everything since no sink is left; None before.
        tick: called after each round and at least four times a second, for health, deadlines and changes.
        max_batch: windows in one batch.
        clocks: of the machine; None for its own.
        more_may_come: whether channels may be added though all that there are have ended.
    """

    def __init__(  # noqa: PLR0913 - what it works between
        self,
        *,
        model: WindowModel,
        stop: threading.Event,
        has_room: Callable[[], bool] = lambda: True,
        sinks_error: Callable[[], BaseException | None] = lambda: None,
        tick: Callable[[], None] = lambda: None,
        max_batch: int = MAX_BATCH_WINDOWS,
        clocks: Clocks | None = None,
        more_may_come: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model = model
        self._more_may_come = more_may_come
        self._stop = stop
        self._has_room = has_room
        self._sinks_error = sinks_error
        self._tick = tick
        self._max_batch = max_batch
        self.heartbeat = Heartbeat()
        """Counts rounds, and the steps of decoding within them."""
        self._clocks = clocks or Clocks()
        self._window_s = (0.0, 0.0)
        """Seconds that a window took in each of the last two batches."""
        self._awake = threading.Event()
        self._gathering = threading.Event()
        """Set by nobody."""
        self._turn = 0
        self._served: dict[Channel, int] = {}
        """The round in which a channel last had a window described."""

    def wake(self) -> None:
        """Tell that something may be due; called from any thread."""
        self._awake.set()

    def use(self, model: WindowModel) -> None:
        """Describe with another model from the next round on; to be called by the thread of :meth:`run`."""
        self._model = model

    def forget(self, channel: Channel) -> None:
        """Take note that a channel is no longer among those of :meth:`run`."""
        self._served.pop(channel, None)

    def run(self, channels: Sequence[Channel]) -> None:
        """Describe until the end; sources, sinks and channels are closed by the caller.

        Args:
            channels: to be described; ``tick`` may add some, started, and take some away.

        Raises:
            EdgeAacError: the model cannot go on.
        """
        heap = HeapTrimmer(self._clocks.running_s())
        for channel in channels:
            channel.start()
        while not self._stop.is_set() and self._sinks_error() is None:
            self.heartbeat.beat()
            self._awake.clear()
            running = [channel for channel in channels if not channel.ended]
            ahead = 1 if any(channel.live for channel in running) else max(1, MAX_WINDOWS_AHEAD // max(1, len(running)))
            for channel in running:
                channel.collect(ahead)
            round_ = self._round(running)
            try:
                self._describe(round_)
            except CancelledError:
                break
            for channel in running:
                channel.tick()
                others = len(channels) > 1 or self._more_may_come()
                if channel.finish() and channel.error is not None and others:
                    log.error("%s has ended, the others go on: %s", channel.label, channel.error)
            self._tick()
            heap.tick(self._clocks.running_s())
            if all(channel.ended for channel in channels) and not self._more_may_come():
                break
            if not round_ and self._clocks.wait(self._awake, TICK_S) and len(running) > 1:
                # Not for the stop: a signal handler that sets it while this thread holds its lock would wait for ever.
                self._clocks.wait(self._gathering, GATHER_S)
        for channel in channels:
            channel.end()

    def _round(self, channels: Sequence[Channel]) -> list[tuple[Channel, Window]]:
        """The windows of one round, silent ones included, in each channel's order."""
        room = self._has_room()
        due = [channel for channel in channels if channel.queue and (channel.live or room)]
        if not due:
            return []
        for channel in due:
            channel.skip_late()
        self._turn += 1
        first = self._turn % len(due)
        order = sorted(due[first:] + due[:first], key=lambda channel: self._served.get(channel, 0))
        loud = {channel: channel.queue.loud_windows for channel in order}
        counts = dict.fromkeys(order, 0)
        left, left_for_files = self._batch_room(channels)
        # One of each, the newest; then older ones, which nothing newer stands for.
        for most in (1, self._max_batch):
            for channel in order:
                more = min(left, min(most, loud[channel]) - counts[channel])
                if not channel.live:
                    more = min(more, left_for_files)
                    left_for_files -= more
                counts[channel] += more
                left -= more
        taken: list[tuple[Channel, Window]] = []
        for channel in order:
            if counts[channel]:
                self._served[channel] = self._turn
                if channel.live:
                    channel.queue.skip_all_but_newest(counts[channel])
            taken += [(channel, window) for window in channel.queue.take(counts[channel])]
        return taken

    def _batch_room(self, channels: Sequence[Channel]) -> tuple[int, int]:
        """How many windows a batch may hold, and how many of files: where live sources are heard, what is described
        within a hop, and within half a hop."""
        hops_s = [channel.hop_s for channel in channels if channel.live]
        window_s = min(self._window_s)
        if not hops_s or not window_s:
            return self._max_batch, self._max_batch
        room = min(hops_s) / window_s
        return max(1, min(self._max_batch, int(room))), max(1, min(self._max_batch, int(room / 2)))

    def _describe(self, round_: list[tuple[Channel, Window]]) -> None:
        batch = [(window, channel.rng(window) if channel.queue.is_loud(window) else None) for channel, window in round_]

        def wanted(number: int, embedding: npt.NDArray[np.float32]) -> bool:
            channel, window = round_[number]
            return channel.adaptation.wants(window, embedding)

        selective = any(channel.adaptation.compares_sound for channel, _ in round_)
        loud = sum(rng is not None for _, rng in batch)
        begun_s = self._clocks.running_s()
        try:
            outcomes = describe_loud(self._model, batch, self._cancelled, wanted if selective else None)
        except BaseException:
            for channel, window in reversed(round_):
                channel.queue.put_back(window)
            raise
        for (channel, window), outcome in zip(round_, outcomes, strict=True):
            channel.settle(window, outcome)
        if loud:
            round_s = self._clocks.running_s() - begun_s
            self._window_s = self._window_s[1], round_s / loud
            for channel in dict.fromkeys(channel for channel, _ in round_):
                channel.note_round(round_s)

    def _cancelled(self) -> bool:
        # Asked before every step: a slow machine is not one that hangs.
        self.heartbeat.beat()
        return self._stop.is_set()
