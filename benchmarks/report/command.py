"""What `edge-aac bench --report` does with its options."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.plan import SECTIONS, Log, Plan
from edge_aac.errors import DeviceError, UsageError

QUICK_NUMBERS: dict[str, Any] = {"repetitions": 2, "slow_repetitions": 1, "sound_s": 12, "sources": (1, 2)}
QUICK_NOTE = "Made with --quick: so few repetitions say that everything runs, and not how fast it is."
_THREADS = 2


@dataclass(frozen=True)
class ReportOptions:
    """The user's options of a report.

    Attributes:
        folder: where it goes.
        bundle: name or folder; None for all bundles that ship.
        also: more of them.
        only: sections; empty for all.
        threads: numbers of threads; empty for one, and two where there are as many cores.
        quick: few repetitions.
        published_sizes: folder for bundles of the published sizes; None leaves them out.
        history: CSV file that gets a line.
        note: what a reader must know of all numbers.
    """

    folder: Path
    bundle: str | None = None
    also: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    quick: bool = False
    published_sizes: Path | None = None
    history: Path | None = None
    note: str = ""

    def plan(self) -> Plan:
        """What is measured.

        Raises:
            UsageError: there is no such section, or there are not as many cores.
        """
        if unknown := [name for name in self.only if name not in SECTIONS]:
            raise UsageError(f"there is no section {unknown[0]!r}: --only takes {', '.join(SECTIONS)}")
        cores = len(os.sched_getaffinity(0))
        threads = tuple(dict.fromkeys(self.threads or range(1, min(_THREADS, cores) + 1)))
        if not 1 <= min(threads) <= max(threads) <= cores:
            raise UsageError(f"--threads must lie in 1 to {cores}, the cores that this process may use")
        return Plan(
            bundles=tuple(dict.fromkeys((*([self.bundle] if self.bundle else shipped()), *self.also))),
            threads=threads,
            sections=tuple(name for name in SECTIONS if name in self.only) or SECTIONS,
            published=self.published_sizes,
            **(QUICK_NUMBERS if self.quick else {}),
        )

    @property
    def words(self) -> str:
        """The command without its folders, which are this machine's."""
        parts = ["edge-aac bench --report DIR", *([f"--bundle {self.bundle}"] if self.bundle else [])]
        parts += [f"--also {name}" for name in self.also]
        parts += [f"--only {name}" for name in self.only] + [f"--threads {count}" for count in self.threads]
        parts += ["--quick"] * self.quick + ["--published-sizes DIR"] * (self.published_sizes is not None)
        return " ".join(parts)

    @property
    def about(self) -> str:
        """What a reader must know of all numbers."""
        return " ".join(filter(None, (QUICK_NOTE if self.quick else "", self.note)))


def shipped() -> list[str]:
    """Names of the captioners that ship, the default one first."""
    from edge_aac.bundle.manifest import MANIFEST, Seq2SeqManifest, read_manifest
    from edge_aac.bundle.store import DEFAULT_BUNDLE, built_in_bundles

    folders = built_in_bundles().items()
    names = [name for name, folder in folders if isinstance(read_manifest(folder / MANIFEST), Seq2SeqManifest)]
    return sorted(names, key=lambda name: (name != DEFAULT_BUNDLE, name))


def report_of(options: ReportOptions, log: Log) -> dict[str, Any]:
    """Measure, write the files, and add the line of the history.

    Raises:
        EdgeAacError: an option, a bundle or a folder is unusable, or a package is missing that every section needs.
    """
    plan = options.plan()
    if options.published_sizes is not None:
        _check_torch()
    from benchmarks.report.history import add_line
    from benchmarks.report.making import make_report, write_report

    made = make_report(plan, options.words, log, options.about)
    write_report(made, options.folder)
    if options.history is not None:
        add_line(made, plan.bundles[0], options.history)
    return made


def _check_torch() -> None:
    from importlib.util import find_spec

    if missing := [package for package in ("torch", "transformers", "onnx") if find_spec(package) is None]:
        raise DeviceError(
            f"--published-sizes needs the package {missing[0]!r}, which is not installed: pip install 'edge-aac[train]'"
        )
