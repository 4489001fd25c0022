"""What the links to microcontrollers cost: many devices at once, and what a codec keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.bridge import bits_a_second, many_devices, through_adpcm, through_pcm


@pytest.mark.waits
def test_16_devices_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = many_devices(16, 4, "pcm")
    assert (result["devices"], result["lost_samples"], result["refused"]) == (16, 0, 0)
    assert result["heard_s_fewest"] == result["heard_s_most"] == 4.0


def test_the_wire_fits_the_uarts_that_the_page_names() -> None:
    wire = bits_a_second()
    assert wire["adpcm, 20 ms"]["uart"] < 115_200 < wire["pcm, 20 ms"]["uart"] < 460_800
    assert "pcm, 40 ms" not in wire, "longer than a frame may be"


@pytest.mark.parametrize("level", [0.5, 0.01])
def test_adpcm_keeps_20_db_above_its_noise(level: float) -> None:
    samples = np.arange(16_000)
    sound = (level * np.sin(2 * np.pi * 440 * samples / 16_000)).astype(np.float32)
    assert np.abs(through_pcm(sound) - sound).max() <= 0.5 / 32_768 + 1e-9
    noise = through_adpcm(sound) - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) > 20
