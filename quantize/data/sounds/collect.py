"""Many Debian packages one after another into a store, and the table of what became of their files."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_aac.errors import EdgeAacError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.archives import unpack_sounds
from quantize.data.sounds.debian import Harvest, copyright_of, fingerprint, package_sounds
from quantize.data.sounds.licences import Verdict
from quantize.data.sounds.packages import DECIDED
from quantize.data.sounds.store import SoundStore, StoreWriter
from quantize.progress import Log

HARVEST = "packages.csv"
_COLUMNS = ("package", "files", "taken", "left_out", "unusable", "hours", "licences", "licences_left_out")


def collect_packages(
    writer: StoreWriter,
    packages: Sequence[str],
    fetch: Callable[[str, Path], Path],
    log: Log,
    largest_bytes: int,
    allowed: Collection[Verdict] = (Verdict.PERMISSIVE,),
) -> list[Harvest]:
    """Append the sounds of packages that are not in the store yet.

    The next package is fetched while one is decoded, never more than one at a time. A package that cannot be had is
    told of and passed over; the next run tries it again.

    Args:
        writer: the store.
        packages: their names.
        fetch: puts a package's file into a folder.
        log: called with a line for each package.
        largest_bytes: the store grows no further than this.
        allowed: licences that a file may have.

    Returns:
        What became of the packages of this run; a line of each stands in ``packages.csv`` of the store.
    """
    due = [package for package in packages if f"debian:{package}" not in writer.sources]
    known = _known_sounds(writer.folder)
    harvests: list[Harvest] = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as pool:
        places = [Path(scratch, package) for package in due]
        for place in places:
            place.mkdir()
        coming = pool.submit(fetch, due[0], places[0]) if due else None
        for index, package in enumerate(due):
            assert coming is not None
            fetched = coming
            if 2 * writer.samples >= largest_bytes:
                left = len(due) - index
                log(f"{writer.folder} has grown to {largest_bytes / 1e9:.1f} GB: {left} packages are left out")
                fetched.cancel()
                break
            coming = pool.submit(fetch, due[index + 1], places[index + 1]) if index + 1 < len(due) else None
            try:
                archive = fetched.result()
                harvests.append(_harvested(writer, package, archive, places[index], known, allowed))
                log(str(harvests[-1]))
            except EdgeAacError as error:
                log(f"{package} is left out: {error}")
            finally:
                _emptied(places[index])
    return harvests


def _harvested(
    writer: StoreWriter,
    package: str,
    archive: Path,
    scratch: Path,
    known: set[bytes],
    allowed: Collection[Verdict],
) -> Harvest:
    tree = scratch / "tree"
    unpack_sounds(archive, tree)
    harvest = Harvest(archive.name.removesuffix(".deb"))
    copyright_file = copyright_of(tree, package, DECIDED.get(package))
    before = writer.samples
    writer.append(f"debian:{package}", package_sounds(package, harvest, tree, copyright_file.licence, known, allowed))
    hours = (writer.samples - before) / SAMPLE_RATE / 3600.0
    place = writer.folder / HARVEST
    is_new = not place.exists()
    with place.open("a", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        if is_new:
            table.writerow(_COLUMNS)
        counts = (harvest.files, harvest.taken, sum(harvest.refused.values()), harvest.unusable, f"{hours:.3f}")
        table.writerow((harvest.version, *counts, _listed(harvest.licences), _listed(harvest.refused)))
    return harvest


def _known_sounds(folder: Path) -> set[bytes]:
    store = SoundStore.open(folder)
    return {fingerprint(store.sound[row.start : row.start + row.length]) for row in store.rows}


def _listed(counts: Counter[str]) -> str:
    return "; ".join(f"{name} ({count})" for name, count in counts.most_common())


def _emptied(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
