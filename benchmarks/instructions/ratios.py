"""What is compared, and how much it may grow before it is a fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_aac.errors import DataError

BOUNDS = Path(__file__).with_name("bounds.csv")
_COLUMNS = ("loop", "over", "measured", "at_most")

BRIDGE_BYTES, MORE_BRIDGE_BYTES = 1024, 4096
"""How much bridge.c gives each of its loops, in bytes or samples."""

BRIDGE_LOOPS = (
    "crc32",
    "sha256",
    "cobs_encode",
    "cobs_decode",
    "adpcm_encode",
    "adpcm_decode",
    "squares",
    "ring",
    "utf8",
)
"""Of bridge.c."""


@dataclass(frozen=True)
class Ratio:
    """Instructions of one loop over those of another, in one run.

    Attributes:
        loop: name of the loop.
        over: name of what it is compared with; of a number, the units of work of the loop: then it is instructions a
            unit.
        slack: by how much of the measured ratio it may grow. What is one of our loops over another one moves with no
            library; what is over a library's own function does; code of a C compiler depends on the compiler.
    """

    loop: str
    over: str
    slack: float


_OURS, _LIBRARY, _COMPILER = 0.25, 0.5, 0.6


def ratios() -> Iterator[Ratio]:
    """All of them, in the order of the table."""
    for loop, over in _OF_OURS.items():
        yield Ratio(loop, over, _OURS)
    for loop, over in _OF_LIBRARIES.items():
        yield Ratio(loop, over, _LIBRARY)
    for name in BRIDGE_LOOPS:
        yield Ratio(f"bridge {name} {MORE_BRIDGE_BYTES}", f"bridge {name} {BRIDGE_BYTES}", _OURS)
        yield Ratio(f"bridge {name} {MORE_BRIDGE_BYTES}", str(MORE_BRIDGE_BYTES), _COMPILER)


_OF_OURS = {
    "ring of 60 s": "ring of 2 s",
    "frames of 1 s": "frames of 10 s",
    "window after 1 s": "window of 10 s",
    "resampled in pieces": "resampled at once",
    "stereo resampled in pieces": "resampled in pieces",
    "token of 24 rows": "token of 6 rows",
    "token of four times the vocabulary": "token of 6 rows",
    "token after 40": "token of 6 rows",
    "captions of 40 tokens": "captions of 10 tokens",
    "captions of 10 tokens in a cache of 480": "captions of 10 tokens",
    "12 texts ranked": "3 texts ranked",
    "12 known texts checked and ranked": "12 texts ranked",
    "8 windows of 4 sounds, after 400": "8 windows of 4 sounds",
    "8 windows of 16 sounds": "8 windows of 4 sounds",
}
_OF_LIBRARIES = {
    "ring of 2 s": "copies of the same",
    "frames of 10 s": "transforms of 10 s",
    "frames of 1 s in pieces": "transforms of 10 s",
    "window of 10 s": "transforms of 10 s",
    "stereo resampled in pieces": "resampled at once",
    "token of 6 rows": "exponentials of 6 rows",
    "captions of 10 tokens": "exponentials of 6 rows",
    "12 texts ranked": "10 records as JSON",
    "8 windows of 16 sounds": "10 records as JSON",
    "10 records published": "10 records as JSON",
}


@dataclass(frozen=True)
class Bound:
    """A line of the table: the ratio as it was measured, and what it may be at most."""

    ratio: Ratio
    measured: float
    at_most: float


def value(ratio: Ratio, counts: Mapping[str, int]) -> float:
    """The ratio in a run's counts."""
    below = int(ratio.over) if ratio.over.isdecimal() else counts[ratio.over]
    return counts[ratio.loop] / below


def read_bounds(path: Path = BOUNDS) -> list[Bound]:
    """The committed table.

    Raises:
        DataError: it has other ratios than the code.
    """
    known = list(ratios())
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if [(row.get("loop"), row.get("over")) for row in rows] != [(ratio.loop, ratio.over) for ratio in known]:
        raise DataError(
            f"{path.name} has other ratios than the code: write it anew with python -m benchmarks.instructions --renew"
        )
    return [Bound(ratio, float(row["measured"]), float(row["at_most"])) for ratio, row in zip(known, rows, strict=True)]


def write_bounds(counts: Mapping[str, int], path: Path = BOUNDS) -> None:
    """Take the ratios of a run as what is usual."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        for ratio in ratios():
            found = value(ratio, counts)
            table.writerow([ratio.loop, ratio.over, f"{found:.4g}", f"{found * (1 + ratio.slack):.4g}"])
