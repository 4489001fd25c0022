"""What each graph of a model takes and gives, and the comparison of that with what loaded graphs declare.

A size that stands in several places (heads in the encoder's memory and in the decoder's inputs, the embedding in
``embedding_size`` and in two graphs) must be the same in all of them. What a graph leaves open in its declaration
is found by running it: :mod:`edge_aac.models.trial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edge_aac.bundle.manifest import MANIFEST, Graph, GraphRole, Seq2SeqManifest
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.bundle.store import Bundle
from edge_aac.bundle.sureness import SOUNDS
from edge_aac.engines.contract import LoadedEngine, TensorDescription
from edge_aac.engines.steps import CoreEngine
from edge_aac.errors import DataError
from edge_aac.models.patches import PATCHES, VECTORS
from edge_aac.models.rerank import incomparable

FRAMES, MEL_BINS = 998, 128
"""Of the filter bank of one window."""

WAVEFORM = "waveform"
"""Input of an encoder that hears samples."""

LOG_MEL = "log_mel"
"""Input of an encoder that hears clips."""

Size: TypeAlias = int | str
"""A number, or the name of a size that stands in several places."""

OPEN = frozenset({"rows", "windows", "patches", "texts", "tokens"})
"""Sizes that differ from run to run."""

_FLOAT, _INTEGER, _BOOLEAN = "float32", "int64", "bool"


@dataclass(frozen=True)
class TensorContract:
    """An input or output that a graph must have.

    Attributes:
        dtype: type of the arrays that it is given or read as. An engine on the processor converts nothing that it is
            given, a plan's engine does.
        axes: sizes; names are those of :data:`OPEN` or of sizes that the graphs share.
        optional: whether a graph may be without.
    """

    dtype: str
    axes: tuple[Size, ...]
    optional: bool = False


@dataclass(frozen=True)
class GraphContract:
    """What a graph of some role takes and gives, by name."""

    inputs: Mapping[str, TensorContract]
    outputs: Mapping[str, TensorContract]


def _floats(*axes: Size, optional: bool = False) -> TensorContract:
    return TensorContract(_FLOAT, axes, optional)


_PADDING = TensorContract(_BOOLEAN, ("windows", FRAMES), optional=True)
_MEMORY = ("windows", "layers", "heads", "memory steps", "head size")

AUDIO_ENCODER = GraphContract(
    {"fbank": _floats("windows", FRAMES, MEL_BINS), "frame_padding": _PADDING},
    {"audio_embedding": _floats("windows", "embedding_size")},
)
"""An encoder that embeds windows and no more."""

ENCODER = GraphContract(
    AUDIO_ENCODER.inputs,
    {
        **AUDIO_ENCODER.outputs,
        "cross_keys": _floats(*_MEMORY),
        "cross_values": _floats(*_MEMORY),
        "memory_padding": TensorContract(_BOOLEAN, ("windows", "memory steps"), optional=True),
        "familiarity": _floats("windows", optional=True),
        SOUNDS: _floats("windows", "sounds", optional=True),
    },
)

_VECTOR = "vector size"


def stem(patches: PatchRule) -> GraphContract:
    """The contract of a stem that hears such patches, each by itself."""
    return GraphContract(
        {PATCHES: _floats("patches", patches.frames, MEL_BINS)}, {VECTORS: _floats("patches", _VECTOR)}
    )


def behind_stem(encoder: GraphContract, patches: PatchRule | None) -> GraphContract:
    """The contract of an encoder that reads a stem's vectors in place of filter banks, where there is a stem."""
    if patches is None:
        return encoder
    return GraphContract({VECTORS: _floats("windows", patches.count, _VECTOR)}, encoder.outputs)


def clip_encoder(frames: int, bins: int) -> GraphContract:
    """The contract of an encoder that hears clips: their log-mel, in dB."""
    return GraphContract({LOG_MEL: _floats("windows", frames, bins)}, AUDIO_ENCODER.outputs)


TEXT_EMBEDDING = "text embedding size"
_TEXT = TensorContract(_INTEGER, ("texts", "tokens"))


def text_embedder(compared: bool) -> GraphContract:
    """The contract of a text embedder.

    Args:
        compared: whether its texts are compared with sounds, so that both have the same number of dimensions.
    """
    size = "embedding_size" if compared else TEXT_EMBEDDING
    return GraphContract({"token_ids": _TEXT, "attention_mask": _TEXT}, {"embedding": _floats("texts", size)})


def decoder(layers: int) -> GraphContract:
    """The contract of a decoder of some number of layers; see :class:`edge_aac.models.decoding.CandidateDecoder`."""
    cache = _floats("rows", "heads", "capacity", "head size")
    cross = _floats("windows", "heads", "memory steps", "head size")
    new = _floats("layers", "rows", "heads", 1, "head size")
    kinds = {"self_keys": cache, "self_values": cache, "cross_keys": cross, "cross_values": cross}
    return GraphContract(
        {
            "token_ids": TensorContract(_INTEGER, ("rows", 1)),
            "step": TensorContract(_INTEGER, (1,)),
            "memory_padding": TensorContract(_BOOLEAN, ("windows", "memory steps")),
            **{f"{kind}_{layer}": contract for kind, contract in kinds.items() for layer in range(layers)},
        },
        {"logits": _floats("rows", "vocabulary_size"), "new_keys": new, "new_values": new},
    )


