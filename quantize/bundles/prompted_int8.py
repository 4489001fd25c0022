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
from quantize.device.gate import MAX_LIKELIHOOD_DIFFERENCE, MIN_CAPTIONS_EQUAL, MIN_COSINE, lowest_cosine
from quantize.graphs.int8 import dynamic_int8
from quantize.graphs.layers import node_name, quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.progress import Log

Array = npt.NDArray[np.float32]

MAX_FED = 24
"""Tokens of an answer along which a decoder is compared."""
_FILTER_BANK = "melW"
"""Part of the name of HTSAT's filter bank: powers span ten orders of magnitude, of which INT8 would keep two."""


@dataclass(frozen=True)
class Told:
    """What a bundle computes for the checks, decoding along given answers.

    Attributes:
        prefixes: (N, P · D), the whole prefix of each check.
        tokens: (T,) the likeliest token at every position of every answer.
        log_likelihood: mean of the answers' tokens.
        seconds: that it took.
    """

    prefixes: Array
    tokens: npt.NDArray[np.int64]
    log_likelihood: float
    seconds: float


@dataclass(frozen=True)
class Fidelity:
    """How far forms are from the exported graphs.

    Attributes:
        cosine: lowest of a prefix.
        tokens_equal: share of the likeliest tokens.
        likelihood_difference: of the answers' mean log-likelihood, relative to the exported graphs'.
        time_ratio: of the time of the exported graphs.
    """

    cosine: float
    tokens_equal: float
    likelihood_difference: float
    time_ratio: float

    @classmethod
    def of(cls, parent: Told, form: Told) -> Fidelity:
        """Compare what two forms of a bundle told of the same checks."""
        return cls(
            lowest_cosine(parent.prefixes, form.prefixes),
            float(np.mean(parent.tokens == form.tokens)),
            abs(form.log_likelihood - parent.log_likelihood) / max(abs(parent.log_likelihood), 1e-9),
            form.seconds / parent.seconds,
        )

    def complaints(self) -> list[str]:
        """What `edge-aac build-engine` would refuse such forms for; empty for faithful ones. NaN fails."""
        checks = (
            (self.cosine >= MIN_COSINE, f"prefixes turn (cosine {self.cosine:.4f})"),
            (self.tokens_equal >= MIN_CAPTIONS_EQUAL, f"{self.tokens_equal:.1%} of the likeliest tokens are equal"),
            (
                self.likelihood_difference <= MAX_LIKELIHOOD_DIFFERENCE,
                f"mean log-likelihood differs by {self.likelihood_difference:.1%}",
            ),
        )
        return [complaint for passed, complaint in checks if not passed]

    def __str__(self) -> str:
        return (
            f"cosine of prefixes {self.cosine:.4f}, {self.tokens_equal:.1%} of the likeliest tokens equal, "
            f"log-likelihood {self.likelihood_difference:.1%} apart, {self.time_ratio:.2f} of fp32's time"
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
    answers = [
        [reference.answer(reference.hear(clip), prompt).beams.rows()[0][:MAX_FED] for clip in clips]
        for prompt in prompts
    ]

    def fidelity(forms: Mapping[GraphRole, Graph]) -> Fidelity:
        """Both ways are told anew, one right after the other, so that a load meets both."""
        model = _opened(bundle, forms)
        return Fidelity.of(*(told(each, clips, prompts, answers) for each in (reference, model)))

    made: dict[GraphRole, Graph] = {}
    for role, parent in exported.items():
        form = _quantised(bundle.folder, role, parent)
        if form is None:
            log(f"{role}, INT8: none of its layers is large enough, so it is left out")
            continue
        found = fidelity({role: form})
        complaints = found.complaints()
        log(f"{role}, INT8: {', '.join(complaints) + ', so it is left out' if complaints else found}")
        if complaints:
            _remove(bundle.folder, form)
        else:
            made[role] = form
    kept = _faithful_together(made, fidelity, log)
    for role in made.keys() - kept.keys():
        _remove(bundle.folder, made[role])
    return {role: [*([kept[role]] if role in kept else []), parent] for role, parent in exported.items()}


def told(
    model: Prompted, clips: Sequence[Array], prompts: Sequence[str], answers: Sequence[Sequence[Sequence[int]]]
) -> Told:
    """Run a bundle over the checks, decoding along ``answers``, for each prompt one a clip."""
    started = time.perf_counter()
    prefixes, tokens, likelihoods = [], [], []
    for prompt, of_prompt in zip(prompts, answers, strict=True):
        for clip, answer in zip(clips, of_prompt, strict=True):
            followed = model.follow(model.hear(clip), prompt, answer)
            prefixes.append(followed.prefix.reshape(-1))
            tokens.append(followed.logits.argmax(axis=1))
            likelihoods += [followed.log_likelihood(answer)] * len(answer)
    seconds = time.perf_counter() - started
    return Told(np.stack(prefixes), np.concatenate(tokens), float(np.mean(likelihoods)), seconds)


def _faithful_together(
    made: Mapping[GraphRole, Graph], fidelity: Callable[[Mapping[GraphRole, Graph]], Fidelity], log: Log
) -> dict[GraphRole, Graph]:
    """As many forms as are faithful beside each other; each is by itself."""
    for count in range(len(made), 1, -1):
        for roles in combinations(made, count):
            some = {role: made[role] for role in roles}
            found = fidelity(some)
            complaints = found.complaints()
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
    keep = [node_name(node) for node in file.graph.node if any(_FILTER_BANK in name for name in node.input)]
    # Without ranges, convolutions stay as they are.
    if not any(layer.kind != "Conv" and layer.name not in keep for layer in quantisable_layers(file)):
        return None
    files = dynamic_int8(path, folder / f"{role}.int8.onnx", keep)
    return described(files, parent, parent, CPU, "int8", onnxruntime=onnxruntime.__version__, **built_here())


def _remove(folder: Path, form: Graph) -> None:
    for file in (form, *form.external_data):
        (folder / file.file).unlink()
