"""TensorRT works out the shapes within a plan before it runs; where it cannot, its binding raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError
from tests.edge_aac.engines.tensor_rt import trt_stand_in_run
from tests.edge_aac.engines.tensor_rt.trt_cases import install, plan_of

pytestmark = pytest.mark.one_python


def test_shapes_that_cannot_be_inferred_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    bundle = open_bundle(DEFAULT_BUNDLE)
    plan = plan_of(bundle, "text_embedder", tmp_path)

    def fail(context: Any) -> NoReturn:
        logger = context._engine._logger
        installed.tensorrt.log_line(logger, "ERROR", "Error Code 4: Reshape_12: volumes of dimensions differ\nmore")
        raise RuntimeError("IExecutionContext::inferShapes failed\nat executionContext.cpp:1")

    monkeypatch.setattr(trt_stand_in_run.Context, "_infer_shapes", fail)
    with pytest.raises(DataError, match="inferShapes failed.*Reshape_12.*run `edge-aac build-engine") as caught:
        TensorRtEngine(plan, DeviceContext(), bundle.build_command)
    assert "\n" not in str(caught.value) and "executionContext.cpp" not in str(caught.value)
