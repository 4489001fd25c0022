"""``edge-aac bridge send``: one caption or alert to a device."""

from __future__ import annotations

import threading
import time

from edge_aac.errors import DeviceError, UsageError
from firmware_bridge.device import Device
from firmware_bridge.device_ids import id_of
from firmware_bridge.fields import Abilities, Priority, Result
from firmware_bridge.frame import Ack
from firmware_bridge.link import Link
from firmware_bridge.listening import bridge_address
from firmware_bridge.outbox import Outbox
from firmware_bridge.registry import registry
from firmware_bridge.sink import PATTERNS

_HELLO_S = 7.0
_ANSWER_S = 4.0
_LOOK_S = 0.05


def send_once(
    text: str, wanted: str, caption: str, pattern: str, seconds: int, priority: str, stop: threading.Event
) -> str:
    """Send a caption, an alert, or both, and wait for the answers.

    Args:
        text: address of the link.
        wanted: id or name of the device.
        caption: text to show; empty for none.
        pattern: name of the pattern to play; empty for none.
        seconds: how long it is shown and played.
        priority: name of a priority.
        stop: ends the wait.

    Returns:
        What the device answered, as a sentence.

    Raises:
        UsageError: there is nothing to send, or a name is unknown.
        DeviceError: the device has not said HELLO, or does not answer.
    """
    priorities = {one.name.lower(): one for one in Priority}
    if not caption and not pattern:
        raise UsageError("there is nothing to send: give a text, or --pattern")
    if pattern and pattern not in PATTERNS:
        raise UsageError(f"there is no pattern '{pattern}': use {', '.join(PATTERNS)}")
    if priority not in priorities:
        raise UsageError(f"there is no priority '{priority}': use {', '.join(priorities)}")
    link = registry.open(bridge_address(text).endpoint, wait=False)
    try:
        device = _waited_for(link, wanted, stop)
        outbox = Outbox(device.id, device.next_id, 0.0)
        if pattern and device.hello.abilities & Abilities.ALERT:
            outbox.play(PATTERNS[pattern], priorities[priority], seconds)
        if caption and device.hello.abilities & Abilities.DISPLAY:
            outbox.show(caption, priorities[priority], seconds, device.hello.caption_bytes)
        if not outbox.queued:
            raise DeviceError(f"'{device.label}' can neither show nor play that")
        return f"{device.label} answered: {_answers(link, device, outbox, stop)}"
    finally:
        registry.release(link)


def _waited_for(link: Link, wanted: str, stop: threading.Event) -> Device:
    deadline_s = time.monotonic() + _HELLO_S
    while time.monotonic() < deadline_s and not stop.wait(_LOOK_S):
        for device in link.devices:
            if device.hello.name == wanted or id_of(wanted) == device.id:
                return device
    raise DeviceError(f"no device '{wanted}' has said HELLO at {link.label}: see `edge-aac bridge listen`")


def _answers(link: Link, device: Device, outbox: Outbox, stop: threading.Event) -> str:
    answers: list[Result] = []

    def listen(of: Device, ack: Ack) -> None:
        if of is device:
            answers.append(ack.result)
            outbox.answer(ack)

    end = link.listen(listen)
    deadline_s = time.monotonic() + _ANSWER_S
    try:
        while outbox.queued and time.monotonic() < deadline_s:
            if (frame := outbox.due(time.monotonic())) is not None:
                link.send(frame)
            if stop.wait(_LOOK_S):
                break
    finally:
        end()
    if outbox.queued or outbox.counters.unanswered or not answers:
        raise DeviceError(f"'{device.label}' does not answer: see whether the firmware shows captions")
    return ", ".join(result.name.lower() for result in answers)
