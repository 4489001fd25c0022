"""The demo scene: reproducible, at a natural level, with rain all along and a beat every second."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.demo import DemoSource, open_demo, synthesise_demo
from edge_aac.errors import UsageError
from tests.edge_aac.fakes import read_until_closed


def _opened(uri: str, name: str | None = None) -> DemoSource:
    return open_demo(Address.parse(uri), SourceContext(name))


def test_same_seed_same_samples() -> None:
    scene = synthesise_demo(3.0, seed=7)
    assert scene.dtype == np.float32
    assert scene.shape == (48_000,)
    assert np.array_equal(scene, synthesise_demo(3.0, seed=7))
    assert not np.array_equal(scene, synthesise_demo(3.0, seed=8))


@pytest.mark.parametrize("seconds", [0.0, 1e-4, 0.1, 0.26, 1.0, 61.0])
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
    source = _opened("demo:?seconds=2.5&seed=3")
    assert (source.label, source.live, source.lost_samples()) == ("demo", False, 0)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), synthesise_demo(2.5, 3))
    source.close()
    source.close()
    assert source.read() is None


def test_a_name_from_the_configuration_is_the_label() -> None:
    source = _opened("demo:?seed=3", "scene")
    assert (source.label, source.state, source.reconnects) == ("scene", "listening", 0)


def test_default_is_twenty_seconds() -> None:
    source = _opened("demo:")
    total = 0
    while (block := source.read()) is not None:
        total += len(block)
    assert total == 320_000


def test_close_ends_a_paced_read() -> None:
    source = _opened("demo:?seconds=2&speed=0.01")
    assert read_until_closed(source) == [None]


@pytest.mark.parametrize("uri", ["demo:x", "demo:?seconds=0", "demo:?seconds=1e9", "demo:?seconds=nan", "demo:?loud=1"])
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError):
        _opened(uri)
