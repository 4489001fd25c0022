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
from quantize.data.sounds.licences import CopyrightFile, Licence, Verdict
from quantize.data.sounds.store import Samples, StoredSound, sixteen_bit

SUFFIXES = frozenset(
    {".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".voc", ".wav", ".w64", ".gsm"}
)
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
        taken: files in the store.
        refused: files by licence that forbids them.
        broken: files that cannot be decoded, are too short or silent, or are copies of others.
    """

    version: str = ""
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broken: int = 0


def package_sounds(
    package: str,
    version: str,
    tree: Path,
    licence_of: Callable[[str], Licence],
    known: set[bytes],
    harvest: Harvest,
    allowed: Collection[Verdict] = (Verdict.PERMISSIVE,),
) -> Iterator[tuple[StoredSound, Samples]]:
    """The sounds of an unpacked package.

    Args:
        package, version: its name, and with its version.
        tree: where it is unpacked.
        licence_of: licence of a file, by its path in the package.
        known: hashes of sounds that were taken already, from any package; those found are added.
        harvest: is filled.
        allowed: what licences a file may have.
    """
    harvest.version = version
    fold = fold_of(package)
    for file in sorted(tree.rglob("*")):
        if file.suffix.lower() not in SUFFIXES or file.is_symlink() or not file.is_file():
            continue
        title = str(file.relative_to(tree))
        licence = licence_of(title)
        if licence.verdict not in allowed:
            harvest.refused[licence.name or "nothing said"] += 1
            continue
        samples = decoded(file)
        if samples is None:
            harvest.broken += 1
            continue
        digest = hashlib.sha1(samples.tobytes(), usedforsecurity=False).digest()
        if digest in known:
            harvest.broken += 1
            continue
        known.add(digest)
        harvest.taken += 1
        row = StoredSound("", title, "", fold, licence.name, licence.author, f"Debian package {version}")
        step = round(ROW_S * SAMPLE_RATE)
        for start in range(0, max(1, len(samples) - SAMPLE_RATE // 2), step):
            yield row, samples[start : start + step]


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


def fold_of(package: str) -> int:
    """1 to 4, by a hash of the name, so that a package that is added moves no other one."""
    return 1 + hashlib.sha1(package.encode(), usedforsecurity=False).digest()[0] % 4


def copyright_of(tree: Path, package: str) -> CopyrightFile:
    """The package's own copyright file."""
    notices = sorted(tree.glob("usr/share/doc/*/copyright"))
    notices.sort(key=lambda path: path.parent.name != package)
    text = notices[0].read_text(encoding="utf-8", errors="replace") if notices else ""
    return CopyrightFile(text)
