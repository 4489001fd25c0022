"""Bounds from rates and costs that are known, and costs of the shipped bundle."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="costs are counted on graphs with onnx: pip install 'edge-aac[build]'")

from benchmarks.report.limit import bound, graph_parts, rates  # noqa: E402
from benchmarks.report.side_by_side import Taken  # noqa: E402
from edge_aac.bundle.store import DEFAULT_BUNDLE  # noqa: E402

FOUND = {"fp32_gmacs_per_s": 100.0, "int8_gmacs_per_s": 400.0, "copy_gb_per_s": 10.0, "read_gb_per_s": 20.0}
PART = {"macs": 1_000_000_000, "weight_macs": 800_000_000, "product_weights": 3_000_000, "bytes": 20_000_000}


def test_a_rate_is_that_of_the_fastest_repetition() -> None:
    rows = [
        {"fp32": 20.0, "int8": 5.0, "copy": 40.0, "read": 10.0},
        {"fp32": 10.0, "int8": 8.0, "copy": 50.0, "read": 20.0},
    ]
    about = {"macs": 1_000_000_000, "bytes": 400_000_000}
    taken = Taken(rows={"rates": list(rows)}, about={"rates": about}, left_out={"bf16": "left out: it needs torch"})
    assert rates(taken) == {
        "fp32_gmacs_per_s": 100.0,
        "int8_gmacs_per_s": 200.0,
        "copy_gb_per_s": 10.0,
        "read_gb_per_s": 40.0,
    }
    both = Taken({**taken.rows, "bf16": [{"bf16": 2.0}]}, {**taken.about, "bf16": {"macs": 1_000_000_000}})
    assert rates(both)["bf16_gmacs_per_s"] == 500.0


def test_int8_counts_products_with_weights_at_its_own_rate_and_a_byte_each() -> None:
    assert bound(PART, "fp32", FOUND) == {"arithmetic_ms": 10.0, "memory_ms": 1.0}
    assert bound(PART, "int8", FOUND) == {"arithmetic_ms": pytest.approx(4.0), "memory_ms": pytest.approx(0.55)}


def test_the_decoder_counts_for_every_step_and_candidate() -> None:
    few, many = graph_parts(DEFAULT_BUNDLE, 2, 11), graph_parts(DEFAULT_BUNDLE, 4, 21)
    assert few["encoder"] == many["encoder"]
    assert many["decoder"]["weight_macs"] == 4 * few["decoder"]["weight_macs"]
    assert many["decoder"]["bytes"] > 2 * few["decoder"]["bytes"]
