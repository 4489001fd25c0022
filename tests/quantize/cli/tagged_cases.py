"""`edge-aac distill` in a process whose tagger hears tones: ``torchrun -m -- tests.quantize.cli.tagged_cases``."""

from __future__ import annotations

from quantize.cli.distill import distill
from quantize.training import everyday
from tests.quantize.data.everyday.stored_tones import ToneTagger

if __name__ == "__main__":
    everyday.load_tagger = lambda path: ToneTagger()
    distill()
