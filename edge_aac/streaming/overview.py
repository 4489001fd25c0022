"""What a run does now, for people and programs outside: one line, and a table for JSON."""

from __future__ import annotations

import time
from typing import Any

from edge_aac.streaming.channel import Channel
from edge_aac.streaming.session import Session

_STATES = {
    "waiting": "{} waits for its device",
    "mute": "{} gives digital silence only",
    "stalled": "{} is there but gives no sound",
    "paused": "{} is paused",
    "failed": "{} failed",
    "ended": "{} has ended",
}


def sentence(session: Session) -> str:
    """One line of what the run does: sources by state, sinks that do not deliver, captions and the last one's time.

    The time is that of the machine's own zone, as ``systemctl status`` and ``journalctl`` show theirs.
    """
    channels = list(session.channels)
    parts = [] if channels else ["no source is there"]
    listening = [channel.label for channel in channels if channel.capture.state == "listening"]
    if listening:
        parts.append(f"listening to {', '.join(listening)}")
    parts += [
        _STATES[state].format(channel.label) for channel in channels if (state := channel.capture.state) != "listening"
    ]
    parts += [
        f"sink {name} {'tries again' if sink.state == 'retrying' else 'has failed'}"
        for name, sink in session.hub.health().items()
        if sink.state != "delivering"
    ]
    count = session.captions
    captions = f"{count} caption{'' if count == 1 else 's'}" if count else "no captions yet"
    if session.last_caption_s is not None:
        captions += time.strftime(", last %H:%M:%S", time.localtime(session.last_caption_s))
    return f"{', '.join(parts)}; {captions}"


def table(session: Session) -> dict[str, Any]:
    """The sources, sinks and newest health records as JSON has them.

    Returns:
        ``captions``, ``last_caption_s``, ``sources`` (label → state, reason and counts since its start), ``sinks``
        (name → state and counts) and ``health`` (label → the newest health record).
    """
    return {
        "captions": session.captions,
        "last_caption_s": session.last_caption_s,
        "sources": {channel.label: _source(channel) for channel in list(session.channels)},
        "sinks": {name: sink.model_dump(exclude_none=True) for name, sink in session.hub.health().items()},
        "health": {
            label: record.model_dump(mode="json", by_alias=True, exclude_none=True)
            for label, record in session.health.latest.items()
        },
    }


def _source(channel: Channel) -> dict[str, Any]:
    counters = channel.counters
    found = {
        "state": channel.capture.state,
        "reason": channel.capture.reason,
        "windows": counters.windows,
        "captions": counters.captions,
        "silent": counters.silent,
        "skipped": counters.skipped.total(),
        "failed": counters.failed,
        "reconnects": channel.capture.reconnects,
    }
    return {name: value for name, value in found.items() if value is not None}
