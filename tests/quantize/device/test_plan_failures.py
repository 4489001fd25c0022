"""What TensorRT says when it builds nothing, and what is made of it: a shortage of memory, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.errors import DataError
from quantize.device.profiles import smaller_profiles, told_profiles
from quantize.device.tensorrt.failures import OutOfMemoryError
from tests.edge_aac.engines.tensor_rt.trt_cases import install
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.device.product_graphs import X, build_here, request_of, write_products


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    write_products(tmp_path / "graph.onnx", [("one", 64, True)])
    return tmp_path / "graph.onnx"


def _failed(graph: Path, ways: Ways, monkeypatch: pytest.MonkeyPatch, **changes: int) -> Exception:
    install(monkeypatch, ways)
    with pytest.raises((OutOfMemoryError, DataError)) as caught:
        build_here(request_of(graph, graph.parent, X, **changes))
    return caught.value


@pytest.mark.parametrize("silent", [False, True])
def test_skipped_tactics_and_no_implementation_are_a_shortage_of_memory(
    graph: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """As warnings before the error, or before nothing at all; with less workspace the same graph is built."""
    ways = Ways(skips_above=1 << 27, silent=silent)
    failure = _failed(graph, ways, monkeypatch)
    assert isinstance(failure, OutOfMemoryError) and not failure.wants_workspace
    assert "4 warnings, the first: UNSUPPORTED_STATE: Skipping tactic 33 due to insufficient memory" in str(failure)
    assert ("Could not find any implementation" in str(failure)) != silent
    assert "\n" not in str(failure)
    made, _ = build_here(request_of(graph, graph.parent, X, smaller=1))
    assert made.workspace_bytes == 1 << 27


def test_the_same_warnings_before_a_plan_mean_nothing(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Ways(skips=True))
    build_here(request_of(graph, graph.parent, X))
    other = _failed(graph, Ways(skips=True, fails="Error Code 4: Internal Error (x: shapes differ)"), monkeypatch)
    assert isinstance(other, DataError) and "shapes differ" in str(other)


def test_a_graph_that_is_refused_is_no_shortage(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = _failed(graph, Ways(refuses=("INT8",)), monkeypatch)
    assert isinstance(refusal, DataError) and "Could not find any implementation" in str(refusal)
    install(monkeypatch, Ways(refuses=("FP8",)))
    build_here(request_of(graph, graph.parent, X))


def test_a_workspace_that_is_too_small(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller one would make it worse."""
    said = "Error Code 10: Could not find any implementation for node {one} due to insufficient workspace."
    failure = _failed(graph, Ways(fails=said), monkeypatch)
    assert isinstance(failure, OutOfMemoryError) and failure.wants_workspace
    installed = install(monkeypatch)
    build_here(request_of(graph, graph.parent, X, smaller=2, smaller_workspace=1))
    assert installed.tensorrt.builds[-1]["limits"] == {"WORKSPACE": 1 << 27, "TACTIC_DRAM": 1 << 27}


def test_smaller_profiles_keep_what_is_usual() -> None:
    profiles = {
        "token_ids": ((1, 1), (6, 1), (32, 1)),
        "text": ((1, 1), (2, 32), (16, 64)),
        "self_keys_0": ((1, 4, 1, 32), (6, 4, 32, 32), (32, 4, 32, 32)),
    }
    found = [smaller_profiles(profiles, halvings) for halvings in range(4)]
    assert found[0] == profiles
    assert [each["token_ids"][2][0] for each in found] == [32, 16, 8, 6]
    assert [each["text"][2] for each in found] == [(16, 64), (8, 64), (4, 64), (2, 64)]
    assert [each["self_keys_0"][2][0] for each in found] == [32, 16, 8, 6], "as many rows as tokens"
    assert told_profiles(found[1]) == {
        "token_ids": {"usual": [6, 1], "largest": [16, 1]},
        "text": {"usual": [2, 32], "largest": [8, 64]},
    }
