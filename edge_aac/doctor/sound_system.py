"""The way to microphones: sound devices, the group that may use them, a sound server, PyAudio."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_aac.accounts import group_name
from edge_aac.doctor.contract import Context, Finding, Part, Status


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.audio.sources.address import Address
    from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources

    settings = context.settings
    sources = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    wanted = any(Address.parse(source.address).scheme == "mic" for source in sources)
    return [Part(lambda: _sound_system(context, wanted), limit_s=30.0)]


def _sound_system(context: Context, wanted: bool) -> Iterator[Finding]:
    bad: Status = "failed" if wanted else "ok"
    nodes = context.there("dev/snd/pcmC*c")
    cards = [line.strip() for line in context.text("proc/asound/cards").splitlines() if "]:" in line]
    server = sound_server(context)
    if not nodes and not server:
        unused = "" if wanted else ", and no microphone is configured"
        yield Finding(
            bad,
            f"there is no sound device that records, and no sound server{unused}",
            "plug a microphone in; in a container give it /dev/snd" if wanted else "",
        )
        return
    yield Finding("ok", "; ".join(part for part in (", ".join(cards), server) if part) or f"{len(nodes)} devices")
    if closed := [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]:
        yield Finding(
            bad if not server else "warning",
            f"this user may not use {closed[0]} (groups: {', '.join(own_groups())})",
            "add the user to the group audio: `sudo usermod -aG audio USER`, then log in again",
        )
    if wanted:
        yield from _inputs()


def _inputs() -> Iterator[Finding]:
    from edge_aac.audio.devices import list_inputs

    inputs = list_inputs()
    if inputs:
        listed = "; ".join(
            f"{each.name} {each.description}, {each.channels} channels, {each.default_rate} Hz, {each.id}"
            for each in inputs
        )
        yield Finding("ok", f"inputs: {listed}")
    else:
        yield Finding("failed", "PortAudio finds no input", "plug a microphone in, and see `arecord -l`")


def sound_server(context: Context) -> str:
    """The sound server that this user's sound would go through; empty where there is none."""
    if named := context.environment.get("PULSE_SERVER"):
        return f"PulseAudio at {named}"
    runtime = context.environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    for name, socket in (("PulseAudio", "pulse/native"), ("PipeWire", "pipewire-0")):
        if (context.root / runtime.lstrip("/") / socket).exists():
            return f"{name} at {Path(runtime) / socket}"
    return ""


def own_groups() -> list[str]:
    """Names of the groups of this process."""
    return [group_name(number) for number in sorted({os.getegid(), *os.getgroups()})]
