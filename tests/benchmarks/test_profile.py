"""The profile of a bundle's graphs, and what it is there to show."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="the profile reads graphs with onnx: pip install 'edge-aac[train]'")

from benchmarks.profile import STATES, cache_readers, profile  # noqa: E402
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle  # noqa: E402


def test_the_shipped_decoder_copies_no_cache() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    readers = cache_readers(bundle.path(bundle.manifest.graphs["decoder"][0]))
    assert set(readers) == set(STATES)
    for operators in readers.values():
        # Its capacity is read off its shape; all else is a product.
        assert set(operators) <= {"MatMul", "Transpose→MatMul", "Shape"}


def test_profile_accounts_for_a_run() -> None:
    table, outputs = profile(open_bundle(DEFAULT_BUNDLE), "encoder", 1, {"windows": 1})
    assert outputs["audio_embedding"].shape == (1, open_bundle(DEFAULT_BUNDLE).manifest.embedding_size)
    parts = [float(text.split(" ")[0]) for text in table["by_operator"].values()]
    assert sum(parts) == pytest.approx(table["ms"], abs=0.02)
    assert table["ms"] > 0
