"""Sounds of no known class out of Debian's packages: what ``--outliers`` of the recipe esc10-tiny is given.

Games, desktops and teaching programs bring thousands of freely licensed recordings: doors, footsteps, engines, birds,
voices, instruments, alarms. None of them goes into the project or a bundle: a captioner only learns from them what it
has no words for. Files whose names speak of a known class are left out, so that a rooster is never called unknown, and
so that a class which a training leaves out (``--absent``) is left out of these, too, as far as names tell.

Each package lies in one fold whole: what is held out comes from other hands than what is trained on.

``python -m quantize.data.debian_outliers FOLDER`` needs apt-get, dpkg-deb and ffmpeg, and 5 GB to download.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from edge_aac.errors import EdgeAacError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import COLUMNS, TABLE, UNKNOWN_LABEL
from quantize.progress import Log

MAX_FILES = 100
MAX_FILES_OF = {
    # Speech, and single syllables of it: many files of one voice.
    "asterisk-core-sounds-en-wav": 120,
    "codec2-examples": 20,
    "fillets-ng-data-nl": 150,
    "gcin-voice": 60,
    "hedgewars-data": 120,
    "kajongg": 60,
    "klettres-data": 80,
    "ktuberling-data": 200,
    "tuxpaint-stamps-default": 150,
    # Instruments and engines: many files that are alike.
    "bucklespring-data": 25,
    "flightgear-data-base": 80,
    "hydrogen-drumkits": 70,
    "lmms-common": 80,
    "supertuxkart-data": 60,
    # As many kinds of sound as files.
    "wesnoth-1.16-data": 150,
    "widelands-data": 120,
}
"""Of the other packages at most ``MAX_FILES`` are taken."""

_LISTED = """
ardentryst asterisk-core-sounds-en-wav asterisk-moh-opsound-wav bambam boswars-data btanks-data bucklespring-data
caveexpress-data chuck-data codec2-examples colobot-common-sounds csoundqt-examples cube2-data emacspeak etw-data
fillets-ng-data-nl flare-game flightgear-data-base freecol freedroidrpg-data gcin-voice guitarix-common hedgewars-data
heroes-sound-effects hydrogen-drumkits kajongg klettres-data ktuberling-data libreoffice-common lincity-ng-data
lmms-common lomiri-sounds lugaru-data megaglest-data micropolis-data minetest-data netpanzer-data oxygen-sounds
pinball-table-gnu-data planetblupi-common plee-the-bear-data scorched3d-data scratch searchandrescue-data
simutrans-pak64 sonic-pi-samples sound-icons sound-theme-freedesktop supertuxkart-data torcs-data tuxpaint-data
tuxpaint-plugins-default tuxpaint-stamps-default ukui-media unknown-horizons warmux-data wesnoth-1.16-data
widelands-data
"""
PACKAGES = tuple(_LISTED.split())
"""Of Debian 12, all from its main section: free by its guidelines."""

FOLDS = 4
SUFFIXES = frozenset({".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"})
LONGEST_S, SHORTEST_S = 8.0, 0.1
QUIETEST = 0.003
"""Peak below which a file is taken for an empty one."""

_LONG_S = 25.0
"""Longer files (music) are cut from their second third on; the first bars are often silent."""

_KNOWN = re.compile(
    "|".join(
        (
            "dog|puppy|bark|woof|wolf|howl|growl",
            "rain|storm|thunder|shower|drip",
            "water|river|stream|creek|splash|sea|ocean|wave|surf|beach|lake|swim|waterfall|bubbl",
            "baby|infant|child|cry|sob|weep",
            "sneez|atchoo|achoo|cough",
            "clock|tick|tock|metronom|timer",
            "rooster|cock|chick|hen(?![a-z])|poultry",
            "heli|rotor|chopper|copter",
            "chain|saw(?![a-z]*tooth)",
            "fire|flame|burn|crackl|torch|lava|campf|bonf|hell",
            "hiss|static|noise|silen|blank|empty|ambien.*(forest|swamp)",
        )
    ),
    re.IGNORECASE,
)
_INNOCENT = ("flightgear", "searchandrescue")
"""Names of folders that the words above are found in."""


@dataclass(frozen=True)
class PackagedSound:
    """One recording, converted.

    Attributes:
        file: below the folder of all.
        title: its path in the package.
    """

    file: str
    title: str


def collect(folder: Path, packages: Sequence[str], fetch: Callable[[str, Path], Path], log: Log) -> int:
    """Fill a folder with recordings of packages, and write its ``clips.csv``.

    Args:
        folder: is made; recordings that lie there are not converted again.
        packages: their names.
        fetch: puts a package's file into a folder.
        log: called with a line for each package.

    Returns:
        How many recordings there are.

    Raises:
        EdgeAacError: a package cannot be had or read.
    """
    rows: list[dict[str, str]] = []
    for package in packages:
        with tempfile.TemporaryDirectory() as scratch:
            archive = fetch(package, Path(scratch))
            version = archive.name.removesuffix(".deb")
            tree = Path(scratch, "tree")
            licences = unpack(archive, tree)
            sounds = list(converted(package, tree, folder))
        log(f"{version}: {len(sounds)} recordings")
        for sound in sounds:
            values = (
                *(sound.file, UNKNOWN_LABEL, str(fold_of(package)), sound.title, "as the package says", licences),
                f"Debian package {version}",
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return len(rows)


def unpack(archive: Path, tree: Path) -> str:
    """Take the sounds out of a package.

    Returns:
        The licences that its copyright file names, of whatever in the package they are.

    Raises:
        EdgeAacError: it is no package.
    """
    _run(["dpkg-deb", "--extract", str(archive), str(tree)], f"{archive.name} cannot be unpacked")
    licences = set()
    for notice in sorted(tree.rglob("copyright")):
        text = notice.read_text(encoding="utf-8", errors="replace")
        licences |= {line.strip() for line in re.findall(r"^License:(.*)$", text, re.MULTILINE)}
    return "; ".join(sorted(licences - {""})) or "see the package's copyright file"


def converted(package: str, tree: Path, folder: Path) -> Iterable[PackagedSound]:
    """Bring a package's sounds to 16 kHz FLAC: those with a harmless name that can be decoded and are not silent."""
    files = sorted(file for file in tree.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    files = [file for file in files if not names_known_sound(str(file.relative_to(tree)))]
    random.Random(1).shuffle(files)
    (folder / package).mkdir(parents=True, exist_ok=True)
    for file in files[: MAX_FILES_OF.get(package, MAX_FILES)]:
        title = str(file.relative_to(tree))
        name = f"{package}/{hashlib.sha1(f'{package}/{title}'.encode(), usedforsecurity=False).hexdigest()[:10]}.flac"
        if (folder / name).is_file() or _convert(file, folder / name):
            yield PackagedSound(name, title.removeprefix("usr/share/"))


def names_known_sound(title: str) -> bool:
    """Whether a path speaks of one of the classes that there are words for, or of none at all."""
    for part in _INNOCENT:
        title = title.replace(part, "")
    return _KNOWN.search(title) is not None


def _convert(source: Path, target: Path) -> bool:
    seconds = _duration_s(source)
    skipped = ["-ss", str(seconds / 3)] if seconds > _LONG_S else []
    done = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", *skipped, "-i", str(source), "-t", str(LONGEST_S)),
            *("-ac", "1", "-ar", str(SAMPLE_RATE), "-sample_fmt", "s16", str(target)),
        ],
        capture_output=True,
        check=False,
    )
    if done.returncode == 0 and target.is_file():
        try:
            samples = soundfile.read(target)[0]
        except soundfile.LibsndfileError:
            samples = np.zeros(0)
        if len(samples) >= SHORTEST_S * SAMPLE_RATE and np.abs(samples).max() >= QUIETEST:
            return True
    target.unlink(missing_ok=True)
    return False


