"""The section ``[load]``: what it makes of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edge_aac.streaming.gate import SameGate
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.load import heat_watch, hop_limits, same_gate
from edge_aac.streaming.load_settings import LoadSettings


def test_by_default_the_hop_adapts_and_every_window_is_decoded() -> None:
    load = LoadSettings()
    assert hop_limits(load) == HopLimits(10.0, 4.0)
    assert same_gate(load) is None


def test_all_of_it_can_be_set() -> None:
    load = LoadSettings(adapt_hop=False, same_sound=0.9, same_level_db=3.0, refresh_s=20.0)
    assert hop_limits(load) is None
    assert same_gate(load) == SameGate(0.9, 3.0, 160_000, 320_000)
    watch = heat_watch(load)
    watch.tick()
    assert watch.share == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_hop_s": 10.1},
        {"max_quiet_hop_s": 0.0},
        {"warm_c": 80.0, "hot_c": 80.0},
        {"same_sound": 1.1},
        {"refresh_s": 0.0},
        {"hot_c": float("nan")},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LoadSettings(**wrong)
