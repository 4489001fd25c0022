"""The options ``?channel=`` and ``?mix=``: what is heard, and what a user is told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.mixing import Mixing, refuse_absent_channel
from edge_aac.audio.sources.address import open_source
from edge_aac.audio.sources.mixing_options import mixing_of
from edge_aac.errors import UsageError


@pytest.fixture
def three_channels(tmp_path: Path) -> Path:
    path = tmp_path / "three.wav"
    soundfile.write(path, np.tile([0.5, -0.25, 0.125], (20_000, 1)), 16_000)
    return path


def _heard(uri: str) -> np.ndarray:
    source = open_source(uri)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    source.close()
    return np.concatenate(blocks)


@pytest.mark.parametrize(("channel", "value"), [(1, 0.5), (2, -0.25), (3, 0.125)])
def test_one_channel_of_a_file(three_channels: Path, channel: int, value: float) -> None:
    assert np.array_equal(_heard(f"file:{three_channels}?channel={channel}"), np.full(20_000, value, np.float32))


def test_the_mean_of_a_file(three_channels: Path) -> None:
    assert np.array_equal(_heard(f"file:{three_channels}?mix=mean"), np.full(20_000, 0.125, np.float32))
    assert len(_heard(f"file:{three_channels}?mix=equalized")) == 20_000


def test_a_channel_that_a_file_lacks(three_channels: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"'{three_channels}' has no channel 4: it has 3 channels"):
        open_source(f"file:{three_channels}?channel=4")
    soundfile.write(tmp_path / "mono.wav", np.zeros(100), 16_000)
    with pytest.raises(UsageError, match="it has only one channel"):
        open_source(f"file:{tmp_path / 'mono.wav'}?channel=2")


@pytest.mark.parametrize(
    ("options", "mixing"),
    [
        ({}, Mixing()),
        ({"mix": "equalized"}, Mixing()),
        ({"mix": "mean"}, Mixing("mean")),
        ({"channel": "7"}, Mixing(channel=7)),
    ],
)
def test_options(options: dict[str, str], mixing: Mixing) -> None:
    assert mixing_of(options) == mixing


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mix": "loud"}, "mix=equalized or mix=mean"),
        ({"channel": "0"}, "from 1 to"),
        ({"channel": "left"}, "from 1 to"),
        ({"channel": "1", "mix": "mean"}, "exclude each other"),
    ],
)
def test_wrong_options(options: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        mixing_of(options)


def test_channels_that_are_there() -> None:
    for mixing in (Mixing(), Mixing("mean"), Mixing(channel=1), Mixing(channel=2)):
        refuse_absent_channel(mixing, 2, "a.wav")
