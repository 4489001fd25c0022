"""What a report measures, how often, and of which sections it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Log = Callable[[str], None]

SECTIONS = ("windows", "against", "limit", "growth", "start", "energy")
"""In the order of the page."""

PUBLISHED_CANDIDATES, OUR_CANDIDATES = 50, 6
"""Candidates of the published way, and of ours with the published sizes."""


@dataclass(frozen=True)
class Plan:
    """How a report is made.

    Attributes:
        bundles: names or folders of captioners.
        threads: numbers of threads, each a process kept on so many cores.
        sections: those of :data:`SECTIONS` that are measured.
        repetitions: how often a bundle's window is measured.
        slow_repetitions: the same of what takes seconds: models of the published sizes, and all ways beside them.
        tokens: length of every caption where lengths must be equal, start and end counted.
        sound_s: seconds of sound in each run of the growth's.
        sources: numbers of sources in one process.
        published: folder for bundles of the published sizes with random weights; None leaves them out.
        sizes: sizes of the published captioner, as :func:`quantize.models.config.captioner_config` reads them; empty
            for those that were published.
        embedder: size of the text embedder beside it, of :data:`benchmarks.full_size.INSTRUCTORS`.
    """

    bundles: tuple[str, ...]
    threads: tuple[int, ...]
    sections: tuple[str, ...] = SECTIONS
    repetitions: int = 30
    slow_repetitions: int = 5
    tokens: int = 16
    sound_s: int = 60
    sources: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    published: Path | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    embedder: str = "base"

    @property
    def most_threads(self) -> int:
        """What is compared with others runs with as many threads as are measured at most."""
        return max(self.threads)
