"""The built-in bundle with engines of TensorRT, as a stand-in runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.tensor_rt.engine import this_gpu
from tests.edge_aac.engines.tensor_rt.trt_cases import install, plan_of
from tests.quantize.device.build_cases import exported_bundle


def planned_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the stand-in, and make a bundle with a plan for its GPU of every graph."""
    install(monkeypatch)
    gpu = this_gpu()
    exported_bundle(folder)
    bundle = open_bundle(str(folder))
    table = json.loads((folder / MANIFEST).read_text())
    for role, (parent, *_) in bundle.manifest.graphs.items():
        source = {**table["graphs"][role][0], "backend": "tensorrt-onnx", "parent_sha256": parent.sha256}
        path = plan_of(bundle, role, folder)
        plan = {
            **source,
            **{"file": path.name, "sha256": file_sha256(path), "backend": "tensorrt", "precision": "fp16"},
            **{"parent_sha256": source["sha256"], "built_with": {"gpu": gpu.name, "tensorrt": gpu.tensorrt}},
        }
        table["graphs"][role] = [plan, table["graphs"][role][0], source]
    (folder / MANIFEST).write_text(json.dumps(table))
    return folder
