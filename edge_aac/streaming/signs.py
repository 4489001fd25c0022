"""Signs of life of a session: what must not stand still while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.errors import EdgeAacError
from edge_aac.heartbeat import Heartbeat
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.liveness import Sign


def signs_of(rounds: Heartbeat, channels: Sequence[Channel]) -> Iterator[Sign]:
    """Signs of the scheduler, and of each live source: its capture thread, its sound and its windows.

    Args:
        rounds: the scheduler's rounds of describing, and the steps of decoding within them.
        channels: those that the scheduler serves.
    """
    yield Sign("scheduler", rounds.beats, "describing has not come to an end", allowance_s=rounds.allowance_s)
    for channel in channels:
        capture, label = channel.capture, channel.label
        if not channel.live:
            continue
        if not capture.alive:
            # What no retry mends is in the health records. A fault of the program may be gone after a restart.
            if channel.error is not None and not isinstance(channel.error, EdgeAacError):
                yield Sign((channel, "fault"), "ended", f"the capture of {label} has broken off", label)
            continue
        beats, allowance_s = capture.heartbeat
        yield Sign(
            (channel, "capture"), beats, f"the thread that captures {label} has not come round", label, allowance_s
        )
        listening, silence_s = capture.state in {"listening", "mute"}, capture.silence_s
        yield Sign(
            (channel, "sound"),
            channel.written_samples if listening else None,
            f"no sound has come from {label}, which seems to be listening,",
            label,
            silence_s,
        )
        yield Sign(
            (channel, "windows"),
            # Where windows come otherwise from now on, what passed before is no sign.
            (channel.taken_windows, channel.reach_s) if listening else None,
            f"no window of {label} has been described",
            label,
            channel.reach_s + silence_s,
        )
