"""Sounds out of Debian packages into a store, with packages made here and dpkg's own tools."""

from __future__ import annotations

import csv
import io
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.debian_outliers import fold_of
from quantize.data.sounds.archives import unpack_sounds
from quantize.data.sounds.collect import HARVEST, collect_packages
from quantize.data.sounds.packages import DECIDED, PACKAGES
from quantize.data.sounds.store import SoundStore, StoreWriter

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb, of Debian's package dpkg")

RATE = 22_050
NOTICE = "Files: *\nCopyright: A. Author\nLicense: CC0-1.0\n\nFiles: sounds/shared/*\nLicense: CC-BY-SA-3.0\n"


def encoded(hertz: float, seconds: float, kind: str = "WAV", level: float = 0.3) -> bytes:
    written = io.BytesIO()
    waveform = level * np.sin(2.0 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)
    soundfile.write(written, waveform, RATE, format=kind)
    return written.getvalue()


def package(folder: Path, name: str, files: dict[str, bytes], notice: str = NOTICE) -> None:
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    for path, data in {f"usr/share/doc/{name}/copyright": notice.encode(), **files}.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    target = folder / f"{name}_1.0_all.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", str(tree), str(target)], check=True, stdout=subprocess.DEVNULL)


class Shelf:
    """Packages by name, and which were fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []

    def __call__(self, name: str, folder: Path) -> Path:
        self.fetched.append(name)
        archive = self.folder / f"{name}_1.0_all.deb"
        if not archive.is_file():
            raise InputMissingError(f"{name} cannot be downloaded")
        return Path(shutil.copy(archive, folder))


def zipped(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return written.getvalue()


def wad(sounds: dict[str, bytes]) -> bytes:
    body, entries = b"", b""
    for name, samples in sounds.items():
        padded = bytes([samples[0]] * 16) + samples + bytes([samples[-1]] * 16)
        lump = struct.pack("<HHI", 3, 11025, len(padded)) + padded
        entries += struct.pack("<ii8s", 12 + len(body), len(lump), name.encode())
        body += lump
    return b"IWAD" + struct.pack("<ii", len(sounds), 12 + len(body)) + body + entries


def test_all_permissive_files_of_packages_become_rows(tmp_path: Path) -> None:
    files = {f"usr/share/game/sounds/many{index:03}.wav": encoded(300.0 + index, 0.2) for index in range(130)}
    files |= {
        "usr/share/game/sounds/rooster.ogg": encoded(400.0, 1.0, "OGG"),
        "usr/share/game/music/long.flac": encoded(500.0, 70.0, "FLAC"),
        "usr/share/game/sounds/shared/not.wav": encoded(600.0, 1.0),
        "usr/share/game/sounds/copy.wav": encoded(300.0, 0.2),
        "usr/share/game/sounds/silent.wav": encoded(300.0, 1.0, level=1e-4),
        "usr/share/game/sounds/short.wav": encoded(300.0, 0.02),
        "usr/share/game/sounds/broken.wav": b"no sound at all",
        "usr/share/game/picture.png": b"not looked at",
    }
    package(tmp_path, "game-data", files)
    writer = StoreWriter(tmp_path / "store")
    (harvest,) = collect_packages(writer, ("game-data",), Shelf(tmp_path), lambda line: None, 10**9)
    assert (harvest.files, harvest.taken, harvest.unusable) == (137, 132, 4)
    assert dict(harvest.refused) == {"CC-BY-SA-3.0": 1}
    store = SoundStore.open(tmp_path / "store")
    assert {row.source for row in store.rows} == {"debian:game-data"}
    assert {row.fold for row in store.rows} == {fold_of("game-data")}
    assert {(row.license, row.author, row.source_url) for row in store.rows} == {
        ("CC0-1.0", "A. Author", "Debian package game-data_1.0_all")
    }
    lengths = [row.length / SAMPLE_RATE for row in store.rows if "long" in row.title]
    assert lengths == [10.0, 10.0, 10.0]
    with (tmp_path / "store" / HARVEST).open(newline="", encoding="utf-8") as stream:
        (told,) = csv.DictReader(stream)
    assert told["taken"] == "132"
    assert told["licences_left_out"] == "CC-BY-SA-3.0 (1)"


def test_what_was_collected_is_not_fetched_again_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    package(tmp_path, "one-data", {"usr/share/a.wav": encoded(300.0, 0.5)})
    package(tmp_path, "two-data", {"usr/share/b.wav": encoded(300.0, 0.5), "usr/share/c.wav": encoded(400.0, 0.5)})
    lines: list[str] = []
    shelf = Shelf(tmp_path)
    collect_packages(StoreWriter(tmp_path / "store"), ("one-data", "gone-data"), shelf, lines.append, 10**9)
    assert lines[-1] == "gone-data is left out: gone-data cannot be downloaded"
    collect_packages(StoreWriter(tmp_path / "store"), ("one-data", "gone-data", "two-data"), shelf, lines.append, 10**9)
    assert shelf.fetched == ["one-data", "gone-data", "gone-data", "two-data"]
    # What the first package holds is no second time taken from another one, though another run took it.
    assert [row.title for row in SoundStore.open(tmp_path / "store").rows] == ["a.wav", "c.wav"]


def test_a_store_grows_no_further_than_it_may(tmp_path: Path) -> None:
    for name in ("one-data", "two-data"):
        package(tmp_path, name, {f"usr/share/{name}.wav": encoded(300.0 + len(name), 0.5)})
    lines: list[str] = []
    collect_packages(StoreWriter(tmp_path / "store"), ("one-data", "two-data"), Shelf(tmp_path), lines.append, 1000)
    assert "1 packages are left out" in lines[-1]
    assert len(SoundStore.open(tmp_path / "store").rows) == 1


def test_sounds_are_found_in_archives(tmp_path: Path) -> None:
    inside = {"sfx/bell.wav": encoded(700.0, 0.5), "../../outside.wav": encoded(800.0, 0.5), "readme.txt": b"x"}
    ramp = bytes(np.linspace(0, 255, 4000).astype(np.uint8))
    files = {
        "usr/share/game/data.love": zipped(inside),
        "usr/share/game/main.wad": wad({"DSPISTOL": ramp, "MAP01": ramp}),
        "usr/share/game/torn.zip": b"PK\x03\x04torn",
        "usr/share/game/other.wad": b"no wad",
    }
    package(tmp_path, "game-data", files)
    tree = tmp_path / "tree"
    unpack_sounds(tmp_path / "game-data_1.0_all.deb", tree)
    found = {str(path.relative_to(tree)) for path in tree.rglob("*.wav")}
    assert found == {
        "usr/share/game/data.love.d/inside/sfx/bell.wav",
        "usr/share/game/data.love.d/inside/outside.wav",
        "usr/share/game/main.wad.d/inside/DSPISTOL.wav",
    }
    samples, rate = soundfile.read(tree / "usr/share/game/main.wad.d/inside/DSPISTOL.wav", dtype="int16")
    assert rate == 11025
    assert samples.tolist() == [(value - 128) * 256 for value in ramp]


def test_a_file_that_is_no_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"no package")
    with pytest.raises(InputMissingError, match=r"x\.deb cannot be unpacked"):
        unpack_sounds(tmp_path / "x.deb", tmp_path / "tree")


def test_packages_are_listed_once_and_none_shares_recordings_with_the_held_out() -> None:
    assert len(set(PACKAGES)) == len(PACKAGES) > 200
    assert not {"redeclipse-data", "openclonk-data", "openttd-opensfx", "sonic-pi-samples"} & set(PACKAGES)
    assert set(DECIDED) <= set(PACKAGES)
