"""The INT8 forms, for processors, of a bundle that answers prompts: made, and kept if faithful."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from edge_aac.engines.processor import built_here
from edge_aac.models.prompted import Prompted
from quantize.device.cpu.forms import CPU, described
from quantize.device.gate import Agreement, agreement
from quantize.device.kinds.prompted import check_answers
from quantize.graphs.front_end import front_end
from quantize.graphs.int8 import dynamic_int8
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.progress import Log

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fidelity:
    """How far forms are from the exported graphs.

    Attributes:
        agreement: of what they compute.
        time_ratio: of the time of the exported graphs.
    """

    agreement: Agreement
    time_ratio: float

    def __str__(self) -> str:
        agreed = self.agreement
        return (
            f"cosine of prefixes {min(agreed.audio_cosine, agreed.text_cosine):.4f}, {agreed.captions_equal:.1%} of "
            f"{agreed.equal_of} equal, log-likelihood {agreed.log_likelihood_difference:.1%} apart, "
            f"{self.time_ratio:.2f} of fp32's time"
        )


def add_int8(bundle: Bundle, clips: Sequence[Array], prompts: Sequence[str], log: Log) -> dict[GraphRole, list[Graph]]:
    """Make the INT8 form of each graph; those stay that are faithful by themselves and together.

    Args:
        bundle: with exported graphs, in whose folder the forms are written.
        clips, prompts: that forms are compared on, each clip with each prompt.
        log: called with a line for each form.

    Returns:
        The forms of every graph, the preferred one first.

    Raises:
        DataError: a graph cannot be converted.
    """
    exported = {role: forms[0] for role, forms in bundle.manifest.graphs.items()}
    reference = _opened(bundle, {})
    wanted = check_answers(reference, clips, prompts)

    def fidelity(forms: Mapping[GraphRole, Graph]) -> Fidelity:
        """Both ways are heard anew, one right after the other, so that a load meets both."""
        taken, found = [], wanted
        for each in (reference, _opened(bundle, forms)):
            started = time.perf_counter()
            found = check_answers(each, clips, prompts, wanted.answers)
            taken.append(time.perf_counter() - started)
        return Fidelity(agreement(wanted, found), taken[1] / taken[0])

    made: dict[GraphRole, Graph] = {}
    for role, parent in exported.items():
        form = _quantised(bundle.folder, role, parent)
        if form is None:
            log(f"{role}, INT8: none of its layers is large enough, so it is left out")
            continue
        found = fidelity({role: form})
        complaints = found.agreement.complaints()
        log(f"{role}, INT8: {', '.join(complaints) + ', so it is left out' if complaints else found}")
        if complaints:
            _remove(bundle.folder, form)
        else:
            made[role] = form
    kept = _faithful_together(made, fidelity, log)
    for role in made.keys() - kept.keys():
        _remove(bundle.folder, made[role])
    return {role: [*([kept[role]] if role in kept else []), parent] for role, parent in exported.items()}


def _faithful_together(
    made: Mapping[GraphRole, Graph], fidelity: Callable[[Mapping[GraphRole, Graph]], Fidelity], log: Log
) -> dict[GraphRole, Graph]:
    """As many forms as are faithful beside each other; each is by itself."""
    for count in range(len(made), 1, -1):
        for roles in combinations(made, count):
            some = {role: made[role] for role in roles}
            found = fidelity(some)
            complaints = found.agreement.complaints()
            log(f"{' and '.join(roles)} together, INT8: {', '.join(complaints) or found}")
            if not complaints:
                return some
    return dict(list(made.items())[:1])


def _opened(bundle: Bundle, forms: Mapping[GraphRole, Graph]) -> Prompted:
    graphs = {role: [forms.get(role, exported[0])] for role, exported in bundle.manifest.graphs.items()}
    manifest = bundle.manifest.model_copy(update={"graphs": graphs})
    return Prompted(Bundle(bundle.folder, manifest, bundle.opened_as), EngineOptions(ONNX_RUNTIME))


def _quantised(folder: Path, role: GraphRole, parent: Graph) -> Graph | None:
    """The INT8 form; None of a graph that has nothing to quantise."""
    path = folder / parent.file
    file = OnnxFile(path)
    keep = front_end(file)
    # Without ranges, convolutions stay as they are.
    if not any(layer.kind != "Conv" and layer.name not in keep for layer in quantisable_layers(file)):
        return None
    files = dynamic_int8(path, folder / f"{role}.int8.onnx", keep)
    return described(files, parent, parent, CPU, "int8", onnxruntime=onnxruntime.__version__, **built_here())


def _remove(folder: Path, form: Graph) -> None:
    for file in (form, *form.external_data):
        (folder / file.file).unlink()
