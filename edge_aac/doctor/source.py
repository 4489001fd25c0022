"""Each configured source is opened, and a second of it is recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edge_aac.doctor.contract import Context, Finding, Part

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_aac.audio.sources.address import Source
    from edge_aac.streaming.settings import ConfiguredSource

RECORDED_S = 1.0
LIMIT_S = 40.0
"""A camera may need its time until the first sound."""

FULL_SCALE = 0.999
QUIET_DBFS = -75.0
_RATE_BOUNDS = (0.9, 1.1)


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.audio.sources.address import Address
    from edge_aac.audio.sources.discovery import covers_several
    from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources

    settings = context.settings
    sources = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    if not sources:
        return [Part(lambda: [Finding("failed", "no source is enabled", "enable one of the [[sources]]")])]
    return [
        Part(
            _discovered if covers_several(source.address) else partial(_recorded, source, context),
            source.name or Address.parse(source.address).label,
            LIMIT_S,
        )
        for source in sources
    ]


def _discovered() -> Iterator[Finding]:
    yield Finding("ok", "its sources are found while the stream runs; a check of its own looks at it")


def _recorded(source: ConfiguredSource, context: Context) -> Iterator[Finding]:
    from edge_aac.audio.sources.address import Address, SourceContext, open_source
    from edge_aac.doctor.service import is_running
    from edge_aac.errors import DeviceError
    from edge_aac.timebase import SAMPLE_RATE

    if Address.parse(source.address).scheme == "stdin":
        yield Finding("ok", "standard input is not read, since that would take it away from the stream")
        return
    try:
        opened = open_source(source.address, SourceContext(source.name))
        try:
            samples, took_s = _second_of(opened)
        finally:
            opened.close()
    except DeviceError as error:
        if is_running():
            yield Finding(
                "warning",
                f"it cannot be recorded while the service runs, which may have it: {str(error).rstrip('.')}",
                "look at the service's health records, or stop it for this check",
            )
            return
        raise
    if not len(samples):
        yield Finding("failed", "it ended without any sound")
        return
    yield from findings_of(samples, source.silence_dbfs)
    heard_s = len(samples) / SAMPLE_RATE
    if opened.live and not _RATE_BOUNDS[0] <= heard_s / max(took_s, 1e-9) <= _RATE_BOUNDS[1]:
        yield Finding(
            "warning",
            f"{heard_s:.2f} s of sound came within {took_s:.2f} s",
            "see whether the machine is overloaded, or the device's rate is wrong",
        )


def _second_of(source: Source) -> tuple[npt.NDArray[np.float32], float]:
    """A second of sound, and the seconds that it took after its first block."""
    import numpy as np

    from edge_aac.timebase import SAMPLE_RATE

    wanted = round(RECORDED_S * SAMPLE_RATE)
    first = source.read()
    if first is None:
        return np.zeros(0, np.float32), 0.0
    started_s, blocks, count = time.monotonic(), [], 0
    while count < wanted and (block := source.read()) is not None:
        blocks.append(block)
        count += len(block)
    took_s = time.monotonic() - started_s
    # The first block may have waited in a buffer: it tells of the level where there is no other, and not of the rate.
    return np.concatenate(blocks or [first]), took_s


def findings_of(samples: npt.NDArray[np.float32], silence_dbfs: float) -> Iterator[Finding]:
    """What a second of sound tells of its source.

    Args:
        samples: mono, float32, shape (n,), n > 0.
        silence_dbfs: A-weighted level below which windows are not captioned.
    """
    import numpy as np

    from edge_aac.timebase import SAMPLE_RATE

    seconds = f"{len(samples) / SAMPLE_RATE:.1f} s of sound"
    if not np.isfinite(samples).all():
        yield Finding("failed", f"{seconds} with samples that are no numbers")
        return
    if samples.min() == samples.max():
        yield Finding(
            "warning",
            f"{seconds}, all of it digital silence",
            "see whether the microphone is muted, unplugged from its card, or its cable broken",
        )
        return
    level = 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))
    peak = float(np.abs(samples).max())
    text = f"{seconds} at {level:.1f} dBFS, peak {20 * np.log10(peak):.1f} dBFS"
    if np.mean(np.abs(samples) >= FULL_SCALE) > 1e-3:  # noqa: PLR2004 - a click now and then is no fault
        yield Finding("warning", f"{text}, and it clips", "turn the input's gain down")
    elif level < QUIET_DBFS:
        yield Finding("warning", f"{text}, which is very quiet", "turn the input's gain up, or wait for a sound")
    else:
        below = f"; windows below {silence_dbfs:g} dBFS (A-weighted) are not captioned"
        yield Finding("ok", f"{text}{below if level < silence_dbfs else ''}")
