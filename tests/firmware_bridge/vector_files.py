"""Reads the test vectors of the wire format."""

from __future__ import annotations

from pathlib import Path

VECTORS = Path(__file__).parent / "vectors"


def vectors(file: str) -> list[dict[str, str]]:
    """The vectors of a file: their words by name."""
    lines = (VECTORS / file).read_text(encoding="ascii").splitlines()
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in lines if not line.startswith("#")]
