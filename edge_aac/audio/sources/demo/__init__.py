"""Scenes to try the captioner with, without a microphone or a file."""

from __future__ import annotations

from edge_aac.audio.sources.demo.programme import PROGRAMME_S, DemoEvent, demo_programme, play_programme
from edge_aac.audio.sources.demo.rain import synthesise_demo
from edge_aac.audio.sources.demo.source import DemoSource, open_demo

__all__ = [
    "PROGRAMME_S",
    "DemoEvent",
    "DemoSource",
    "demo_programme",
    "open_demo",
    "play_programme",
    "synthesise_demo",
]
