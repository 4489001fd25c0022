"""ffmpeg, where what is configured needs it: it is run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part

NETWORK_SCHEMES = {"rtsp", "rtsps", "http", "https"}
OWN_FORMATS = {"wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "au", "caf", "w64", "rf64"}
"""Endings of files that are decoded without it; what a file really holds is seen when it is opened."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.audio.sources.address import Address
    from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources

    settings = context.settings
    sources = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    users = []
    for source in sources:
        address = Address.parse(source.address)
        ending = address.label.rpartition(".")[2].lower()
        if address.scheme in NETWORK_SCHEMES or (address.scheme == "file" and ending not in OWN_FORMATS):
            users.append(source.name or address.label)
    return [Part(lambda: _ffmpeg(users))]


def _ffmpeg(users: Sequence[str]) -> Iterator[Finding]:
    needed = f" (needed for {', '.join(users)})" if users else " (nothing that is configured needs it)"
    program = shutil.which("ffmpeg")
    if program is None:
        mend = "install it: `sudo apt install ffmpeg`" if users else ""
        yield Finding("failed" if users else "ok", f"ffmpeg is not installed{needed}", mend)
        return
    try:
        done = subprocess.run(
            [program, "-hide_banner", "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        yield Finding("failed" if users else "warning", f"ffmpeg does not start ({error}){needed}", "install it again")
        return
    yield Finding("ok", f"{' '.join(done.stdout.split()[:3])}{needed}")
