"""The front end of an encoder that hears a waveform: from the samples to the logarithm of the spectrogram."""

from __future__ import annotations

from edge_aac.models.graph_contracts import WAVEFORM
from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import OnnxFile


def front_end(file: OnnxFile) -> set[str]:
    """Names of the nodes up to the first logarithm, which stay fp32 in every form; none of a graph without a waveform.

    Powers span ten orders of magnitude, of which INT8 keeps two and FP16 less than all: the greatest overflow, and what
    the least are held above, so that their logarithm is finite, is zero there.
    """
    heard: set[str] = {entry.name for entry in file.graph.input if entry.name == WAVEFORM}
    makers = {output: node for node in file.graph.node for output in node.output}
    behind_logarithm: set[str] = set()
    logarithms = []
    for node in file.graph.node:  # in the order of the graph, which is topological
        if not heard & set(node.input):
            continue
        heard.update(node.output)
        if behind_logarithm & set(node.input):
            behind_logarithm.update(node.output)
        elif node.op_type == "Log":
            logarithms.append(node)
            behind_logarithm.update(node.output)
    found: set[str] = set()
    wanted = [output for node in logarithms for output in node.output]
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node_name(node) not in found:
            found.add(node_name(node))
            wanted += node.input
    return found
