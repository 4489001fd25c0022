"""What each layer costs when it alone is quantised, and which layers therefore stay in higher precision.

The noise that a layer adds is measured at the graph's outputs as a share of their power (the inverse of the SQNR).
Noise of different layers adds up, so the share of all layers together is foreseen as the sum of theirs (on the encoder
of esc10-tiny 32.8 dB were foreseen, and 33.0 dB measured); layers that add most are smoothed, where that helps, or kept
in higher precision until the sum is small enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.sureness import SOUNDS
from edge_aac.errors import DataError
from quantize.graphs.calibration import Observed
from quantize.graphs.int8 import insert_pairs
from quantize.graphs.layers import FAMILIARITY, Layer, Ranges, Smoothing, quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.smoothing import fold, foldable, migration_scales
from quantize.graphs.traced import Arrays, session_of
from quantize.progress import Log

if TYPE_CHECKING:
    from rich.table import Table

TARGET_DB = 25.0
"""SQNR of all quantised layers together that is aimed at: noise of a 316th of the power, a cosine of 0.998."""

ALPHA = 0.5
"""Of SmoothQuant: half of the difficulty goes into the weights, as its authors found best for most models."""

_MIN_GAIN_DB = 1.0
_LOUD_SHARE = 0.25  # of the noise that all may add; a layer above it is worth smoothing

Outputs = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class LayerCost:
    """One layer, quantised alone.

    Attributes:
        layer: which.
        cosine: smallest cosine over the outputs, between this graph's and the fp32 graph's.
        sqnr_db: power of the output over the power of its difference, the least over the outputs.
        smoothed_db: the same with smoothing, where it was tried.
        kept: whether the layer stays in higher precision.
    """

    layer: Layer
    cosine: float
    sqnr_db: float
    smoothed_db: float | None = None
    kept: bool = False

    @property
    def noise(self) -> float:
        """Share of the outputs' power that it adds, as it will be quantised."""
        return float(10.0 ** (-(self.sqnr_db if self.smoothed_db is None else self.smoothed_db) / 10.0))


@dataclass(frozen=True)
class Sensitivity:
    """What was found, and what follows from it.

    Attributes:
        costs: costs of the layers, in the order of the graph.
        ranges: ranges of the activations, those of smoothed ones replaced.
        smoothing: scales to fold into layer norms.
        target_db: aimed at.
    """

    costs: tuple[LayerCost, ...]
    ranges: dict[str, tuple[float, float]]
    smoothing: dict[str, tuple[float, ...]]
    target_db: float

    @property
    def keep(self) -> tuple[str, ...]:
        """Nodes that stay in higher precision."""
        return tuple(cost.layer.name for cost in self.costs if cost.kept)

    @property
    def foreseen_db(self) -> float:
        """SQNR of all quantised layers together."""
        return _decibels(sum(cost.noise for cost in self.costs if not cost.kept))

    def table(self) -> Table:
        """For the terminal, the costliest layer first."""
        from rich.table import Table

        title = f"Each layer quantised alone; together {self.foreseen_db:.1f} dB foreseen, {self.target_db:g} dB wanted"
        table = Table("layer", "weights", "cosine", "SQNR dB", "smoothed dB", "precision", title=title)
        for cost in sorted(self.costs, key=lambda cost: -cost.noise):
            smoothed = "" if cost.smoothed_db is None else f"{cost.smoothed_db:.1f}"
            table.add_row(
                cost.layer.name,
                f"{cost.layer.inner} × {cost.layer.outer}",
                f"{cost.cosine:.5f}",
                f"{cost.sqnr_db:.1f}",
                smoothed,
                "higher" if cost.kept else "INT8",
            )
        return table


def measure(
    parent: Path,
    observed: Observed,
    inputs: Sequence[Arrays],
    target_db: float = TARGET_DB,
    alpha: float | None = ALPHA,
    log: Log = lambda line: None,
) -> Sensitivity:
    """Quantise each layer alone, and decide.

    Args:
        parent: the fp32 graph.
        observed: its ranges.
        inputs: inputs of the runs that are compared; a few are enough.
        target_db: SQNR that all layers together shall have.
        alpha: strength of the smoothing that is tried where a layer norm comes before a costly layer; None tries none.
        log: called with a line for each layer.

    Raises:
        DataError: there are no inputs.
    """
    if not inputs:
        raise DataError(f"there is no window to compare {parent.name} with: name recordings with sound in them")
    layers = [layer for layer in quantisable_layers(OnnxFile(parent)) if layer.activation in observed.ranges]
    bench = _Bench(parent, inputs)
    costs = []
    for number, layer in enumerate(layers, 1):
        cosine, noise = bench.compare([layer], observed.ranges, {})
        costs.append(LayerCost(layer, cosine, _decibels(noise)))
        log(f"{number} of {len(layers)}: {layer.name} {costs[-1].sqnr_db:.1f} dB")
    ranges, smoothing = dict(observed.ranges), dict[str, tuple[float, ...]]()
    if alpha is not None:
        costs = _smoothed(bench, costs, observed, target_db, alpha, ranges, smoothing)
    return Sensitivity(tuple(decided(costs, target_db)), ranges, smoothing, target_db)


