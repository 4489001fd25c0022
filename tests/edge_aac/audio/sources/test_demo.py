"""The demo: reproducible scenes at natural levels; the programme plays what its table says, when it says."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.demo import (
    PROGRAMME_S,
    DemoSource,
    demo_programme,
    open_demo,
    play_programme,
    synthesise_demo,
)
from edge_aac.audio.sources.demo.programme import read_recording
from edge_aac.errors import InputMissingError, UsageError
from tests.edge_aac.fakes import read_until_closed

_RECORDINGS = Path(str(resources.files("edge_aac") / "audio" / "sources" / "demo" / "recordings"))
_INPUTS = Path(__file__).parents[4] / "docs" / "inputs.md"
_COPYRIGHT = Path(__file__).parents[4] / "debian" / "copyright"
_WINDOW_S, _HOP_S = 10.0, 2.0


def _opened(uri: str, name: str | None = None) -> DemoSource:
    return open_demo(Address.parse(uri), SourceContext(name))


def test_same_seed_same_samples() -> None:
    scene = synthesise_demo(3.0, seed=7)
    assert scene.dtype == np.float32
    assert scene.shape == (48_000,)
    assert np.array_equal(scene, synthesise_demo(3.0, seed=7))
    assert not np.array_equal(scene, synthesise_demo(3.0, seed=8))


@pytest.mark.parametrize("seconds", [0.0, 1e-4, 0.1, 0.26, 1.0, 11.3])
def test_any_length(seconds: float) -> None:
    scene = synthesise_demo(seconds)
    assert scene.shape == (round(16_000 * seconds),)
    assert np.all(np.isfinite(scene))
    assert np.all(np.abs(scene) <= 1)


def test_rain_and_a_beat_every_second() -> None:
    scene = synthesise_demo(20.0)
    assert -36 < 10 * np.log10(np.mean(np.square(scene))) < -26
    blocks = np.square(scene).reshape(-1, 160).mean(axis=1)
    assert 10 * np.log10(blocks.min()) > -60, "it rains all the time"
    seconds = blocks.reshape(20, 100)
    assert all(23 <= peak <= 28 for peak in seconds.argmax(axis=1)), "each beat is the loudest 10 ms of its second"


def test_demo_source() -> None:
    source = _opened("demo:?scene=rain&seconds=2.5&seed=3")
    assert (source.label, source.live, source.lost_samples()) == ("demo", False, 0)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), synthesise_demo(2.5, 3))
    source.close()
    source.close()
    assert source.read() is None


def test_a_name_from_the_configuration_is_the_label() -> None:
    source = _opened("demo:?seed=3&seconds=1", "scene")
    assert (source.label, source.state, source.reconnects) == ("scene", "listening", 0)


@pytest.mark.parametrize(("uri", "seconds"), [("demo:", PROGRAMME_S), ("demo:?scene=rain", 20.0)])
def test_default_length(uri: str, seconds: float) -> None:
    source = _opened(uri)
    total = 0
    while (block := source.read()) is not None:
        total += len(block)
    assert total == round(16_000 * seconds)


@pytest.mark.parametrize("uri", ["demo:?seconds=17&seed=3", "demo:?scene=programme&seconds=17&seed=3"])
def test_the_programme_is_played_where_no_other_scene_is_asked_for(uri: str) -> None:
    source = _opened(uri)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), play_programme(17.0, 3))


def test_close_ends_a_paced_read() -> None:
    source = _opened("demo:?seconds=2&speed=0.01")
    assert read_until_closed(source) == [None]


@pytest.mark.parametrize(
    "uri", ["demo:x", "demo:?seconds=0", "demo:?seconds=1e9", "demo:?seconds=nan", "demo:?loud=1", "demo:?scene=sea"]
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError):
        _opened(uri)


def test_the_programme_is_the_same_for_the_same_seed_and_length() -> None:
    scene = play_programme(20.0, seed=7)
    assert scene.dtype == np.float32
    assert np.array_equal(scene, play_programme(20.0, seed=7))
    assert not np.array_equal(scene, play_programme(20.0, seed=8))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 13.0, 18.3, 61.0])
def test_a_programme_of_any_length(seconds: float) -> None:
    scene = play_programme(seconds)
    assert scene.shape == (round(16_000 * seconds),)
    assert np.all(np.abs(scene) <= 1)
    assert all(event.start_s < event.end_s <= seconds for event in demo_programme(seconds))


def test_the_programme_begins_again() -> None:
    scene = play_programme(2 * PROGRAMME_S)
    first, second = np.split(scene.astype(np.float64), 2)
    assert np.corrcoef(first, second)[0, 1] > 0.99, "the recordings are the same"
    events = demo_programme(2 * PROGRAMME_S)
    half = len(events) // 2
    assert [(event.start_s + PROGRAMME_S, event.sound) for event in events[:half]] == [
        (event.start_s, event.sound) for event in events[half:]
    ]


def _level_dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def test_the_programme_sounds_where_its_table_says_so() -> None:
    scene = play_programme(PROGRAMME_S)
    sounding = np.zeros(round(10 * PROGRAMME_S), bool)
    for event in demo_programme():
        sounding[round(10 * event.start_s) : round(10 * event.end_s)] = True
    levels = np.array([_level_dbfs(block) for block in scene.reshape(-1, 1600)])
    assert np.all(levels[~sounding] < -58), "a quiet room between the sounds"
    assert np.all(levels > -66), "never the zeros of a device that gives nothing"
    for event in demo_programme():
        own = levels[round(10 * event.start_s) : round(10 * event.end_s)]
        assert np.mean(own > -50) > 0.8, event
        loudness = _level_dbfs(scene[round(16_000 * event.start_s) : round(16_000 * event.end_s)])
        assert -32 < loudness < -22, f"{event} at {loudness} dBFS is not as loud as the others"


def test_windows_of_the_programme_have_five_different_truths() -> None:
    heard = set()
    for end_s in np.arange(_WINDOW_S, PROGRAMME_S + _HOP_S, _HOP_S):
        inside: dict[str, float] = {}
        for event in demo_programme():
            within_s = max(0.0, min(event.end_s, end_s) - max(event.start_s, end_s - _WINDOW_S))
            inside[event.sound] = inside.get(event.sound, 0.0) + within_s
        truth = tuple(sound for sound, within_s in inside.items() if within_s >= 1.0)
        assert truth, "every window holds a sound"
        heard.add(truth)
    assert len(heard) >= 5
    assert len({sound for truth in heard for sound in truth}) >= 5


def test_recordings_are_short_small_attributed_and_all_played() -> None:
    with (_RECORDINGS / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        listed = {row["file"]: row for row in csv.DictReader(stream)}
    files = {path.name: path for path in _RECORDINGS.glob("*.flac")}
    played = {event.recording: event for event in demo_programme()}
    assert set(listed) == set(files) == set(played)
    assert sum(path.stat().st_size for path in files.values()) <= 400_000
    for name, row in listed.items():
        assert row["license"] == "CC0 1.0"
        assert all(row.values())
        assert row["sound"] == played[name].sound
        assert len(read_recording(name)) == round(16_000 * (played[name].end_s - played[name].start_s))


def test_the_debian_package_attributes_each_recording() -> None:
    with (_RECORDINGS / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    (paragraph,) = re.findall(r"^Files: \S*/demo/recordings/\*\n(.*?)\n\n", _COPYRIGHT.read_text("utf-8"), re.M | re.S)
    assert "License: CC0-1.0" in paragraph
    for row in rows:
        author, year = row["author"].rsplit(", ", 1)
        assert f"{year} {author} ({row['file']})" in paragraph


def _spectrum(name: str) -> tuple[np.ndarray, np.ndarray]:
    samples = read_recording(name)
    power = np.square(np.abs(np.fft.rfft(samples)))
    return np.fft.rfftfreq(len(samples), 1 / 16_000), power / power.sum()


def test_recordings_are_what_they_are_called() -> None:
    frequencies, birds = _spectrum("birds.flac")
    assert birds[frequencies > 2500].sum() > 0.9, "birds sing high"
    drums = [_level_dbfs(block) for block in read_recording("drums.flac").reshape(-1, 800)]
    assert np.ptp(drums) > 12, "beats rise over what is between them"
    frequencies, crow = _spectrum("crow.flac")
    assert crow[(frequencies > 500) & (frequencies < 3500)].sum() > 0.7, "a caw"
    frequencies, guitar = _spectrum("guitar.flac")
    strongest = np.sort(guitar)[::-1]
    assert strongest[:200].sum() > 0.7, "strings have lines, not a band"
    frequencies, people = _spectrum("restaurant.flac")
    assert people[(frequencies > 100) & (frequencies < 3000)].sum() > 0.7, "where voices are"


def test_the_page_holds_the_table_of_the_programme() -> None:
    page = _INPUTS.read_text(encoding="utf-8").split("## The demo")[1]
    rows = re.findall(r"^\| (\d+\.\d) \| (\d+\.\d) \| (\w+) \| (\S+) \|$", page, re.MULTILINE)
    programme = [
        (f"{event.start_s:.1f}", f"{event.end_s:.1f}", event.sound, event.recording) for event in demo_programme()
    ]
    assert rows == programme


def test_a_recording_that_is_lost_or_damaged_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissingError, match="install edge-aac anew"):
        read_recording("nothing.flac")
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "birds.flac").write_bytes(b"no sound")
    soundfile.write(folder / "crow.flac", np.zeros((100, 2)), 16_000)
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    for name in ("birds.flac", "crow.flac"):
        with pytest.raises(InputMissingError, match="anew"):
            read_recording(name)


def test_the_demo_decodes_only_what_is_played() -> None:
    script = (
        "import sys, edge_aac.audio.sources.demo as demo; demo.synthesise_demo(1.0); "
        "demo.play_programme(0.5); "
        "print('soundfile' in sys.modules); demo.play_programme(2.0); print('soundfile' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True"]
