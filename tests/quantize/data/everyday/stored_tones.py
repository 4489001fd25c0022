"""A store of tones whose events are known, and a tagger that tells tones apart, for tests of everyday scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.ontology import audioset
from quantize.data.sounds.store import SoundStore, StoredSound, StoreWriter, sixteen_bit
from quantize.models.taggers import Tags

TONES = {"Siren": 800.0, "Bark": 1600.0, "Rain": 3000.0, "Static": 5000.0}
"""AudioSet's class → the frequency that the tagger takes for it, in Hz."""

STEP_S = 0.25


@dataclass(frozen=True)
class Stored:
    """A sound of the store: what it says it is, and when the tone sounds in it."""

    source: str
    label: str
    heard_as: str
    seconds: float
    start_s: float
    end_s: float
    fold: int


SOUNDS = (
    Stored("esc10", "dog_bark", "Bark", 5.0, 1.0, 4.0, 1),
    Stored("esc10", "siren", "Siren", 5.0, 0.0, 5.0, 2),
    Stored("debian:rain-data", "", "Rain", 8.0, 0.0, 8.0, 3),
    Stored("synthesised", "Static", "Static", 4.0, 0.0, 4.0, 2),
    Stored("everyday", "rain", "Rain", 6.0, 0.0, 6.0, 4),
)


def tone(hertz: float, seconds: float, start_s: float = 0.0, end_s: float | None = None) -> npt.NDArray[np.float64]:
    """A tone of -20 dBFS from one moment to another."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sounding = (times >= start_s) & (times < (seconds if end_s is None else end_s))
    wave: npt.NDArray[np.float64] = 0.141 * np.sin(2.0 * np.pi * hertz * times) * sounding
    return wave


def stored_tones(folder: Path) -> SoundStore:
    """A store of :data:`SOUNDS`, a source after the other."""
    writer = StoreWriter(folder)
    for source in dict.fromkeys(sound.source for sound in SOUNDS):
        rows = [
            (
                StoredSound("", f"{number}.flac", sound.label, sound.fold, "CC0-1.0", "us", ""),
                sixteen_bit(tone(TONES[sound.heard_as], sound.seconds, sound.start_s, sound.end_s)),
            )
            for number, sound in enumerate(SOUNDS)
            if sound.source == source
        ]
        writer.append(source, rows)
    return SoundStore.open(folder)


class ToneTagger:
    """A tagger that hears a class where its tone is strong: features are the shares of the power at each frequency."""

    feature_size = len(TONES)
    classes = 527

    def __init__(self) -> None:
        numbers = {node.name: node.index for node in audioset().classes}
        self.places = [numbers[name] for name in TONES]
        self.heard: list[int] = []

    def tag(self, waveforms: Tensor) -> Tags:
        """See :meth:`quantize.models.taggers.Tagger.tag`."""
        self.heard.append(waveforms.shape[1])
        size = round(STEP_S * SAMPLE_RATE)
        blocks = waveforms.unfold(1, size, size)
        power = torch.fft.rfft(blocks).abs().square()
        hertz = torch.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
        bands = [power[..., (hertz - tone_hz).abs() < 50.0].sum(-1) for tone_hz in TONES.values()]
        features = torch.stack(bands, -1) / (power.sum(-1, keepdim=True) + 1.0)
        local = self.classify(features)
        return Tags(features, local, local.mean(1), STEP_S)

    def on(self, device: torch.device) -> ToneTagger:
        """See :meth:`quantize.models.taggers.Tagger.on`: it has no weights."""
        del device
        return self

    def classify(self, features: Tensor) -> Tensor:
        """See :meth:`quantize.models.taggers.Tagger.classify`: 0.95 where a tone is all that is heard."""
        logits = torch.full((*features.shape[:-1], self.classes), -7.0)
        logits[..., self.places] = -7.0 + 10.0 * features
        return logits
