"""How fast a board could caption at best: the time that its arithmetic and its memory's bandwidth allow.

A bound, not a measurement: peak rates, every weight read from memory once a run, what passes between the operators of
a graph kept on the chip, nothing lost to launches, layouts or the CPU. The roofline (Williams et al., 2009): a run
takes at least the longer of its arithmetic and of its traffic with memory; runs follow one another, since each step of
decoding needs the token of the one before. Real boards are slower; the one way to be faster is a decoder so small that
its weights stay in the GPU's cache from step to step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.boards import Board
from benchmarks.graph_costs import GraphCosts, graph_costs, shaped_graph
from edge_aac.bundle.manifest import DecodingRules, Graph, GraphRole
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle
from edge_aac.errors import ConfigError, DataError

Precision = Literal["fp16", "int8+fp16", "fp8+fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8+fp16", "fp8+fp16")
"""What boards' engines compute in, the last where the GPU has FP8. FP32 has no tensor cores, and how fast it is without
them no board's facts say."""

NARROW_ROLES = (STEM, "encoder")
"""Graphs that are built with 8-bit numbers; the decoder and the text embedder are FP16 in every engine."""

FP32_BYTES, FP16_BYTES = 4, 2
SCHEMA = "edge-aac/roofline/1"
NOTE = (
    "a bound, not a measurement: peak arithmetic and bandwidth, each weight read from memory once a run, captions of "
    "full length; memory is that of weights, caches, inputs and outputs alone"
)


@dataclass(frozen=True)
class Decoding:
    """What is decoded and reranked of one window.

    Attributes:
        rows: captions that are decoded side by side.
        tokens: length of a caption, start and end counted.
        texts: captions that are embedded for reranking, all of them different.
        text_tokens: of each, with its instruction.
    """

    rows: int
    tokens: int
    texts: int
    text_tokens: int

    @property
    def steps(self) -> int:
        """Decoding steps; the last token is never fed back."""
        return self.tokens - 1

    @classmethod
    def of(cls, rules: DecodingRules, reranks: bool, added_tokens: int) -> Decoding:
        """What these rules ask for, at full length.

        Args:
            rules: of the bundle, or chosen otherwise.
            reranks: whether every candidate is compared with the sound; else only the best one is embedded.
            added_tokens: that the text embedder sees besides a caption's own: instruction, end.

        Raises:
            ConfigError: the decoder has no positions for captions of that length.
        """
        if rules.max_length > rules.max_positions:
            raise ConfigError(f"max_length {rules.max_length} exceeds the decoder's {rules.max_positions} positions")
        rows = {"nucleus": rules.candidates, "greedy": 1, "beam": rules.beams}[rules.method]
        texts = rules.candidates if reranks and rules.method == "nucleus" else 1
        # A text has the words of a caption, without its start and end.
        return cls(rows, rules.max_length, texts, max(1, rules.max_length - 2 + added_tokens))


@dataclass(frozen=True)
class Part:
    """One graph, and how often it runs for one window."""

    costs: GraphCosts
    runs: int


@dataclass(frozen=True)
class Model:
    """What captions a window.

    Attributes:
        name: of the bundle, or of what was published.
        counted_from: how its costs are known.
        decoding: for which they are counted.
        parts: role → its graph.
    """

    name: str
    counted_from: str
    decoding: Decoding
    parts: Mapping[str, Part]


@dataclass(frozen=True)
class Bound:
    """The least time of so many runs, in milliseconds."""

    arithmetic_ms: float
    bandwidth_ms: float

    @property
    def ms(self) -> float:
        return max(self.arithmetic_ms, self.bandwidth_ms)

    @property
    def limited_by(self) -> str:
        return "arithmetic" if self.arithmetic_ms >= self.bandwidth_ms else "bandwidth"


def bundle_model(bundle: Bundle, decoding: Decoding) -> Model:
    """Count the graphs of a bundle.

    Raises:
        DataError: it holds no fp32 graph of a role, or one that cannot be counted.
    """
    graph, path = _parent(bundle, "encoder")
    encoder = shaped_graph(path, _shapes(graph, {"windows": 1}))
    memory_steps = encoder.shape("cross_keys")[3]
    sizes = {"rows": decoding.rows, "windows": 1, "capacity": decoding.steps, "memory_steps": memory_steps}
    patches = getattr(bundle.manifest, "patches", None)
    parts = {
        **({STEM: Part(_costs(bundle, STEM, {"patches": patches.count}), 1)} if patches else {}),
        "encoder": Part(encoder.costs(), 1),
        "decoder": Part(_costs(bundle, "decoder", sizes), decoding.steps),
        "text_embedder": Part(
            _costs(bundle, "text_embedder", {"texts": decoding.texts, "tokens": decoding.text_tokens}), 1
        ),
    }
    return Model(bundle.manifest.name, "the bundle's ONNX graphs", decoding, parts)


def _costs(bundle: Bundle, role: GraphRole, sizes: Mapping[str, int]) -> GraphCosts:
    graph, path = _parent(bundle, role)
    return graph_costs(path, _shapes(graph, sizes))


def _parent(bundle: Bundle, role: GraphRole) -> tuple[Graph, Path]:
    """The fp32 graph that all other forms are made from; they multiply as often."""
    for graph in bundle.manifest.graphs.get(role, []):
        if graph.backend == "onnxruntime" and graph.precision == "fp32":
            return graph, bundle.path(graph)
    raise DataError(
        f"bundle {bundle.manifest.name!r} holds no fp32 ONNX graph of its {role}, which costs are counted on: "
        "export it again"
    )


