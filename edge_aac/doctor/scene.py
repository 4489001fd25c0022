"""The built-in scene is captioned with the configured bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.settings.tree import Settings

LIMIT_S = 300.0
SCENE_S = 28.0
SCENE = "birds, drums and a guitar"
HOP_S = 2.0

EXPECTED = {"everyday": ("bird", "drum", "guitar")}
"""Bundle → words that its captions of the scene must hold; of any other bundle what it says is told."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    settings = context.settings
    return [Part(lambda: _captioned(settings), limit_s=LIMIT_S)]


def _captioned(loaded: Settings) -> Iterator[Finding]:
    from edge_aac.audio.sources.demo import play_programme
    from edge_aac.audio.windows import file_windows
    from edge_aac.errors import DataError
    from edge_aac.models.contract import hears_sound
    from edge_aac.models.settings import CaptionerSettings
    from edge_aac.service.opening import open_model
    from edge_aac.streaming.channel import ChannelSettings
    from edge_aac.streaming.gate import EnergyGate
    from edge_aac.streaming.offline import describe_windows
    from edge_aac.timebase import SAMPLE_RATE

    settings = loaded.get(CaptionerSettings)
    model = open_model(settings)
    windows = file_windows([play_programme(SCENE_S)], round(HOP_S * SAMPLE_RATE), keeps_sound=hears_sound(model))
    started_s = time.monotonic()
    described = [
        what for _, what in describe_windows(windows, model, ChannelSettings(EnergyGate(-120.0), seed=settings.seed))
    ]
    took_ms = 1000 * (time.monotonic() - started_s) / max(1, len(described))
    texts: list[str] = []
    for what in described:
        if isinstance(what, DataError):
            raise what
        if what is not None and what.best.text not in texts:
            texts.append(what.best.text)
    identity = model.identity
    heard = "; ".join(f"“{text}”" for text in texts)
    facts = f"{heard} in {took_ms:.0f} ms a window ({identity.bundle} on {identity.backend}, {identity.precision})"
    words = set(re.findall(r"\w+", " ".join(texts)))
    if not words:
        yield Finding("failed", f"nothing is said of the built-in scene, of {SCENE} ({identity.bundle})")
    elif missing := [word for word in EXPECTED.get(identity.bundle, ()) if word not in words]:
        yield Finding(
            "failed",
            f"the built-in scene, of {SCENE}, is told without {' and '.join(missing)}: {facts}",
            "set back what [captioner] has changed, or build the engines again",
        )
    else:
        yield Finding("ok", f"of the built-in scene, of {SCENE}, it says {facts}")
