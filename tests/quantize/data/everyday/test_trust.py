"""How far a tagger is believed, by class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantize.data.everyday.ontology import audioset
from quantize.data.everyday.trust import at_average, share_right, threshold, with_odds

_NODES = audioset().nodes


def test_the_curve_is_what_was_counted() -> None:
    assert share_right(np.array([0.15, 0.4, 0.85])) == pytest.approx([0.29, 0.58, 0.92])
    assert share_right(np.array([0.0])) == [0.0]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("Speech", 0.6, 0.7),
        ("Music", 0.6, 0.7),
        ("Baby cry, infant cry", 0.15, 0.3),
        ("Dog", 0.3, 0.45),
        ("Snoring", 0.75, 0.9),
        ("Siren", 0.5, 0.6),
    ],
)
def test_thresholds_follow_what_was_right(name: str, low: float, high: float) -> None:
    found = threshold(_NODES[name], 0.7)
    assert found is not None and low <= found <= high


def test_what_was_never_right_is_never_believed() -> None:
    assert threshold(_NODES["Speech synthesizer"], 0.7) is None


def test_at_its_threshold_a_class_is_as_sure_as_was_asked() -> None:
    for node in audioset().classes:
        found = threshold(node, 0.7)
        if found is not None:
            given_ = np.zeros(527)
            given_[node.index or 0] = found
            assert share_right(at_average(given_))[node.index or 0] >= 0.7 - 1e-6, node.name


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_is_never_less_sure(one: float, other: float) -> None:
    less, more = (share_right(at_average(np.full(527, value))) for value in sorted((one, other)))
    assert (more >= less - 1e-9).all()


@given(st.floats(0.0, 1.0), st.floats(-3.0, 3.0))
def test_odds_keep_shares_between_0_and_1(share: float, odds: float) -> None:
    moved = float(with_odds(np.array(share), odds))
    assert 0.0 <= moved <= 1.0
    assert moved == 0.0 if share == 0.0 else (moved >= share - 1e-5 if odds >= 0.0 else moved <= share + 1e-5)
