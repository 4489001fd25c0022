"""Sounds out of packages, with packages made here and with Debian's own tools."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import load_outliers
from quantize.data.debian_outliers import MAX_FILES_OF, PACKAGES, collect, names_known_sound

needs_tools = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("dpkg-deb", "ffmpeg", "ffprobe")),
    reason="needs dpkg-deb and ffmpeg, of Debian's packages dpkg and ffmpeg",
)


def write_package(folder: Path, name: str, sounds: dict[str, np.ndarray], licences: str) -> None:
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    notice = tree / "usr/share/doc" / name / "copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text(licences, encoding="utf-8")
    for path, waveform in sounds.items():
        file = tree / "usr/share" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, waveform, 44_100)
    subprocess.run(
        ["dpkg-deb", "--build", str(tree), str(folder / f"{name}_1.0_all.deb")], check=True, stdout=subprocess.DEVNULL
    )


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2.0 * np.pi * 440.0 * np.arange(round(44_100 * seconds)) / 44_100)


@needs_tools
def test_packages_become_a_folder_that_training_reads(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    write_package(
        packages,
        "door-data",
        {
            "creak.wav": tone(1.0),
            "music/long.ogg": tone(40.0),
            "rooster.wav": tone(1.0),
            "rain/soft.wav": tone(1.0),
            "click.wav": tone(0.02),
            "nothing.wav": tone(1.0, 1e-5),
        },
        "Files: *\nLicense: CC0-1.0\n\nFiles: music/*\nLicense: CC-BY-4.0\n",
    )
    write_package(packages, "bell-data", {"bell.flac": tone(2.0)}, "free for all\n")

    def fetch(package: str, folder: Path) -> Path:
        return Path(shutil.copy(packages / f"{package}_1.0_all.deb", folder))

    lines: list[str] = []
    out = tmp_path / "outliers"
    assert collect(out, ("bell-data", "door-data"), fetch, lines.append) == 3
    assert lines == ["bell-data_1.0_all: 1 recordings", "door-data_1.0_all: 2 recordings"]
    with (out / "clips.csv").open(encoding="utf-8", newline="") as stream:
        rows = {Path(row["title"]).name: row for row in csv.DictReader(stream)}
    assert rows.keys() == {"bell.flac", "creak.wav", "long.ogg"}
    assert rows["creak.wav"]["license"] == "CC-BY-4.0; CC0-1.0"
    assert rows["bell.flac"]["license"] == "see the package's copyright file"
    assert rows["creak.wav"]["source_url"] == "Debian package door-data_1.0_all"
    assert all(row["author"] for row in rows.values())
    assert len({row["fold"] for row in rows.values() if "door" in row["file"]}) == 1
    clips = load_outliers(out, (1, 2, 3, 4))
    seconds = {Path(clip.title).name: len(clip.waveform) / SAMPLE_RATE for clip in clips}
    assert seconds["long.ogg"] == pytest.approx(8.0, abs=0.1)
    assert seconds["creak.wav"] == pytest.approx(1.0, abs=0.1)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.flac")}
    collect(out, ("bell-data", "door-data"), fetch, lines.append)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.flac")} == before


@needs_tools
def test_what_is_no_package_is_one_sentence(tmp_path: Path) -> None:
    def fetch(package: str, folder: Path) -> Path:
        (folder / "door_1.deb").write_bytes(b"no package")
        return folder / "door_1.deb"

    with pytest.raises(InputMissingError, match=r"door_1\.deb cannot be unpacked"):
        collect(tmp_path / "out", ("door",), fetch, lambda line: None)


@pytest.mark.parametrize(
    ("title", "known"),
    [
        ("usr/share/games/x/sounds/dogs/1.wav", True),
        ("usr/share/x/Rooster.wav", True),
        ("usr/share/x/chainsaw_idle.ogg", True),
        ("usr/share/x/chicken1.ogg", True),
        ("usr/share/x/Sea Waves.ogg", True),
        ("usr/share/games/searchandrescue/sounds/hh60/helicopter.wav", True),
        ("usr/share/x/baby-laugh.ogg", True),
        ("usr/share/games/searchandrescue/sounds/door_open.wav", False),
        ("usr/share/games/flightgear/Sounds/gear.wav", False),
        ("usr/share/x/footstep1.ogg", False),
        ("usr/share/x/saw_tooth.wav", True),
        ("usr/share/x/10sawtooth.flac", False),
    ],
)
def test_names_that_speak_of_a_known_class(title: str, known: bool) -> None:
    assert names_known_sound(title) is known


def test_the_limits_are_those_of_packages_that_are_taken() -> None:
    assert set(MAX_FILES_OF) <= set(PACKAGES) and len(set(PACKAGES)) == len(PACKAGES) == 58
