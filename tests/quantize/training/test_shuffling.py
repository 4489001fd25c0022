"""The order of a round's examples is drawn once, not for each of them."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.training import batches
from quantize.training.batches import shuffled


def test_a_round_is_shuffled_once_for_all_of_its_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    generator = np.random.default_rng

    def counted(seed: object) -> np.random.Generator:
        drawn.append(seed)
        return generator(seed)  # type: ignore[arg-type]

    shuffled.cache_clear()
    monkeypatch.setattr(batches.np.random, "default_rng", counted)
    for round_ in range(3):
        places = [int(shuffled(7, round_, 1_000)[place]) for place in range(1_000)]
        assert sorted(places) == list(range(1_000))
    assert len(drawn) == 3
    assert not np.array_equal(shuffled(7, 0, 1_000), shuffled(7, 1, 1_000))
    shuffled.cache_clear()


def test_nobody_can_change_the_order_that_all_share() -> None:
    with pytest.raises(ValueError, match="read-only"):
        shuffled(7, 0, 10)[0] = 3