def _shapes(graph: Graph, sizes: Mapping[str, int]) -> dict[str, list[int | str]]:
    """Shapes of inputs and outputs, as the manifest has them, with the axes filled in whose sizes are known."""
    return {
        name: [sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in axes]
        for name, axes in graph.shapes.items()
    }


def bound(role: str, part: Part, board: Board, precision: Precision) -> Bound:
    """The least time of a part's runs on a board.

    Raises:
        ConfigError: the board has no numbers of that precision.
    """
    costs = part.costs
    narrow = costs.weight_macs if _is_narrow(role, precision) else 0
    wide = costs.weight_macs - narrow + costs.other_macs
    tera = wide / board.fp16_tflops + costs.depthwise_macs / board.core_tflops
    if narrow:
        tera += narrow / _narrow_tops(board, precision)
    seconds = 2 * tera / 1e12
    traffic = run_bytes(role, costs, precision) / (board.bandwidth_gb_s * 1e9)
    return Bound(1e3 * part.runs * seconds, 1e3 * part.runs * traffic)


def precisions_of(board: Board) -> tuple[Precision, ...]:
    """What engines can compute in on a board."""
    return tuple(precision for precision in PRECISIONS if "fp8" not in precision or board.fp8_tflops)


def _narrow_tops(board: Board, precision: Precision) -> float:
    """10^12 operations a second on the 8-bit numbers of a precision."""
    if precision == "int8+fp16":
        return board.int8_tops
    if not board.fp8_tflops:
        raise ConfigError(f"a {board.title} has no FP8: choose another board or precision")
    return board.fp8_tflops


def run_bytes(role: str, costs: GraphCosts, precision: Precision) -> int:
    """Bytes that one run reads and writes: weights, inputs (caches among them) and outputs."""
    passed = sum(costs.inputs.values()) + sum(costs.outputs.values())
    return _weight_bytes(role, costs, costs.read, precision) + FP16_BYTES * passed + costs.other_bytes


def memory_bytes(model: Model, precision: Precision | Literal["fp32"]) -> int:
    """Bytes that a model cannot do without: weights of all graphs, their inputs, outputs and caches.

    What an engine's own code, its workspace and the system take comes on top.
    """
    size = FP32_BYTES if precision == "fp32" else FP16_BYTES
    total = 0
    for role, part in model.parts.items():
        costs = part.costs
        stored = FP32_BYTES * costs.stored
        if precision != "fp32":
            stored = _weight_bytes(role, costs, costs.stored, precision)
        # The decoder reads keys and values of the window where the encoder wrote them.
        inputs = sum(numbers for name, numbers in costs.inputs.items() if not name.startswith("cross_"))
        total += stored + size * (inputs + sum(costs.outputs.values())) + costs.other_bytes
    return total


def _weight_bytes(role: str, costs: GraphCosts, numbers: int, precision: Precision) -> int:
    narrow = costs.product_weights if _is_narrow(role, precision) else 0
    return narrow + FP16_BYTES * (numbers - narrow)


def _is_narrow(role: str, precision: Precision) -> bool:
    return precision != "fp16" and role in NARROW_ROLES


def bounds(model: Model, board: Board, precision: Precision) -> dict[str, Bound]:
    """Role → the least time of its runs for one window."""
    return {role: bound(role, part, board, precision) for role, part in model.parts.items()}


def window_ms(parts: Mapping[str, Bound]) -> float:
    """The least time of a window: its parts follow one another."""
    return sum(part.ms for part in parts.values())


def model_report(model: Model, board: Board) -> dict[str, Any]:
    """All numbers of one model on one board, with the unit in each name."""
    return {
        "model": model.name,
        "counted_from": model.counted_from,
        "decoding": {
            "candidates": model.decoding.rows,
            "tokens": model.decoding.tokens,
            "steps": model.decoding.steps,
            "texts": model.decoding.texts,
            "text_tokens": model.decoding.text_tokens,
        },
        "weights_and_caches_fp32_bytes": memory_bytes(model, "fp32"),
        "precisions": {precision: _precision_report(model, board, precision) for precision in precisions_of(board)},
    }


def _precision_report(model: Model, board: Board, precision: Precision) -> dict[str, Any]:
    parts = bounds(model, board, precision)
    total = window_ms(parts)
    memory = memory_bytes(model, precision)
    return {
        "window_ms": total,
        "memory_bytes": memory,
        "memory_share_of_board": memory / (board.memory_gb * 1e9),
        "parts": {role: dict(_part_report(role, model.parts[role], parts[role], precision, total)) for role in parts},
    }


def _part_report(role: str, part: Part, limit: Bound, precision: Precision, total: float) -> Iterator[tuple[str, Any]]:
    yield "runs", part.runs
    yield "macs_a_run", part.costs.macs
    for name in ("int8", "fp8"):
        yield f"{name}_macs_a_run", part.costs.weight_macs if name in precision and _is_narrow(role, precision) else 0
    yield "depthwise_macs_a_run", part.costs.depthwise_macs
    yield "bytes_a_run", run_bytes(role, part.costs, precision)
    yield "arithmetic_ms", limit.arithmetic_ms
    yield "bandwidth_ms", limit.bandwidth_ms
    yield "bound_ms", limit.ms
    yield "limited_by", limit.limited_by
    yield "share", limit.ms / total
