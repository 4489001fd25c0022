"""Commands that come as messages: topic and payload become a command, or a reason why they are none.

Everything here is a function of what it is given: whatever a message holds, nothing but :func:`carry_out` changes
anything, and that only with a whole command.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge_aac.sinks.contract import SourceControl, SourceState
from edge_aac.sinks.mqtt.topics import Topics, segment

MAX_PAYLOAD_BYTES = 64
"""Longer ones are refused unread: the longest value that means anything has a third of it."""

Name = Literal["enabled", "threshold", "hop"]

ON, OFF, NO_THRESHOLD = "on", "off", "none"
"""What is published of a source that listens, of one that is paused, and of one without a threshold."""

_ON = frozenset({"on", "true", "1", "yes"})
_OFF = frozenset({"off", "false", "0", "no"})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?")
_SHOWN_CHARACTERS = 24


@dataclass(frozen=True)
class Command:
    """A command for a source.

    Attributes:
        label: the source's label.
        name: what is set.
        value: on or off for "enabled", a score or None (no threshold) for "threshold", seconds for "hop".
    """

    label: str
    name: Name
    value: bool | float | None


@dataclass(frozen=True)
class Refusal:
    """Why a message is no command.

    Attributes:
        reason: one sentence without its full stop, which holds nothing that a terminal would obey.
        label: of the source that it is for; None where there is none of that name.
    """

    reason: str
    label: str | None = None


def parse(topics: Topics, sources: Iterable[SourceState], topic: str, payload: bytes) -> Command | Refusal | None:
    """What a message commands.

    Args:
        topics: of the device.
        sources: those that there are.
        topic, payload: of the message, whatever they hold.

    Returns:
        A whole command; why it is none; or None for a topic that no command comes by.
    """
    found = topics.parse_command(topic)
    if found is None:
        return None
    level, name = found
    label = next((source.label for source in sources if segment(source.label) == level), None)
    if label is None:
        return Refusal(f"there is no source {_shown(level)}")
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Refusal(f"a value of {len(payload)} bytes is too long: {MAX_PAYLOAD_BYTES} at most", label)
    try:
        text = payload.decode("utf-8").strip(" \t\r\n").lower()
    except UnicodeDecodeError:
        return Refusal("the value is no UTF-8 text", label)
    if name == "enabled":
        return _enabled(label, text)
    if name == "threshold":
        return _threshold(label, text)
    if name == "hop":
        return _hop(label, text)
    return Refusal(f"there is no setting {_shown(name)}: use enabled, threshold or hop", label)


def carry_out(command: Command, control: SourceControl) -> Refusal | None:
    """Have a command carried out; None where it was, else why not."""
    try:
        if command.name == "enabled":
            control.set_enabled(command.label, bool(command.value))
        elif command.name == "threshold":
            control.set_threshold(command.label, None if command.value is None else float(command.value))
        else:
            control.set_hop(command.label, float(command.value or 0.0))
    except ValueError as error:
        return Refusal(str(error), command.label)
    return None


def state_texts(source: SourceState) -> dict[Name, str]:
    """What is published of a source's settings, by the names of the commands that set them."""
    return {
        "enabled": ON if source.enabled else OFF,
        "threshold": NO_THRESHOLD if source.min_score is None else f"{source.min_score:.6g}",
        "hop": f"{source.hop_s:.6g}",
    }


def _enabled(label: str, text: str) -> Command | Refusal:
    if text in _ON | _OFF:
        return Command(label, "enabled", text in _ON)
    return Refusal(f"enabled is on or off, not {_shown(text)}", label)


def _threshold(label: str, text: str) -> Command | Refusal:
    if text == NO_THRESHOLD:
        return Command(label, "threshold", None)
    value = _number(text)
    if value is None:
        return Refusal(f"threshold is a number or {NO_THRESHOLD}, not {_shown(text)}", label)
    return Command(label, "threshold", value)


def _hop(label: str, text: str) -> Command | Refusal:
    value = _number(text)
    if value is None:
        return Refusal(f"hop is a number of seconds, not {_shown(text)}", label)
    # A slider of Home Assistant gives 2.3000000000000003.
    return Command(label, "hop", round(value, 2))


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text) or not text.isascii():
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _shown(text: str) -> str:
    """A text of unknown origin, short and quoted, with escapes for all that is not plain."""
    short = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return ascii(short)