class GraphChecks:
    """Checks the graphs of one bundle, one after the other.

    Args:
        bundle: bundle that holds the graphs.
        stated: sizes that the manifest states, by their keys.
    """

    def __init__(self, bundle: Bundle, **stated: int) -> None:
        self._bundle = bundle
        # Sizes that are known, each with the place that states it; the graphs add theirs.
        self._sizes = {name: (size, f"{name} in {MANIFEST}") for name, size in stated.items()}

    def known(self, name: str, size: int, where: str) -> None:
        """Add a size that something else than the manifest tells."""
        self._sizes[name] = (size, where)

    def size(self, name: str) -> int | None:
        """A size that is known so far."""
        return self._sizes[name][0] if name in self._sizes else None

    def check(self, role: GraphRole, graph: Graph, engine: LoadedEngine, contract: GraphContract) -> None:
        """Refuse a graph that is none of its role, or whose sizes others contradict.

        Raises:
            DataError: an input or output is missing or unknown, has another type, another number of axes, or another
                size than the manifest or another graph states.
        """
        found = engine.description
        for verb, wanted, declared in (
            ("takes", contract.inputs, found.inputs),
            ("gives", contract.outputs, found.outputs),
        ):
            for name, tensor in wanted.items():
                if name in declared:
                    fits = _fed if verb == "takes" else _read
                    fault = None
                    if not fits(tensor.dtype, declared[name].dtype, engine):
                        fault = f"of type {declared[name].dtype}, not {tensor.dtype}"
                    fault = fault or self._misfit(role, f"{name} of {graph.file}", tensor, declared[name])
                    if fault:
                        raise self._refusal(role, graph, f"{verb} {name} {fault}")
                elif not tensor.optional:
                    raise self._refusal(role, graph, f"{verb} {_listed(declared)}, where {_a(role)} {verb} {name}")
        if unknown := sorted(found.inputs.keys() - contract.inputs.keys()):
            raise self._refusal(role, graph, f"takes {unknown[0]}, which no {role} is given")

    def _misfit(self, role: GraphRole, where: str, wanted: TensorContract, found: TensorDescription) -> str | None:
        """What is wrong with the shape of an input or output; None where nothing is."""
        shape = list(found.shape)
        if len(shape) != len(wanted.axes):
            return f"of {len(shape)} axes {shape}, not {len(wanted.axes)}"
        for axis, size in zip(wanted.axes, shape, strict=True):
            if not isinstance(size, int):
                continue
            if axis in OPEN:
                # On a processor, an encoder is given one window at a time, and a stem one patch.
                if (axis, role, size) not in {("windows", "encoder", 1), ("patches", STEM, 1)}:
                    return f"of shape {shape}, with a fixed number of {axis}"
                continue
            known, stated = self._sizes.setdefault(axis, (size, where)) if isinstance(axis, str) else (axis, "")
            if size != known:
                by = f", but {axis} is {known} by {stated}" if stated else f", where one size is {known}"
                return f"of shape {shape}{by}"
        return None

    def _refusal(self, role: GraphRole, graph: Graph, found: str) -> DataError:
        mend = f"run `{self._bundle.build_command}`" if graph.parent_sha256 else "install or export the bundle again"
        return DataError(
            f"{MANIFEST} of the bundle {self._bundle.manifest.name!r} gives {graph.file} as its {role}, but that "
            f"graph {found}: {mend}"
        )


def _fed(given: str, dtype: str, engine: LoadedEngine) -> bool:
    """Whether an input of some type can be given arrays of another."""
    return (
        given == dtype
        if isinstance(engine, CoreEngine)
        else _is_numpy(dtype) and np.can_cast(given, dtype, "same_kind")
    )


def _read(wanted: str, dtype: str, engine: LoadedEngine) -> bool:
    """Whether an output of some type can be read as another."""
    return _is_numpy(dtype) and (wanted == _BOOLEAN or np.dtype(dtype).kind == np.dtype(wanted).kind)


def _is_numpy(dtype: str) -> bool:
    try:
        np.dtype(dtype)
    except TypeError:
        return False
    return True


def _a(role: GraphRole) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"


def _listed(names: Mapping[str, object]) -> str:
    """Names for a message, the first of many."""
    first = sorted(names)[:4]
    return ", ".join(first) + (" …" if len(names) > len(first) else "") if names else "nothing"


def check_captioner(
    bundle: Bundle, manifest: Seq2SeqManifest, graphs: Mapping[GraphRole, tuple[LoadedEngine, Graph]], compared: bool
) -> None:
    """Check the graphs of a captioner, each by itself and against each other.

    Args:
        bundle: bundle that holds the graphs.
        manifest: its manifest.
        graphs: role → engine, and the form that it has loaded.
        compared: whether texts are compared with sounds.

    Raises:
        DataError: see :meth:`GraphChecks.check`.
    """
    checks = GraphChecks(bundle, vocabulary_size=manifest.vocabulary_size, embedding_size=manifest.embedding_size)
    engine, graph = graphs["decoder"]
    layers = max(1, sum(name.startswith("self_keys_") for name in engine.description.inputs))
    checks.known("layers", layers, f"the inputs of {graph.file}")
    if manifest.sureness:
        checks.known("sounds", len(manifest.sureness.names), f"sureness.names in {MANIFEST}")
    # Texts of another size are reported by what mends them.
    contracts: dict[GraphRole, GraphContract] = {
        "decoder": decoder(layers),
        **({STEM: stem(manifest.patches)} if manifest.patches else {}),
        "encoder": behind_stem(ENCODER, manifest.patches),
        "text_embedder": text_embedder(compared=False),
    }
    for role, contract in contracts.items():
        engine, graph = graphs[role]
        checks.check(role, graph, engine, contract)
    texts = checks.size(TEXT_EMBEDDING)
    if compared and texts not in {None, manifest.embedding_size}:
        raise incomparable(texts or 0, manifest.embedding_size)
