"""All the sound of many Debian packages, each file under the licence that its package's copyright file states of it.

A file is taken only where that licence is permissive (:mod:`quantize.data.sounds.licences`): share-alike and
non-commercial ones are counted and left out, and so is what nothing certain is said of.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.debian_outliers import fold_of
from quantize.data.sounds.archives import SUFFIXES
from quantize.data.sounds.licences import CopyrightFile, Licence, Verdict
from quantize.data.sounds.packages import LABELS
from quantize.data.sounds.store import Samples, StoredSound, sixteen_bit

SHORTEST_S = 0.1
QUIETEST = 0.003
"""Peak below which a file is taken for an empty one."""
ROW_S = 10.0
LONGEST_S = 30.0
"""Of longer files (music) this much is taken, from their second third on: the first bars are often silent."""


@dataclass
class Harvest:
    """What became of a package's files.

    Attributes:
        version: the package with its version.
        files: sound files that it holds.
        taken: those that are in the store.
        licences: files in the store by licence.
        refused: files that are left out by licence.
        unusable: files that cannot be decoded, are too short or silent, or are copies of others.
    """

    version: str = ""
    files: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unusable: int = 0

    @property
    def taken(self) -> int:
        return sum(self.licences.values())

    def __str__(self) -> str:
        refused = sum(self.refused.values())
        return f"{self.version}: {self.taken} of {self.files} files, {refused} left out for their licences"


def package_sounds(
    package: str,
    harvest: Harvest,
    tree: Path,
    licence_of: Callable[[str], Licence],
    known: set[bytes],
    allowed: Collection[Verdict] = (Verdict.PERMISSIVE,),
) -> Iterator[tuple[StoredSound, Samples]]:
    """The sounds of an unpacked package, in pieces of at most 10 s.

    Args:
        package: its name.
        harvest: is filled.
        tree: where the package is unpacked.
        licence_of: licence of a file, by its path in the package.
        known: :func:`fingerprint` of sounds that were taken already, from any package; those found are added.
        allowed: licences that a file may have.
    """
    fold, label = fold_of(package), LABELS.get(package, "")
    for file in sorted(tree.rglob("*")):
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        harvest.files += 1
        title = str(file.relative_to(tree))
        licence = licence_of(title)
        if licence.verdict not in allowed:
            harvest.refused[licence.name or "nothing said"] += 1
            continue
        samples = decoded(file)
        step = round(ROW_S * SAMPLE_RATE)
        if samples is None or fingerprint(samples[:step]) in known:
            harvest.unusable += 1
            continue
        known.add(fingerprint(samples[:step]))
        harvest.licences[licence.name] += 1
        said = (title.removeprefix("usr/share/"), label, fold, licence.name, licence.author)
        row = StoredSound("", *said, f"Debian package {harvest.version}")
        for start in range(0, max(1, len(samples) - SAMPLE_RATE // 2), step):
            yield row, samples[start : start + step]


def fingerprint(samples: Samples) -> bytes:
    """The same for the same samples, by which copies are found that several packages hold."""
    return hashlib.sha1(samples.tobytes(), usedforsecurity=False).digest()


def decoded(file: Path) -> Samples | None:
    """A sound file at 16 kHz, mono, at most 30 s of it; None where it is no sound or next to silent."""
    waveform = _read(file)
    if waveform is None or len(waveform) < SHORTEST_S * SAMPLE_RATE or np.abs(waveform).max() < QUIETEST:
        return None
    return sixteen_bit(waveform)


def _read(file: Path) -> Waveform | None:
    try:
        with soundfile.SoundFile(file) as sound:
            rate, frames = sound.samplerate, sound.frames
            wanted = round(LONGEST_S * rate)
            if frames > wanted:
                sound.seek(min(frames // 3, frames - wanted))
            read = sound.read(wanted, dtype="float32", always_2d=True)
        if not 1000 <= rate <= 400000 or not len(read) or not np.isfinite(read).all():
            return None
        resampled: Waveform = soxr.resample(read.mean(axis=1), rate, SAMPLE_RATE, "HQ")
        return resampled
    except (soundfile.LibsndfileError, ValueError, TypeError, OverflowError, RuntimeError):
        return _read_by_ffmpeg(file)


def _read_by_ffmpeg(file: Path) -> Waveform | None:
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-t", str(LONGEST_S), "-ac", "1", "-ar", str(SAMPLE_RATE)]
    try:
        done = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    return np.frombuffer(done.stdout, dtype="<f4").copy() if len(done.stdout) >= 4 and not done.returncode else None


def copyright_of(tree: Path, package: str, decided: Licence | None = None) -> CopyrightFile:
    """The package's own copyright file, or what was decided by hand where that is not machine-readable."""
    if decided is not None:
        return CopyrightFile("", decided)
    notices = sorted(tree.glob("usr/share/doc/*/copyright"), key=lambda path: (path.parent.name != package, path))
    return CopyrightFile(notices[0].read_text(encoding="utf-8", errors="replace") if notices else "")