def _duration_s(file: Path) -> float:
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return float(shown.stdout.strip())
    except ValueError:
        return 0.0


def fold_of(package: str) -> int:
    """1 to 4, by a hash of the name, so that a package that is added moves no other one."""
    return 1 + hashlib.sha1(package.encode(), usedforsecurity=False).digest()[0] % FOLDS


def download_package(package: str, folder: Path) -> Path:
    """Have apt put a package's file into a folder.

    Raises:
        InputMissingError: apt-get is not there, or does not know the package.
    """
    # apt's own user may not write into the folder, which it then says in vain.
    command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package]
    _run(command, f"{package} cannot be downloaded: is this Debian 12, and was apt-get update run?", folder)
    return next(folder.glob("*.deb"))


def _run(command: list[str], complaint: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    except FileNotFoundError as error:
        raise InputMissingError(f"{command[0]} is not installed: this works on Debian and its relatives") from error
    if done.returncode:
        raise InputMissingError(f"{complaint} ({done.stderr.strip()})")


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Collect sounds of no known class from Debian's packages.")
    parser.add_argument("folder", type=Path, help="is filled with FLAC files and clips.csv, for --outliers")
    arguments = parser.parse_args()
    try:
        count = collect(arguments.folder, PACKAGES, download_package, lambda line: print(line, file=sys.stderr))
    except EdgeAacError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{count} recordings in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
