"""Follows inputs as they are plugged in and unplugged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edge_aac.audio.devices import InputDevice, cards, list_inputs

Change = Literal["present", "added", "removed", "changed"]

_CARDS_EVERY_S = 0.5
_LIST_EVERY_S = 5.0
_LAST_CHANGE_S = 1.0
"""So long a change that is just being given may take, when the watch is stopped."""


@dataclass(frozen=True)
class DeviceChange:
    """What became of an input.

    Attributes:
        change: "present" at the start; "added"; "removed"; "changed" where it has another name, since another one came
            or went before it, or other channels or another rate.
        device: the input as it is now, or as it was before it went.
    """

    change: Change
    device: InputDevice


def changes_between(before: Sequence[InputDevice], now: Sequence[InputDevice]) -> list[DeviceChange]:
    """Compares two listings by the inputs' ids: what went first, then what came or changed, in the new order."""
    old = {device.id: device for device in before}
    new = {device.id: device for device in now}
    changes = [DeviceChange("removed", device) for identity, device in old.items() if identity not in new]
    for identity, device in new.items():
        earlier = old.get(identity)
        if earlier is None:
            changes.append(DeviceChange("added", device))
        elif replace(earlier, index=device.index) != device:  # PortAudio's index says nothing
            changes.append(DeviceChange("changed", device))
    return changes


def watch_devices(
    stop: threading.Event,
    changed: Callable[[DeviceChange], None],
    listed: Callable[[], list[InputDevice]] = list_inputs,
    root: Path = Path("/"),
) -> None:
    """Reports the inputs that are there, then each change, until the stop is set.

    The kernel's list of sound cards is read twice a second, which costs next to nothing; PortAudio lists the inputs
    anew when it has changed, and every five seconds for what sound servers offer. A driver that hangs keeps nobody
    from stopping.

    Args:
        stop: set from another thread or a signal handler.
        changed: function that is given each change, from another thread; none is given when this has returned.
        listed: lists the inputs.
        root: folder that holds ``proc/asound``.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio does not start.
    """
    failures: list[Exception] = []
    telling = threading.Lock()

    def told(change: DeviceChange) -> None:
        with telling:
            if not stop.is_set():
                changed(change)

    def follow() -> None:
        try:
            _follow(stop, told, listed, root)
        except Exception as error:
            failures.append(error)
            stop.set()

    threading.Thread(target=follow, name="edge-aac-devices", daemon=True).start()
    stop.wait()
    # A thread that still prints while Python ends would have it abort.
    telling.acquire(timeout=_LAST_CHANGE_S)
    if failures:
        raise failures[0]


def _follow(
    stop: threading.Event, changed: Callable[[DeviceChange], None], listed: Callable[[], list[InputDevice]], root: Path
) -> None:
    # Before the listing: a card that comes while inputs are listed is a change.
    known_cards = cards(root)
    known = listed()
    for device in known:
        changed(DeviceChange("present", device))
    due_s = time.monotonic() + _LIST_EVERY_S
    while not stop.wait(_CARDS_EVERY_S):
        cards_now = cards(root)
        if cards_now == known_cards and time.monotonic() < due_s:
            continue
        known_cards, due_s = cards_now, time.monotonic() + _LIST_EVERY_S
        now = listed()
        for change in changes_between(known, now):
            changed(change)
        known = now
