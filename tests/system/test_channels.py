"""Sound in any channel, at any phase and scale, is captioned by the installed command, and what is odd is told once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.system.command import noise, records, run_edge_aac, write_wav


def _stereo_bytes(*channels: np.ndarray) -> bytes:
    return np.round(np.stack(channels, axis=1) * 32_767).astype("<i2").tobytes()


def _captioned(path: Path) -> tuple[float, str, str]:
    """Level in dBFS and caption of a file of one window, and what was logged."""
    result = run_edge_aac("caption", path, "--threads", "1")
    assert result.returncode == 0, result.stderr
    (record,) = records(result.stdout)
    return record["rms_dbfs"], record["caption"], result.stderr


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, str, str]:
    return _captioned(write_wav(tmp_path_factory.mktemp("mono") / "mono.wav", noise(5)))


def test_opposite_phases(tmp_path: Path, mono: tuple[float, str, str]) -> None:
    sound = noise(5)
    path = write_wav(tmp_path / "anti.wav", np.stack((sound, -sound), axis=1))
    level, caption, logged = _captioned(path)
    assert abs(level - mono[0]) <= 0.1 and caption == mono[1]
    assert len(logged.splitlines()) == 1
    assert f"{path}: channel 2 of 2 is in opposite phase" in logged


@pytest.mark.parametrize(("place", "rate"), [(0, 16_000), (5, 16_000), (7, 48_000)])
def test_one_live_channel_of_eight(tmp_path: Path, place: int, rate: int) -> None:
    sound = np.repeat(noise(5), rate // 16_000)
    expected, _, _ = _captioned(write_wav(tmp_path / "one.wav", sound, rate))
    frames = np.zeros((len(sound), 8), np.float32)
    frames[:, place] = sound
    path = write_wav(tmp_path / "eight.wav", frames, rate)
    level, _, logged = _captioned(path)
    assert abs(level - expected) <= 0.5
    assert len(logged.splitlines()) == 1
    assert f"{path}: channels " in logged and "of 8 held only digital silence" in logged


@pytest.mark.parametrize(
    ("options", "channels"), [("", (0, 1)), ("&channel=2", (0, 1)), ("&mix=equalized", (1, 0)), ("&channel=1", (1, 0))]
)
def test_quiet_sound_beside_nothing_on_standard_input(options: str, channels: tuple[int, int]) -> None:
    # The mean of both channels lies below the default gate.
    sound = 10 ** (-46 / 20) * noise(10)
    result = run_edge_aac(
        *("stream", "--device", f"stdin:?channels=2{options}", "--node", "x"),
        stdin=_stereo_bytes(*(gain * sound for gain in channels)),
    )
    assert result.returncode == 0, result.stderr
    (record,) = records(result.stdout)
    assert -68 < record["rms_dbfs"] < -64


def test_the_mean_is_for_those_who_want_it() -> None:
    sound = noise(10)
    result = run_edge_aac("stream", "--device", "stdin:?channels=2&mix=mean", stdin=_stereo_bytes(sound, -sound))
    assert (result.returncode, result.stdout) == (0, "")


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(1))
    result = run_edge_aac("stream", "--device", f"file:{path}?channel=2")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"'{path}' has no channel 2: it has only one channel" in result.stderr
    result = run_edge_aac("stream", "--device", "stdin:?channels=2&channel=3")
    assert result.returncode == 2
    assert "it has 2 channels" in result.stderr


def test_float_samples_at_16_bit_scale(tmp_path: Path, mono: tuple[float, str, str]) -> None:
    path = write_wav(tmp_path / "big.wav", np.rint(noise(5) * 32_768), subtype="FLOAT")
    level, caption, logged = _captioned(path)
    assert (level, caption) == mono[:2]
    assert len(logged.splitlines()) == 1
    assert f"{path}: its float samples are at the scale of 16-bit integers" in logged


def test_a_clipped_file_is_captioned_and_told(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "clipped.wav", np.clip(np.repeat(noise(2), 3) * 10, -0.9, 0.9))
    _, _, logged = _captioned(path)
    assert len(logged.splitlines()) == 1
    assert f"{path}: the sound is clipped" in logged


def test_dc_and_rumble_are_silence(tmp_path: Path) -> None:
    times = np.arange(320_000) / 16_000
    hiss = 10 ** (-85 / 20) * np.random.default_rng(0).standard_normal(len(times))
    rumble = 0.01 * np.sin(2 * np.pi * 15 * times)
    path = write_wav(tmp_path / "night.wav", hiss + rumble + 10 ** (-50 / 20), subtype="PCM_24")
    result = run_edge_aac("caption", path)
    assert (result.returncode, result.stdout) == (0, "")
