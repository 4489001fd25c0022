"""Bundles with every graph in INT8 for this processor, to be timed: nothing gates them, so their words mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.plan import Log
from edge_aac.bundle.manifest import GraphRole, Seq2SeqManifest
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.processor import built_here
from quantize.device.check_windows import check_windows
from quantize.device.cpu.forms import CPU, described
from quantize.device.places import parent_of
from quantize.device.store import build_store
from quantize.graphs.calibration import observe
from quantize.graphs.int8 import dynamic_int8
from quantize.graphs.sound_inputs import ENCODER, SoundInputs

_CALIBRATION_WINDOWS = 4


def int8_copies(bundles: Sequence[str], folder: Path, log: Log) -> dict[str, str]:
    """A copy of each bundle that has no INT8 forms of its own: name → its folder."""
    made = {}
    for number, name in enumerate(bundles):
        bundle = open_bundle(name)
        if any(form.in_int8 for forms in bundle.manifest.graphs.values() for form in forms):
            continue
        log(f"{name}: quantising every graph, for its time alone")
        quantise(bundle, folder / str(number))
        made[name] = str(folder / str(number))
    return made


def quantise(source: Bundle, folder: Path) -> None:
    """Write the INT8 form of every graph, and the bundle around them, without a gate: random weights say nothing that
    a form could be unfaithful to."""
    graphs = dict(source.manifest.graphs)
    # Its own files are copied, and a form is no larger than its graph.
    needed_bytes = 2 * sum(source.path(file).stat().st_size for file in source.manifest.files())
    with build_store(source, folder, needed_bytes) as store:
        for role in source.manifest.graphs:
            parent = parent_of(source, role)
            path = store.new_file(f"{role}.int8", ".onnx")
            files = dynamic_int8(source.path(parent), path, ranges=_ranges(source, role))
            graphs[role] = [described(files, parent, parent, CPU, "int8", **built_here()), parent]
        store.commit(source.manifest.model_copy(update={"graphs": graphs}))


def _ranges(source: Bundle, role: GraphRole) -> dict[str, tuple[float, float]] | None:
    """Of the convolutions, which only the graphs that hear sound have."""
    rule = source.manifest_of(Seq2SeqManifest).patches
    hearing: tuple[GraphRole, ...] = (STEM, ENCODER) if rule else (ENCODER,)
    if role not in hearing:
        return None
    parents = {name: source.path(parent_of(source, name)) for name in hearing}
    inputs = SoundInputs.of_files(parents, rule).of(role, check_windows(_CALIBRATION_WINDOWS))
    return dict(observe(parents[role], inputs).ranges)
