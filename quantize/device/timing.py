"""Two forms of one graph side by side on the inputs that the captioner gives them: how fast, and how far apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules, GraphRole, Seq2SeqManifest
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import Arrays, Engine
from edge_aac.engines.steps import Memory
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.encoding import memory_of
from edge_aac.models.patches import PATCHES, PatchStem
from edge_aac.models.tokens import load_tokenizer, to_arrays
from quantize.graphs.sound_inputs import SoundInputs

Array = npt.NDArray[np.float32]

MIN_PAIRS, MAX_PAIRS = 9, 60
_ENOUGH_S = 10.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds that one window spends in a graph: medians of alternating runs.

    Attributes:
        reference_ms: median of the reference form.
        form_ms: median of the form under test.
        ratio: median over the pairs of runs of the second by the first; a load that comes and goes meets both.
        pairs: number of pairs of runs.
    """

    reference_ms: float
    form_ms: float
    ratio: float
    pairs: int


class RunSamples(Protocol):
    """Inputs of a few sounds, as a model gives them to its graphs."""

    def of(self, role: GraphRole) -> Sequence[Arrays]:
        """Inputs of single runs of a graph."""

    def runs(self, role: GraphRole, engine: Engine) -> list[Callable[[], object]]:
        """Functions that run the graph as a sound needs it, one a sound."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a few windows.

    Attributes:
        rules: decoding rules that the decoder's inputs come from.
        encoder: inputs of the encoder.
        stem: inputs of the stem before it, all patches of a window each; none where there is no stem.
        memories: memories that the decoder attends to, one a window.
        steps: inputs of the decoder at each step of one window.
        texts: inputs of the text embedder, as many texts at once as a window has candidates.
    """

    rules: DecodingRules
    encoder: Sequence[Arrays]
    memories: Sequence[Memory]
    steps: Sequence[Arrays]
    texts: Sequence[Arrays]
    stem: Sequence[Arrays] = ()

    def of(self, role: GraphRole) -> Sequence[Arrays]:
        """Inputs of single runs of a graph."""
        inputs = {STEM: self.stem, "encoder": self.encoder, "decoder": self.steps, "text_embedder": self.texts}
        return inputs[role]

    def runs(self, role: GraphRole, engine: Engine) -> list[Callable[[], object]]:
        """See :class:`RunSamples`."""
        if role == "decoder":
            decoder = CandidateDecoder(engine)

            def decode(memory: Memory) -> Callable[[], object]:
                return lambda: decoder.decode(memory, self.rules, [np.random.default_rng(0)])

            return [decode(memory) for memory in self.memories]
        if role == STEM:
            stem = PatchStem(engine)

            def hear(patches: Array) -> Callable[[], object]:
                return lambda: stem.run(list(patches))

            return [hear(np.asarray(inputs[PATCHES], np.float32)) for inputs in self.stem]
        return single_runs(engine, self.of(role))


def single_runs(engine: Engine, inputs: Sequence[Arrays]) -> list[Callable[[], object]]:
    """Functions that run a graph once, one for each of its inputs."""

    def run(given: Arrays) -> Callable[[], object]:
        return lambda: engine.run(given)

    return [run(given) for given in inputs]


def collect_samples(
    bundle: Bundle, engines: Mapping[GraphRole, Engine], windows: Sequence[Array], captions: Sequence[str]
) -> Samples:
    """Run the parents over a few windows and keep what goes in.

    Args:
        bundle: bundle that has the rules and tokenizers.
        engines: the exported graphs of the encoder, the decoder and, where there is one, the stem.
        windows: filter banks (998, 128).
        captions: texts of these windows.
    """
    manifest = bundle.manifest_of(Seq2SeqManifest)
    rules, patches, encoder = manifest.decoding, manifest.patches, engines["encoder"]
    sound = SoundInputs(encoder.input_shapes, patches, PatchStem(engines[STEM]) if patches else None)
    inputs = list(sound.of("encoder", windows))
    memories = [memory_of(encoder.run(each)) for each in inputs]
    recorder = RecordingEngine(engines["decoder"])
    CandidateDecoder(recorder).decode(memories[0], rules, [np.random.default_rng(0)])
    tokenizer = load_tokenizer(bundle.checked(manifest.tokenizers.text))
    texts: list[Arrays] = []
    for number in range(len(windows)):
        several = [captions[(number + other) % len(captions)] for other in range(rules.candidates)]
        token_ids, mask = to_arrays(tokenizer, sorted(set(several)), manifest.instruction)
        texts.append({"token_ids": token_ids, "attention_mask": mask})
    stem = list(sound.of(STEM, windows)) if patches else []
    return Samples(rules, inputs, memories, recorder.inputs, texts, stem)


def timing(role: GraphRole, reference: Engine, form: Engine, samples: RunSamples) -> Timing:
    """Run two forms in turn, either first in every second pair, for as long as the median needs."""
    pair = [samples.runs(role, engine) for engine in (reference, form)]
    for runs in pair:
        runs[0]()  # the first run of an engine allocates
    times: list[list[float]] = [[], []]
    started = time.perf_counter()
    while len(times[0]) < MIN_PAIRS or (len(times[0]) < MAX_PAIRS and time.perf_counter() - started < _ENOUGH_S):
        number = len(times[0])
        for which in (0, 1) if number % 2 else (1, 0):
            begun = time.perf_counter()
            pair[which][number % len(pair[which])]()
            times[which].append(1e3 * (time.perf_counter() - begun))
    ratios = [taken / parent for parent, taken in zip(*times, strict=True)]
    return Timing(median(times[0]), median(times[1]), median(ratios), len(ratios))


def max_abs_difference(role: GraphRole, reference: Engine, form: Engine, samples: RunSamples) -> float:
    """Greatest absolute difference between the outputs of two forms."""
    greatest = 0.0
    for each in samples.of(role):
        expected, given = reference.run(each), form.run(each)
        for name, array in expected.items():
            difference = np.abs(array.astype(np.float64) - given[name].astype(np.float64)).max(initial=0.0)
            greatest = float(np.maximum(greatest, difference))  # NaN stays
    return greatest


class RecordingEngine:
    """A decoder's engine that keeps a copy of its inputs in :attr:`inputs`: the cache goes on changing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.input_shapes = engine.input_shapes
        self.inputs: list[Arrays] = []

    def run(self, inputs: Arrays) -> dict[str, Array]:
        self.inputs.append({name: array.copy() for name, array in inputs.items()})
        return self._engine.run(inputs)
