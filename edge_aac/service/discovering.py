"""Sources that come and go while a stream runs: a thread asks the discoveries, and the session's channels follow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import TypeVar

from edge_aac.audio.sources.address import Source
from edge_aac.audio.sources.discovery import Discovery, FoundSource
from edge_aac.audio.sources.paused import PausedSource
from edge_aac.errors import EdgeAacError
from edge_aac.service.opening import open_waiting
from edge_aac.service.plans import SourcePlan
from edge_aac.service.reload import Running

LOOK_S = 0.25
"""Time between two looks at what is there."""

RETRY_S = 5.0
"""A source that was found and cannot be opened is tried again after so long."""

JOIN_TIMEOUT_S = 0.5

T = TypeVar("T")

log = logging.getLogger(__name__)


class Discovering:
    """Has a running stream listen to what its discoveries find, in a thread of its own.

    A source that is found is opened here, and its channel added between two rounds. Where it is found no more its
    channel is taken out: its events end, and a last health record is published.

    Args:
        running: what is changed.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._ended = threading.Event()
        self._failed_s: dict[str, float] = {}
        """Addresses that could not be opened, with the monotonic time of the last try."""
        self._thread = threading.Thread(target=self._run, name="edge-aac-discovering", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: nothing is added any more."""
        self._ended.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            for plan, discovery in self._running.discoveries:
                try:
                    self._follow(plan, discovery)
                except CancelledError:
                    return
                except Exception:  # the fault of one is not the others'
                    log.exception("%s: what it finds cannot be followed", plan.label)

    def _follow(self, plan: SourcePlan, discovery: Discovery) -> None:
        plans = [of for of, _ in list(self._running.channels.values())]
        own = {of.source.address for of in plans if of.found_by is None}
        found = {one.address: one for one in discovery.found(own)}
        members = {of.source.address for of in plans if of.found_by == plan.key}
        for address in members - found.keys():
            self._in_session(partial(self._remove, plan, address))
        for address in found.keys() - members:
            if not self._ended.is_set() and time.monotonic() - self._failed_s.get(address, -RETRY_S) >= RETRY_S:
                self._add(plan, found[address])

    def _add(self, plan: SourcePlan, found: FoundSource) -> None:
        member = plan.of_found(found, {of.label for of, _ in list(self._running.channels.values())})
        try:
            source = self._opened(member)
        except EdgeAacError as error:
            first = found.address not in self._failed_s
            self._failed_s[found.address] = time.monotonic()
            log.log(logging.WARNING if first else logging.DEBUG, "%s cannot be heard: %s", member.label, error)
            return
        self._failed_s.pop(found.address, None)
        try:
            added = self._in_session(partial(self._put_in_place, member, source))
        except BaseException:
            source.close()
            raise
        if not added:
            source.close()

    def _put_in_place(self, found: SourcePlan, source: Source) -> bool:
        """Add a channel; False where a reload has taken its discovery out meanwhile, or given its label away."""
        running = self._running
        # By the settings now: they may have been read anew while the source was opened.
        member = running.discoveries.plan_of(found)
        if member is None or any(of.label == member.label for of, _ in running.channels.values()):
            return False
        channel = member.add_to(running.session, source)
        listening = running.overrides.listening(member)
        running.session.reconfigure(channel, listening.hop_samples, listening.settings, member.same_similarity)
        running.channels[member.key] = member, channel
        log.info("%s is there, and is listened to", member.label)
        running.changed()
        return True

    def _remove(self, plan: SourcePlan, address: str) -> None:
        running = self._running
        for key, (member, channel) in list(running.channels.items()):
            if member.found_by == plan.key and member.source.address == address:
                log.info("%s is gone, and is no longer listened to", member.label)
                running.session.remove(channel)
                del running.channels[key]
        running.changed()

    def _in_session(self, change: Callable[[], T]) -> T:
        """Have something done between two rounds.

        Raises:
            CancelledError: the session has ended.
        """
        return self._running.session.between_rounds(change).result()

    def _opened(self, member: SourcePlan) -> Source:
        if self._running.overrides.listening(member).paused:
            return PausedSource(member.label)
        return open_waiting(member.source.address, member.context)
