"""Runs all checks that installed packages register."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint

from edge_aac.doctor.apart import run_apart
from edge_aac.doctor.contract import Check, Context, Finding, Part, UnusableSettingsError
from edge_aac.doctor.secrets import Scrubber
from edge_aac.errors import EdgeAacError
from edge_aac.plugins import load, registered

GROUP = "edge_aac.checks"

ORDER = (
    *("versions", "configuration", "bundle", "scene", "source", "sink", "sound-system", "ffmpeg", "gpu", "board"),
    *("temperature", "memory", "disk", "clock", "service"),
)
"""Order of edge-aac's own checks; those of other packages follow by name."""

GPU_GROUP = "edge_aac.gpu_checks"
GPU_BEFORE = ("versions", "configuration", "gpu", "board", "temperature", "memory")
"""What of the usual checks a report of a GPU begins with."""
GPU_ORDER = ("first-steps", "clocks", "last-build", "engines")
"""Order of edge-aac's own checks of a GPU, and of engines on it."""


@dataclass(frozen=True)
class Result:
    """A finding with the check that it is of.

    Attributes:
        check: name of the check, with that of its part.
        finding: the finding; secrets are hidden.
    """

    check: str
    finding: Finding

    def line(self) -> str:
        """The result as one line for a person."""
        mend = f": {self.finding.mend}" if self.finding.mend else ""
        return f"{self.finding.status:<7}  {self.check}: {self.finding.text}{mend}"

    def table(self) -> dict[str, str]:
        """The result for a program; without what is empty."""
        table = {"check": self.check, **asdict(self.finding)}
        return {name: value for name, value in table.items() if value}


def run_checks(context: Context, debug: bool = False, gpu: bool = False) -> Iterator[Result]:
    """Run all checks, one after the other, and give what they find as they find it.

    Args:
        context: what every check is given.
        debug: let what the checks' processes print through.
        gpu: run those that tell of the GPU and of engines on it, in place of the usual ones.
    """
    scrubber = Scrubber.of(context)
    for name, point in _checks(gpu):
        try:
            check: Check = load(point, f"the check '{name}'")
            parts: Sequence[Part] = check(context)
        except UnusableSettingsError:
            yield Result(name, Finding("warning", "it was not checked, since the configuration has a fault"))
            continue
        except EdgeAacError as error:
            yield Result(name, scrubber.finding(Finding("failed", str(error).rstrip("."))))
            continue
        for part in parts:
            shown = scrubber.text(f"{name} {part.name}" if part.name else name)
            found = False
            for finding in run_apart(part, debug):
                found = True
                yield Result(shown, scrubber.finding(finding))
            if not found:
                yield Result(shown, Finding("failed", "the check found nothing", "correct the package that brings it"))


def _checks(gpu: bool) -> Iterator[tuple[str, EntryPoint]]:
    usual = registered(GROUP)
    if gpu:
        yield from ((name, usual[name]) for name in GPU_BEFORE if name in usual)
    points, order = (registered(GPU_GROUP), GPU_ORDER) if gpu else (usual, ORDER)
    yield from ((name, points[name]) for name in order if name in points)
    yield from ((name, point) for name, point in points.items() if name not in order)
