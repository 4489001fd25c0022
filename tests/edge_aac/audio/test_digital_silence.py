"""Digital silence: what no microphone gives is told from a quiet room."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge_aac.audio.digital_silence import DigitalSilence
from edge_aac.audio.resample import MonoResampler

pytestmark = pytest.mark.one_python

_SECOND = 16_000


def _quiet_room(seconds: int) -> np.ndarray:
    """The least that a converter of 16 bits gives: its last bit, now and then."""
    samples = np.zeros(seconds * _SECOND, np.float32)
    samples[::_SECOND] = 2.0**-15
    return samples


def _observed(watch: DigitalSilence, samples: np.ndarray) -> str | None:
    for start in range(0, len(samples), 1_600):
        watch.observe(samples[start : start + 1_600])
    return watch.warning


def test_minutes_of_zeros_are_a_warning_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = DigitalSilence("garden")
    with caplog.at_level(logging.WARNING):
        assert _observed(watch, np.zeros(119 * _SECOND, np.float32)) is None
        assert caplog.messages == []
        warning = _observed(watch, np.zeros(2 * _SECOND, np.float32))
        assert warning == "gives digital silence for 2 minutes: it is muted, or its cable is broken"
        assert _observed(watch, np.zeros(600 * _SECOND, np.float32)) == warning.replace("2 minutes", "12 minutes")
        assert caplog.messages == [f"garden {warning}"]
        assert _observed(watch, _quiet_room(1)) is None
        assert caplog.messages[1:] == ["garden gives sound again"]
        # The next time is another one.
        assert _observed(watch, np.zeros(121 * _SECOND, np.float32)) is not None
        assert len(caplog.messages) == 3


def test_a_quiet_room_is_not_silent(caplog: pytest.LogCaptureFixture) -> None:
    watch = DigitalSilence("garden")
    assert _observed(watch, _quiet_room(600)) is None
    assert caplog.messages == []


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_stuck_value_is_told_as_what_it_is(rate: int) -> None:
    watch, resampler = DigitalSilence("garden"), MonoResampler(rate)
    for _ in range(130):
        watch.observe(resampler.accept(np.full((rate, 1), -0.25, np.float32)))
    assert watch.warning == (
        "gives one constant value (-0.25 of full scale) for 2 minutes: its cable or its converter is broken"
    )


def test_another_constant_starts_anew() -> None:
    watch = DigitalSilence("garden")
    _observed(watch, np.zeros(100 * _SECOND, np.float32))
    assert _observed(watch, np.full(100 * _SECOND, 0.5, np.float32)) is None
    assert _observed(watch, np.full(30 * _SECOND, 0.5, np.float32)) is not None


def test_a_slow_drift_is_no_constant() -> None:
    watch = DigitalSilence("garden")
    assert _observed(watch, np.linspace(0, 1e-3, 300 * _SECOND, dtype=np.float32)) is None


def test_no_samples_and_no_numbers_are_nothing() -> None:
    watch = DigitalSilence("garden")
    watch.observe(np.zeros(0, np.float32))
    assert _observed(watch, np.full(200 * _SECOND, np.nan, np.float32)) is None
