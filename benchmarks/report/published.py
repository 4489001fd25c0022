"""Bundles of the published sizes with random weights, fp32 and INT8, as the runtime loads them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.full_size import convert, make
from benchmarks.report.plan import Log
from edge_aac.bundle.manifest import MANIFEST, GraphRole, Seq2SeqManifest
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

FORMS = {"fp32": "bundle", "int8": "bundle-int8"}
"""Form → folder of its bundle."""

_CALIBRATION_WINDOWS = 4
_NEEDED_BYTES = 4_000_000_000


def prepare(folder: Path, embedder: str, log: Log) -> None:
    """Make what is not there yet; a folder from an earlier run is taken as it is.

    Args:
        folder: of all of them; 5 GB.
        embedder: size of the text embedder, of :data:`benchmarks.full_size.INSTRUCTORS`.
        log: is told each step.

    Raises:
        DeviceError: the folder cannot be written, or has too little room.
    """
    if not (folder / FORMS["fp32"] / MANIFEST).is_file():
        log("making the published sizes with random weights")
        make(folder, embedder)
        log("converting them")
        convert(folder)
    if not (folder / FORMS["int8"] / MANIFEST).is_file():
        log("quantising them")
        quantise(open_bundle(str(folder / FORMS["fp32"])), folder / FORMS["int8"])


def quantise(source: Bundle, folder: Path) -> None:
    """Write the INT8 form of every graph, and the bundle around them, without a gate: random weights say nothing that
    a form could be unfaithful to."""
    graphs = dict(source.manifest.graphs)
    with build_store(source, folder, _NEEDED_BYTES) as store:
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
