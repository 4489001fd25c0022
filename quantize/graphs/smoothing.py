"""SmoothQuant: the outliers of an activation go into the weights that follow, which have room for them.

Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, ICML 2023
(arXiv 2211.10438), equation 4.
"""

from __future__ import annotations

import numpy as np

from quantize.graphs.layers import Layer, Smoothing, quantisable_layers
from quantize.graphs.onnx_file import Array, OnnxFile, Weight, consumers

_MIN_PEAK = 1e-5
"""Of a scale: a channel that is always 0 must not make its weights vanish."""


def foldable(file: OnnxFile) -> dict[str, list[Layer]]:
    """Output of a layer norm → the layers that take it, where nothing else does and none of the weights are shared.

    A layer norm that also feeds a residual (BEATs' are of that kind) is left out: scaling its weights would scale the
    residual.
    """
    layers = {layer.name: layer for layer in quantisable_layers(file) if layer.kind != "Conv"}
    taken = consumers(file.graph)
    outputs = {entry.name for entry in file.graph.output}
    found: dict[str, list[Layer]] = {}
    for node in file.graph.node:
        if node.op_type != "LayerNormalization" or node.output[0] in outputs:
            continue
        after = [layers.get(n.name) for n in taken.get(node.output[0], [])]
        own = [name for name in node.input[1:] if name]
        whole = [layer for layer in after if layer is not None and layer.activation == node.output[0]]
        weights = [*own, *(layer.weight for layer in whole)]
        unshared = all(name in file.weights and len(taken.get(name, [])) == 1 for name in weights)
        if whole and len(whole) == len(after) and unshared:
            found[node.output[0]] = whole
    return found


def migration_scales(peaks: Array, weights: list[Array], alpha: float) -> Array:
    """Divisors of the channels of an activation.

    Args:
        peaks: greatest magnitude of each channel of the activation, (channels,).
        weights: weights that multiply the activation, each (channels, outputs).
        alpha: share of the difficulty that goes into the weights, 0 to 1.

    Returns:
        peaks^alpha / weights^(1 - alpha), (channels,), of mean 1 in the logarithm: a common factor would change nothing
        but the magnitude of the FP16 numbers.
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    scales = np.maximum(peaks, _MIN_PEAK) ** alpha / np.maximum(rows, _MIN_PEAK) ** (1.0 - alpha)
    even: Array = (scales / np.exp(np.log(scales).mean())).astype(np.float32)
    return even


def fold(file: OnnxFile, smoothing: Smoothing) -> None:
    """Divide layer norms' outputs by scales and multiply the weights behind them: the function stays the same.

    Args:
        file: the fp32 graph, changed in place.
        smoothing: output of a layer norm of :func:`foldable` → its scales.
    """
    norms = {node.output[0]: node for node in file.graph.node if node.op_type == "LayerNormalization"}
    following = foldable(file)
    for tensor, values in smoothing.items():
        scales = np.asarray(values, np.float32)
        for name in (name for name in norms[tensor].input[1:] if name):
            _replace(file, name, _times(file.weights[name], 1.0 / scales))
        for layer in following[tensor]:
            rows = scales[:, None] if layer.axis == 1 else scales[None, :]
            _replace(file, layer.weight, _times(file.weights[layer.weight], rows))


def _times(weight: Weight, factor: Array) -> Weight:
    return lambda: (weight() * factor).astype(np.float32)


def _replace(file: OnnxFile, name: str, weight: Weight) -> None:
    file.set_weight(name, file.shapes[name], np.float32, weight)
