"""What values a graph's activations take on real sound, and ``calibration.json``, which takes them to other devices.

The file holds numbers and no recordings, so a device that has none builds the very graph that was measured at home.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_aac.errors import ConfigError, DataError, InputMissingError, first_complaint
from quantize.graphs.half import MASK
from quantize.graphs.inner_sums import inner_sum
from quantize.graphs.layers import Layer, node_name, quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.smoothing import foldable
from quantize.graphs.traced import Arrays, Traced

CALIBRATION = "calibration.json"
SCHEMA = "edge-aac/calibration/1"
MINMAX = "minmax"
DEFAULT_METHOD = "percentile 99.999"
"""On the encoder of esc10-tiny, calibrated with 32 scenes, minmax, 99.999 and 99.99 gave an SQNR of 33, 33 and 34 dB on
other scenes; with 12 windows of one kind only, audio embeddings of others had a cosine of 0.998, 0.9995 and 0.990."""

_BINS = 4096
_LARGEST_ACTIVATION = 1e8
"""Greater numbers than this are a mask's "never"."""


class GraphCalibration(BaseModel):
    """Calibration of one graph.

    Attributes:
        parent_sha256: hash of the fp32 graph that has the tensors and nodes.
        ranges: tensor → least and greatest value, after ``smoothing``.
        keep: nodes that are not quantised. In older files, of a graph without ranges, ``overflowing`` stands here.
        overflowing: nodes whose results FP16 cannot hold.
        smoothing: output of a layer norm → what its channels are divided by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent_sha256: str
    ranges: dict[str, tuple[float, float]]
    keep: tuple[str, ...] = ()
    overflowing: tuple[str, ...] = ()
    smoothing: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class Calibration(BaseModel):
    """``calibration.json``.

    Attributes:
        method: "minmax" or "percentile 99.99".
        windows: number of windows that were run.
        source: origin of the windows, in words.
        smooth_alpha: strength of SmoothQuant, where a graph was smoothed.
        graphs: calibration of each graph, by role.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_: str = Field(default=SCHEMA, alias="schema", pattern=f"^{SCHEMA}$")
    method: str
    windows: int = Field(ge=1)
    source: str
    smooth_alpha: float | None = None
    graphs: dict[str, GraphCalibration]


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write ``calibration.json``."""
    table = calibration.model_dump(by_alias=True, mode="json")
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def read_calibration(path: Path) -> Calibration:
    """Read ``calibration.json``.

    Raises:
        InputMissingError: there is none.
        DataError: it is damaged, or of another schema.
    """
    try:
        return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputMissingError(f"{path} cannot be read ({error}): install or build the bundle again") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}): install or build the bundle again") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_complaint(error)}; install or build the bundle again") from error


@dataclass(frozen=True)
class Observed:
    """Observations of a graph over all windows.

    Attributes:
        ranges: tensor → least and greatest value, 0 among them.
        channel_peaks: outputs of layer norms that can be smoothed → greatest magnitude of each channel.
        windows: number of windows that were run.
    """

    ranges: dict[str, tuple[float, float]]
    channel_peaks: dict[str, npt.NDArray[np.float32]]
    windows: int


def observe(parent: Path, inputs: Iterable[Arrays], method: str = DEFAULT_METHOD) -> Observed:
    """Run the fp32 graph and note the ranges of what can be quantised.

    These are the inputs of the layers of :func:`quantize.graphs.layers.quantisable_layers` that multiply more than a
    single row for one window, and the results of convolutions, which the CPU's form needs. Memory holds one run and one
    histogram for each tensor, however many windows there are.

    Args:
        parent: the fp32 graph.
        inputs: inputs of one run each; their first axis counts windows.
        method: "minmax", or "percentile P": all but 100 - P percent of a tensor's values lie within its range, half of
            the others below and half above.

    Raises:
        ConfigError: there is no such method.
        DataError: there are no inputs, or the graph gives something that is no number.
    """
    kept = _kept_fraction(method)
    file = OnnxFile(parent)
    layers = quantisable_layers(file, wide_groups=True)
    watched = _Watched(layers, set(foldable(file)), kept)
    traced = Traced(parent, watched.tensors)
    for one in inputs:
        watched.accept(traced.run(one), len(next(iter(one.values()))))
    if not watched.windows:
        raise DataError(f"there is no window to calibrate {parent.name} with: name recordings with sound in them")
    return Observed(watched.ranges(), watched.channel_peaks, watched.windows)


def _kept_fraction(method: str) -> float | None:
    if method == MINMAX:
        return None
    name, _, number = method.partition(" ")
    try:
        percent = float(number)
    except ValueError:
        percent = math.nan
    if name != "percentile" or not 50.0 < percent <= 100.0:  # noqa: PLR2004 - below, most values would be cut
        raise ConfigError(f"there is no calibration method {method!r}: use minmax, or percentile 99.99")
    return percent / 100.0


class _Watched:
    """Collects over the runs."""

    def __init__(self, layers: list[Layer], smoothable: set[str], kept: float | None) -> None:
        self._products = {layer.activation for layer in layers if layer.kind != "Conv"}
        convolutions = [layer for layer in layers if layer.kind == "Conv"]
        self._always = {layer.activation for layer in convolutions} | {layer.result for layer in convolutions}
        self._smoothable = smoothable
        self._spreads: dict[str, Spread] = {}
        self._kept = kept
        self.tensors = sorted(self._products | self._always)
        self.channel_peaks: dict[str, npt.NDArray[np.float32]] = {}
        self.windows = 0

    def accept(self, values: Arrays, windows: int) -> None:
        self.windows += windows
        for name, value in values.items():
            if name not in self._always and value.size <= windows * value.shape[-1]:
                continue  # a single row for each window
            self._spreads.setdefault(name, Spread(self._kept)).accept(name, value)
            if name in self._smoothable:
                peaks = np.abs(value).max(axis=tuple(range(value.ndim - 1)))
                self.channel_peaks[name] = np.maximum(peaks, self.channel_peaks.get(name, peaks))

    def ranges(self) -> dict[str, tuple[float, float]]:
        return {name: spread.range() for name, spread in self._spreads.items()}


@dataclass
class Spread:
    """Least and greatest of the values seen, and where a fraction is to be cut off, how they are spread between.

    The histogram covers ± a power of two and is folded in half when a greater value comes, so it holds all values of
    all windows in constant memory; a cut is exact to one bin, 1/2048 of the range.
    """

    kept: float | None
    low: float = 0.0
    high: float = 0.0
    _limit: float = 0.0
    _counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def accept(self, name: str, value: npt.NDArray[Any]) -> None:
        lowest, highest = float(value.min(initial=0.0)), float(value.max(initial=0.0))
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise DataError(f"the graph gives numbers that are none (NaN or infinite) in {name}: export it again")
        self.low, self.high = min(self.low, lowest), max(self.high, highest)
        peak = max(-lowest, highest)
        if self.kept is None or peak == 0.0:
            if self.kept is not None:
                self._counts[_BINS // 2] += value.size
            return
        if not self._limit:
            self._limit = 2.0 ** math.ceil(math.log2(peak))
        while self._limit < peak:
            self._double()
        self._counts += np.histogram(value, bins=_BINS, range=(-self._limit, self._limit))[0]

    def _double(self) -> None:
        self._limit *= 2.0
        folded = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.pad(folded, _BINS // 4)

    def range(self) -> tuple[float, float]:
        if self.kept is None or not self._limit:
            return self.low, self.high
        below = np.cumsum(self._counts) / self._counts.sum()
        tail = (1.0 - self.kept) / 2.0
        edges = np.linspace(-self._limit, self._limit, _BINS + 1)
        first = int(np.searchsorted(below, tail, side="right"))
        last = int(np.searchsorted(below, 1.0 - tail, side="left"))
        low = max(self.low, min(0.0, float(edges[first])))
        high = min(self.high, max(0.0, float(edges[min(last, _BINS - 1) + 1])))
        return low, high


def overflowing_nodes(parent: Path, inputs: Iterable[Arrays]) -> list[str]:
    """Names of the nodes that come near FP16's largest number, in their results or in the sums inside them.

    They stay FP32. Infinity and what is greater than 1e8 in magnitude is a mask's, which
    :func:`quantize.graphs.half.in_half` mends; a sum inside a norm or softmax (:mod:`quantize.graphs.inner_sums`) is
    none, however great.
    """
    file = OnnxFile(parent)
    types = file.element_types()
    made = {o: node_name(n) for n in file.graph.node for o in n.output if types.get(o) == TensorProto.FLOAT}
    inner = [(node, found) for node in file.graph.node if (found := inner_sum(file, node))]
    sums = {tensor: node_name(node) for node, (_, tensor) in inner}
    traced = Traced(parent, (), {**made, **sums}, [added for _, (nodes, _) in inner for added in nodes])
    highest: Mapping[str, float] = dict.fromkeys((*made, *sums), 0.0)
    for one in inputs:
        peaks = traced.run(one)
        highest = {
            name: max(known, float(peaks[name]) if name in sums else _activation_peak(peaks[name]))
            for name, known in highest.items()
        }
    high = {{**made, **sums}[name] for name, peak in highest.items() if peak > MASK}
    return [name for name in dict.fromkeys(made.values()) if name in high]


def _activation_peak(peak: npt.NDArray[np.float32]) -> float:
    return float(peak) if float(peak) < _LARGEST_ACTIVATION else 0.0
