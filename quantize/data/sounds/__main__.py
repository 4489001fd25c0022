"""``python -m quantize.data.sounds FOLDER`` fills a store of sound; run again, it goes on where it was."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_aac.errors import EdgeAacError
from quantize.data.debian_outliers import download_package
from quantize.data.sounds.collect import collect_packages
from quantize.data.sounds.instruments import instrument_sounds
from quantize.data.sounds.labelled import labelled_sounds
from quantize.data.sounds.overlaps import copies_of_labelled, write_copies
from quantize.data.sounds.packages import PACKAGES
from quantize.data.sounds.store import Samples, SoundStore, StoredSound, StoreWriter
from quantize.data.sounds.synthesised import synthesised_sounds
from quantize.data.sounds.voices import voice_sounds

_SEED = 18


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        writer = StoreWriter(chosen.folder)
        for folder in chosen.data:
            _append(writer, folder.resolve().name, labelled_sounds(folder))
        for source, count, make in (
            ("synthesised", chosen.synthesised, synthesised_sounds),
            ("voices", chosen.voices, voice_sounds),
            ("instruments", chosen.instruments, instrument_sounds),
        ):
            if count:
                _append(writer, source, make(count, _SEED))
        if chosen.packages:
            collect_packages(writer, chosen.packages, download_package, _log, round(chosen.largest_gb * 1e9))
        store = SoundStore.open(chosen.folder)
        copies = copies_of_labelled(store)
        write_copies(chosen.folder, copies)
    except EdgeAacError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for copy in copies:
        _log(f"{copy.found.source} {copy.found.title} is a copy of {copy.held_out.title}, fold {copy.held_out.fold}")
    for source, hours in sorted(store.hours().items()):
        print(f"{source}: {hours:.2f} h")
    print(f"{len(store.rows)} sounds, {sum(store.hours().values()):.2f} h in {chosen.folder}")
    return 0


def _append(writer: StoreWriter, source: str, sounds: Iterator[tuple[StoredSound, Samples]]) -> None:
    """Append a source that is not in the store; where it is, nothing is drawn from the iterator."""
    if source not in writer.sources:
        _log(f"{source}: {writer.append(source, sounds)} sounds")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m quantize.data.sounds",
        description="Fill a store of sound to learn from. Run again, the command goes on with what is missing.",
    )
    parser.add_argument("folder", type=Path, help="folder of the store")
    parser.add_argument("--data", type=Path, action="append", default=[], help="folder of labelled recordings; again")
    parser.add_argument("--voices", type=int, default=6000, help="number of spoken texts")
    parser.add_argument("--synthesised", type=int, default=3900, help="number of computed sounds")
    parser.add_argument("--instruments", type=int, default=1548, help="number of phrases that instruments play")
    parser.add_argument("--packages", nargs="*", default=PACKAGES, help="Debian packages; none without a name")
    parser.add_argument("--largest-gb", type=float, default=8.0, help="size after which no package is begun")
    return parser


if __name__ == "__main__":
    sys.exit(main())
