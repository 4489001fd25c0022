"""What is wrong with channels is logged once, in one sentence with the source's name, and only where it is so."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import MonoResampler


def _noise(seconds: float, seed: int = 0, level: float = 0.05, rate: int = 16_000) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(rate * seconds))).astype(np.float32)


def _logged(
    caplog: pytest.LogCaptureFixture, *channels: np.ndarray, rate: int = 16_000, end: bool = True, chunk: int = 3_001
) -> list[str]:
    caplog.clear()
    frames = np.stack(channels, axis=1).astype(np.float32)
    resampler = MonoResampler(rate, watch=ChannelWatch("garden"))
    with caplog.at_level(logging.WARNING):
        for start in range(0, len(frames), chunk):
            resampler.accept(frames[start : start + chunk])
        if end:
            resampler.flush()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("seconds", [1, 4, 12])
def test_a_dead_channel(caplog: pytest.LogCaptureFixture, seconds: float, rate: int) -> None:
    sound = _noise(seconds, rate=rate)
    (message,) = _logged(caplog, sound, np.zeros_like(sound), rate=rate)
    assert message.startswith("garden: channel 2 of 2 held only digital silence")
    if rate == 16_000:
        (message,) = _logged(caplog, sound, np.full_like(sound, 0.25))
        assert "channel 2 of 2" in message, "DC is no sound"


def test_dead_channels_of_a_stream_are_told_before_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    sound = _noise(12)
    silent = np.zeros_like(sound)
    assert _logged(caplog, *[silent, sound], *[silent] * 4, sound, end=False) == [
        "garden: channels 1 and 3 to 6 of 7 held only digital silence: is one not connected?"
    ]


def test_channels_that_live(caplog: pytest.LogCaptureFixture) -> None:
    silent = np.zeros(16_000, np.float32)
    assert _logged(caplog, silent, silent) == [], "nothing is heard at all"
    assert _logged(caplog, _noise(4), _noise(4, 1)) == []
    assert _logged(caplog, _noise(4), _noise(4)) == []
    assert _logged(caplog, _noise(4), _noise(4, 1, 2e-5)) == [], "the last bit of 16 lives"
    late = _noise(8)
    late[:64_000] = 0
    assert _logged(caplog, _noise(8, 1), late) == []
    assert _logged(caplog, _noise(4)) == [], "there is one channel"


@pytest.mark.parametrize("level", [1.0, 0.5, -0.2])
def test_opposite_phase(caplog: pytest.LogCaptureFixture, level: float) -> None:
    sound = _noise(4)
    messages = _logged(caplog, sound, level * sound + _noise(4, 1, 1e-4))
    if level > 0:
        assert messages == []
    messages = _logged(caplog, sound, -level * sound + _noise(4, 1, 1e-4))
    assert (len(messages) == 1 and "channel 2 of 2 is in opposite phase" in messages[0]) == (level > 0)


def test_opposite_phase_of_equal_channels_that_lead_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    sound = _noise(4)
    swell = 1 + 0.1 * np.sin(np.arange(64_000) / 1_000)
    (message,) = _logged(caplog, sound * swell, -sound)
    assert "channel 2 of 2" in message


def test_phases_that_are_opposite_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    sound = _noise(8)
    turned = sound.copy()
    turned[32_000:64_000] *= -1
    assert _logged(caplog, sound, turned) == []


def test_clipping(caplog: pytest.LogCaptureFixture) -> None:
    loud = np.clip(_noise(3, 0, 1.0), -1, 1)
    loud = np.repeat(loud, 3)
    (message,) = _logged(caplog, _noise(9, 1), loud)
    assert message.startswith("garden: channel 2 is clipped, ")
    (message,) = _logged(caplog, np.repeat(np.clip(_noise(5, 0, 0.5), -1, 1), 3))
    assert message.startswith("garden: the sound is clipped, ")
    (message,) = _logged(caplog, np.repeat(np.clip(_noise(5, 0, 0.5), -1, 1), 3), end=False)
    assert _logged(caplog, np.clip(_noise(5, 0, 0.25), -1, 1)) == [], "a handful of samples"


def test_each_is_logged_once_a_source(caplog: pytest.LogCaptureFixture) -> None:
    watch = ChannelWatch("mic0")
    sound = np.repeat(np.clip(_noise(5, 0, 1.0), -1, 1), 3)
    frames = np.stack((sound, -sound, np.zeros_like(sound)), axis=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            resampler = MonoResampler(16_000, watch=watch)
            resampler.accept(frames)
            resampler.flush()
    assert len(caplog.records) == 3


def test_who_chose_the_channel_is_not_told_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    resampler = MonoResampler(16_000, Mixing(channel=1), ChannelWatch("mic0"))
    with caplog.at_level(logging.WARNING):
        resampler.accept(np.stack((_noise(4), np.zeros(64_000, np.float32)), axis=1))
        resampler.flush()
    assert caplog.records == []


def test_samples_that_are_no_numbers_are_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    broken = _noise(4)
    broken[::5_000] = np.nan
    assert _logged(caplog, broken, _noise(4)) == []
