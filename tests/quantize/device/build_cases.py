"""Bundles to build engines of, and what looks at them afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edge_aac.bundle.manifest import MANIFEST, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from quantize.device.build import BuildOptions, build_engines
from quantize.device.report import BuildReport
from quantize.device.timing import Timing

WINDOWS = 4
"""Check windows of a quick build: with two, the mean of the decoder's likelihoods is no longer faithful in INT8."""

SOME_LAYERS = 3
"""So many of the encoder's layers have ranges in the calibration of the tests."""

ROLES: tuple[GraphRole, ...] = tuple(open_bundle(DEFAULT_BUNDLE).manifest.graphs)
SMALL: tuple[GraphRole, ...] = tuple(role for role in ROLES if role != "text_embedder")
"""Left as they were exported, where the smallest graph alone says as much as all."""

CONVOLVED: GraphRole = "stem" if "stem" in ROLES else "encoder"
"""The graph with the most convolutions."""

FASTER, SLOWER = Timing(10.0, 5.0, 0.5, 9), Timing(10.0, 13.0, 1.3, 9)


def exported_bundle(target: Path) -> Path:
    """The built-in bundle as it was exported, in a folder of its own."""
    source = open_bundle(DEFAULT_BUNDLE)
    shutil.copytree(source.folder, target)
    table = json.loads((target / MANIFEST).read_text())
    table["graphs"] = {
        role: [form for form in forms if not form.get("parent_sha256")] for role, forms in table["graphs"].items()
    }
    if calibration := table.pop("calibration", None):
        (target / calibration["file"]).unlink()
    (target / MANIFEST).write_text(json.dumps(table))
    wanted = {file.file for file in open_bundle(str(target)).manifest.files()}
    for path in target.glob("*.onnx"):
        if path.name not in wanted:
            path.unlink()
    return target


def built(options: BuildOptions) -> tuple[BuildReport, list[str]]:
    """What a build reports, and what it told."""
    lines: list[str] = []
    return build_engines(options, lines.append), lines


def contents(folder: Path) -> dict[str, bytes]:
    """File → its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def precisions(folder: Path) -> dict[str, list[str]]:
    """Role → its forms in their order."""
    graphs = open_bundle(str(folder)).manifest.graphs
    return {role: [f"{form.backend} {form.precision}" for form in forms] for role, forms in graphs.items()}


def spoil(path: Path) -> None:
    """Shuffle what a graph has learnt."""
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array[::-1]), tensor.name))
    onnx.save_model(model, str(path))
