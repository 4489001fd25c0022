"""What INT8 costs in quality: the columns of the model card for a bundle in fp32 and in both of its INT8 forms.

    python -m benchmarks.int8_forms --bundle B --data FOLDER --fold 4 --seeds 5

"fp32" is what was exported, whatever forms the bundle holds. "int8" is what `edge-aac build-engine` takes on this
machine: graphs and convolutions that are not faithful or not faster in INT8 stay fp32, as reported beside the rows.
"int8+fp16" is what TensorRT plans are built from (explicit Q/DQ in the encoder, FP16 elsewhere), run in ONNX Runtime
for its numbers, and not gated here. Graphs are calibrated by the bundle's own calibration.

One clip of 80 is 1.25 points, and another draw of candidates moves several: every form is measured with the same few
seeds, and the rows are means with their range over these.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from benchmarks.command_line import at_least, run
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, Graph, GraphRole
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.errors import DeviceError, InputMissingError
from edge_aac.models.seq2seq import Captioner
from quantize.device.build import BuildOptions, build_engines
from quantize.device.places import parent_of
from quantize.evaluation.evaluate import evaluate_events
from quantize.evaluation.scenes import COMPARED, compared_rows
from quantize.graphs.calibration import Calibration, GraphCalibration, read_calibration
from quantize.graphs.int8 import explicit_int8, half


def main() -> None:
    """Evaluate the three and print them with their differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seeds", type=at_least(1), default=5, help="of the candidates: 0 up to this")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    calibration = calibration_of(bundle)

    def measured(form: Bundle) -> list[dict[str, Any]]:
        captioner = Captioner(form)
        return [
            evaluate_events(captioner, arguments.data, arguments.fold, arguments.scenes, seed, metrics=None)[0]
            for seed in range(arguments.seeds)
        ]

    with tempfile.TemporaryDirectory() as scratch:
        exported = as_exported(bundle, Path(scratch) / "fp32")
        scores = {"fp32": measured(exported)}
        built, outcomes = as_built(exported, Path(scratch) / "int8")
        scores["int8"] = measured(built)
        scores["int8+fp16"] = measured(in_plan_form(exported, Path(scratch) / "int8+fp16", calibration))
    print(json.dumps({"rows": _rows(scores), "lost": lost_points(scores), "int8_built": outcomes}, indent=1))


def _rows(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    return compared_rows([(name, scores) for name, group in measured.items() for scores in group])


def lost_points(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """What each form loses of each column against fp32, in the mean over the seeds; in points of 100.

    Args:
        measured: form → ``scores.json`` of each seed, "fp32" first.
    """
    means = {}
    for name, group in measured.items():
        rows = [compared_rows([(name, scores)])[name] for scores in group]
        means[name] = {column: float(np.mean([row[column] for row in rows])) for column in COMPARED}
    reference = means.pop("fp32")
    return {
        name: {column: round(100.0 * (reference[column] - row[column]), 2) for column in COMPARED}
        for name, row in means.items()
    }


def calibration_of(bundle: Bundle) -> Calibration:
    """The bundle's own.

    Raises:
        InputMissingError: it has none.
    """
    entry = bundle.manifest.calibration
    if entry is None:
        raise InputMissingError(f"bundle {bundle.opened_as!r} holds no calibration: export it with --calibrate")
    return read_calibration(bundle.path(entry))


def write_plan_form(parent: Path, output: Path, role: GraphRole, found: GraphCalibration) -> None:
    """What a plan is built from, with interfaces of fp32, so that the other graphs and the runtime's caches fit it."""
    if role in {STEM, "encoder"}:
        explicit_int8(parent, output, found.ranges, found.keep, found.smoothing, found.overflowing)
    else:
        half(parent, output, {*found.keep, *found.overflowing})
    onnx.save(with_float_interfaces(onnx.load(str(output))), str(output))


def with_float_interfaces(model: ModelProto) -> ModelProto:
    """The same graph with a cast at each input and output that is FP16."""
    graph = model.graph
    for entries, is_input in ((graph.input, True), (graph.output, False)):
        for entry in entries:
            if entry.type.tensor_type.elem_type != TensorProto.FLOAT16:
                continue
            inner = f"{entry.name}/half"
            for node in graph.node:
                names = node.input if is_input else node.output
                for place, name in enumerate(names):
                    if name == entry.name:
                        names[place] = inner
                if not is_input:  # an output may be read inside as well
                    for place, name in enumerate(node.input):
                        if name == entry.name:
                            node.input[place] = inner
            kind = TensorProto.FLOAT16 if is_input else TensorProto.FLOAT
            ends = ([entry.name], [inner]) if is_input else ([inner], [entry.name])
            cast = helper.make_node("Cast", *ends, to=kind)
            graph.node.insert(0 if is_input else len(graph.node), cast)
            entry.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def as_exported(bundle: Bundle, folder: Path) -> Bundle:
    """A copy of a bundle without what build-engine made of its graphs."""
    shutil.copytree(bundle.folder, folder, ignore=shutil.ignore_patterns(".*"))
    table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    table["graphs"] = {
        role: [form for form in forms if not form.get("parent_sha256")] for role, forms in table["graphs"].items()
    }
    (folder / MANIFEST).write_text(json.dumps(table), encoding="utf-8")
    return open_bundle(str(folder))


def as_built(exported: Bundle, output: Path) -> tuple[Bundle, list[str]]:
    """What build-engine makes of it for this machine's processor, and what became of each form that it tried.

    Raises:
        DeviceError: it takes none.
    """
    options = BuildOptions(str(exported.folder), output=output, backend="onnxruntime")
    report = build_engines(options, lambda line: print(line, file=sys.stderr))
    if not report.written:
        raise DeviceError(
            f"build-engine takes no INT8 form here ({report.failure or 'none is faster'}): measure on the machine that "
            "the forms are for"
        )
    return open_bundle(str(output)), [f"{form.role}: {form.outcome}" for form in report.forms]


def in_plan_form(bundle: Bundle, folder: Path, calibration: Calibration) -> Bundle:
    """A copy of an exported bundle whose graphs are all of the form that plans are built from."""
    shutil.copytree(bundle.folder, folder)
    table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for role in bundle.manifest.graphs:
        parent = parent_of(bundle, role)
        output = folder / f"{role}.form.onnx"
        write_plan_form(bundle.path(parent), output, role, _found(calibration, role, parent))
        entry = next(form for form in table["graphs"][role] if form["file"] == parent.file)
        entry.update(file=output.name, sha256=file_sha256(output), external_data=[])
        table["graphs"][role] = [entry]
    (folder / MANIFEST).write_text(json.dumps(table), encoding="utf-8")
    return open_bundle(str(folder))


def _found(calibration: Calibration, role: GraphRole, parent: Graph) -> GraphCalibration:
    return calibration.graphs.get(role) or GraphCalibration(parent_sha256=parent.sha256, ranges={})


if __name__ == "__main__":
    run(main)
