"""Where the time of a window goes inside the graphs: milliseconds by operator, as ONNX Runtime's profiler has them.

    python -m benchmarks.profile --candidates 6

The encoder runs once a window and gives the cross-attention keys and values of all decoder layers; the decoding step
runs up to ``max_length`` - 1 times. For the step it also says which operators read the caches, and how many bytes of
them go in, as they lie, and come out, as new rows: what reads a cache by MatMul copies none of it. The form of each
graph is the one that ``--backend onnxruntime`` runs on this machine; its file is named.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.command_line import at_least, run
from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from quantize.graphs.onnx_file import load_structure

RUNS = 20
SHOWN = 8
STATES = ("self_keys", "self_values", "cross_keys", "cross_values")


def main() -> None:
    """Profile the encoder and the decoding step of one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--candidates", type=at_least(1), default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    encoder, encoded = profile(bundle, "encoder", arguments.threads, {"windows": 1})
    sizes = {  # of one window
        "rows": arguments.candidates,
        "windows": 1,
        "capacity": bundle.manifest.decoding.max_length - 1,
        "memory_steps": encoded["cross_keys"].shape[3],
    }
    decoder, stepped = profile(bundle, "decoder", arguments.threads, sizes)
    decoder["cache_bytes_in"] = sum(
        int(np.prod([sizes.get(str(size), size) for size in shape])) * 4
        for name, shape in form_here(bundle, "decoder").shapes.items()
        if name.startswith(STATES)
    )
    decoder["new_row_bytes_out"] = stepped["new_keys"].nbytes + stepped["new_values"].nbytes
    decoder["caches_are_read_by"] = cache_readers(bundle.path(form_here(bundle, "decoder")))
    steps = bundle.manifest.decoding.max_length - 1
    heard: dict[str, Any] = {}
    if bundle.manifest.patches:
        heard["stem_once_a_patch"], _ = profile(bundle, STEM, arguments.threads, {"patches": 1})
    heard["encoder_once_a_window"] = encoder
    print(json.dumps({**heard, f"decoder_up_to_{steps}_times": decoder}, indent=1))


def form_here(bundle: Bundle, role: GraphRole) -> Graph:
    """What ONNX Runtime runs of a graph on this machine."""
    return load_engine(bundle, role, EngineOptions(ONNX_RUNTIME))[1]


def profile(
    bundle: Bundle, role: GraphRole, threads: int, sizes: dict[str, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean milliseconds a run, in all and by operator, and the outputs of a run."""
    graph = form_here(bundle, role)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / role)
        session = onnxruntime.InferenceSession(str(bundle.path(graph)), options, providers=["CPUExecutionProvider"])
        inputs = {entry.name: _example(entry, sizes) for entry in session.get_inputs()}
        for _ in range(RUNS):
            outputs = session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    by_operator: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            by_operator[event["args"]["op_name"]] += event["dur"] / 1e3 / RUNS
    total = sum(by_operator.values())
    ranked = sorted(by_operator.items(), key=lambda item: -item[1])
    table = {name: f"{ms:.3f} ms, {100 * ms / total:.1f} %" for name, ms in ranked[:SHOWN]}
    table["others"] = f"{sum(ms for _, ms in ranked[SHOWN:]):.3f} ms"
    names = [output.name for output in session.get_outputs()]
    profile = {"form": f"{graph.file} ({graph.precision})", "ms": round(total, 2), "by_operator": table}
    return profile, dict(zip(names, outputs, strict=True))


def _example(entry: Any, sizes: dict[str, int]) -> np.ndarray:
    shape = [sizes.get(size, size) for size in entry.shape]
    if "float" in entry.type:
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return np.zeros(shape, bool) if "bool" in entry.type else np.full(shape, 5, np.int64)


def cache_readers(path: Path) -> dict[str, list[str]]:
    """Cache → the operators that read it, by way of a transpose or not (ONNX Runtime fuses it into the product)."""
    graph = load_structure(path).graph
    readers: dict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        for name in node.input:
            if (state := name.rpartition("_")[0]) in STATES:
                after = [f"→{user.op_type}" for user in graph.node if node.output[0] in user.input]
                readers[state].add(node.op_type + (after[0] if node.op_type == "Transpose" else ""))
    return {state: sorted(operators) for state, operators in readers.items()}


if __name__ == "__main__":
    run(main)