def decided(costs: Iterable[LayerCost], target_db: float) -> list[LayerCost]:
    """Keep the costliest layers in higher precision until the others together reach the target."""
    costs = list(costs)
    allowed = 10.0 ** (-target_db / 10.0)
    together = sum(cost.noise for cost in costs)
    for index in sorted(range(len(costs)), key=lambda index: -costs[index].noise):
        if together <= allowed:
            break
        costs[index] = replace(costs[index], kept=True)
        together = sum(cost.noise for cost in costs if not cost.kept)
    return costs


def _smoothed(  # noqa: PLR0913, PLR0917 - the last two are what it adds to
    bench: _Bench,
    costs: list[LayerCost],
    observed: Observed,
    target_db: float,
    alpha: float,
    ranges: dict[str, tuple[float, float]],
    smoothing: dict[str, tuple[float, ...]],
) -> list[LayerCost]:
    """Smooth the layer norms before costly layers, where that gains at least 1 dB over all layers behind them."""
    by_name = {cost.layer.name: cost for cost in costs}
    loud = _LOUD_SHARE * 10.0 ** (-target_db / 10.0)
    for tensor, layers in foldable(bench.file()).items():
        before = [by_name[layer.name] for layer in layers if layer.name in by_name]
        if tensor not in observed.channel_peaks or sum(cost.noise for cost in before) < loud:
            continue
        scales = migration_scales(observed.channel_peaks[tensor], bench.matrices(layers), alpha)
        limit = float((observed.channel_peaks[tensor] / scales).max())
        tried_ranges = {**ranges, tensor: (-limit, limit)}
        tried = {tensor: tuple(float(scale) for scale in scales)}
        after = [
            replace(cost, smoothed_db=_decibels(bench.compare([cost.layer], tried_ranges, tried)[1])) for cost in before
        ]
        gain = _decibels(sum(cost.noise for cost in after)) - _decibels(sum(cost.noise for cost in before))
        if gain >= _MIN_GAIN_DB:
            ranges[tensor] = (-limit, limit)
            smoothing.update(tried)
            by_name.update({cost.layer.name: cost for cost in after})
    return [by_name[cost.layer.name] for cost in costs]


class _Bench:
    """Compares graphs with some layers quantised with the fp32 graph, on the same inputs."""

    def __init__(self, parent: Path, inputs: Sequence[Arrays]) -> None:
        self._parent = parent
        self._inputs = inputs
        self._wanted = self._outputs(self.file())

    def file(self) -> OnnxFile:
        return OnnxFile(self._parent)

    def matrices(self, layers: Sequence[Layer]) -> list[npt.NDArray[np.float32]]:
        """Weights, (channels, outputs) each."""
        file = self.file()
        return [w if layer.axis == 1 else w.T for layer in layers for w in [file.weights[layer.weight]()]]

    def compare(self, layers: Sequence[Layer], ranges: Ranges, smoothing: Smoothing) -> tuple[float, float]:
        """Least cosine, and the greatest share of noise, over the outputs."""
        file = self.file()
        fold(file, smoothing)
        file.raise_opset()
        insert_pairs(file, ranges, layers)
        pairs = [
            _alike(want, have)
            for wants, haves in zip(self._wanted, self._outputs(file), strict=True)
            for want, have in zip(wants, haves, strict=True)
        ]
        outputs = len(self._wanted[0])
        noises = [np.mean([noise for _, noise in pairs[output::outputs]]) for output in range(outputs)]
        return min(cosine for cosine, _ in pairs), float(max(noises))

    def _outputs(self, file: OnnxFile) -> list[Outputs]:
        session = session_of(file.in_memory(), self._parent.parent, optimised=False)
        # Of a familiarity and of confidences only their side of a threshold counts, which captions tell.
        given = [entry for entry in session.get_outputs() if entry.name not in {FAMILIARITY, SOUNDS}]
        floats = [entry.name for entry in given if entry.type == "tensor(float)"]
        return [session.run(floats, dict(one)) for one in self._inputs]


def _alike(want: npt.NDArray[np.float32], have: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Cosine of two arrays, and the power of their difference as a share of the first's."""
    one, other = want.astype(np.float64).ravel(), have.astype(np.float64).ravel()
    power, norm = float(one @ one), float(np.linalg.norm(one) * np.linalg.norm(other))
    difference = one - other
    if not np.isfinite(other).all():
        return -1.0, math.inf
    return (float(one @ other) / norm if norm else 1.0), float(difference @ difference) / power if power else 0.0


def _decibels(noise: float) -> float:
    """SQNR of a share of noise; of none, 200 dB."""
    return -10.0 * math.log10(min(max(noise, 1e-20), 1e20))
