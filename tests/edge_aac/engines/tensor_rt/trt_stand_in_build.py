"""The half of the stand-in for TensorRT that builds: it reads an ONNX file and keeps it as the plan."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import onnx

from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import Constructed, Given, HostMemory, named, pack

_NO_IMPLEMENTATION = "Error Code 10: Internal Error (Could not find any implementation for node"
_UNSUPPORTED = {"MatMulInteger", "DynamicQuantizeLinear", "QLinearMatMul"}


@named("Builder")
class Builder(Constructed):
    def _create_network(self, flags: int = 0) -> Any:
        known = type(self)._trt.module.NetworkDefinitionCreationFlag.members()
        assert flags == 1 << int(known["STRONGLY_TYPED"]), "the network must be strongly typed, and nothing else"
        return self._trt.make("INetworkDefinition", _layers=[], _inputs=[], _onnx=b"", _quantised=set())

    def _create_builder_config(self) -> Any:
        return self._trt.make(
            "IBuilderConfig",
            _profiles=[],
            _limits={},
            _cache=None,
            _builder_optimization_level=3,
            _profiling_verbosity=None,
            _progress_monitor=None,
        )

    def _create_optimization_profile(self) -> Any:
        return self._trt.make("IOptimizationProfile", _ranges={})

    def _build_serialized_network(self, network: Any, config: Any) -> Any:
        trt, ways = self._trt, self._trt.ways
        dynamic = {tensor._name for tensor in network._inputs if -1 in tensor._shape}
        (profile,) = config._profiles or [None]
        assert dynamic == set(profile._ranges if profile else {}), "every dynamic input needs its shapes, and no other"
        workspace = config._limits["WORKSPACE"]
        trt.builds.append({"limits": dict(config._limits), "level": config._builder_optimization_level})
        monitor = config._progress_monitor
        monitor.phase_start("Building Engine", "", 4)
        for step in range(4):
            time.sleep(ways.step_s)
            if not monitor.step_complete("Building Engine", step):
                trt.log_line(self._logger, "ERROR", "Error Code 9: build cancelled")
                return None
        monitor.phase_finish("Building Engine")
        if ways.killed_above is not None and workspace > ways.killed_above:
            os.kill(os.getpid(), signal.SIGKILL)
        if ways.memory_above is not None and workspace > ways.memory_above:
            trt.log_line(
                self._logger, "ERROR", "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
            )
            return None
        fault = ways.fails or _without_tactics(ways, network, profile, workspace)
        if ways.skips or fault and not ways.fails:
            self._skip_tactics()
        if fault:
            if not ways.silent:
                trt.log_line(self._logger, "ERROR", fault)
            return None
        if refused := sorted(network._quantised & set(ways.refuses)):
            trt.log_line(self._logger, "ERROR", f"{_NO_IMPLEMENTATION} {{/pairs of {refused[0]}}}.)\nmore")
            return None
        config._cache._timings.append("measured")
        header = {
            "tensorrt": ways.version,
            "ranges": {name: profile._ranges[name] for name in sorted(dynamic)},
            "half": ways.half,
            "layers": _layer_information(network, ways.int8),
            "detailed": config._profiling_verbosity.name == "DETAILED",
        }
        return HostMemory(pack(header, network._onnx))

    def _skip_tactics(self) -> None:
        """What TensorRT 10.3 tells on a board with little memory, word for word from a report of an AGX Orin."""
        for number in (33, 34):
            for line in (
                f"UNSUPPORTED_STATE: Skipping tactic {number} due to insufficient memory on requested size of "
                "629145600 detected for tactic 0xa5a46bfbd719d757.",
                "Tactic Device request: 600MB Available: 302MB. Device memory is insufficient to use tactic.",
            ):
                self._trt.log_line(self._logger, "WARNING", line)


def _without_tactics(ways: Any, network: Any, profile: Any, workspace: int) -> str:
    """The error of a build for which every tactic of a node was skipped; empty where none was."""
    rows = max((shapes[2][0] for shapes in profile._ranges.values()), default=1) if profile else 1
    short = (ways.skips_above is not None and workspace > ways.skips_above) or (
        ways.rows_above is not None and rows > ways.rows_above
    )
    return f"{_NO_IMPLEMENTATION} {{ForeignNode[{network._layers[-1]._name}]}}.)\nmore" if short else ""


@named("IBuilderConfig")
class BuilderConfig(Given):
    def _add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def _set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool_size > 0
        self._limits[pool.name] = pool_size

    def _create_timing_cache(self, content: Any) -> Any:
        text = bytes(memoryview(content)).decode()
        return self._trt.make("ITimingCache", _timings=json.loads(text)["timings"] if text else [])

    def _set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch, "timings of another GPU choose the wrong kernels"
        if cache._timings and self._trt.ways.old_cache:
            return False
        self._cache = cache
        return True

    def _get_timing_cache(self) -> Any:
        return self._cache


@named("ITimingCache")
class TimingCache(Given):
    def _serialize(self) -> Any:
        return HostMemory(json.dumps({"timings": self._timings}).encode())


@named("IOptimizationProfile")
class Profile(Given):
    def _set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        shapes = [tuple(min), tuple(opt), tuple(max)]
        assert all(low <= best <= high for low, best, high in zip(*shapes, strict=True)), shapes
        self._ranges[input] = shapes


@named("INetworkDefinition")
class Network(Given):
    @property
    def _num_layers(self) -> int:
        return len(self._layers)

    @property
    def _num_inputs(self) -> int:
        return len(self._inputs)

    def _get_layer(self, index: int) -> Any:
        return self._layers[index]

    def _get_input(self, index: int) -> Any:
        return self._inputs[index]


@named("ITensor")
class Tensor(Given):
    pass


@named("ILayer")
class Layer(Given):
    @property
    def _num_inputs(self) -> int:
        return len(self._takes)

    @property
    def _num_outputs(self) -> int:
        return len(self._gives)

    def _get_input(self, index: int) -> Any:
        return self._takes[index]

    def _get_output(self, index: int) -> Any:
        return self._gives[index]


@named("OnnxParser")
class OnnxParser(Constructed):
    def _begin(self, network: Any, _: Any) -> None:
        self._network = network
        self._errors: list[Any] = []

    @property
    def _num_errors(self) -> int:
        return len(self._errors)

    def _get_error(self, index: int) -> Any:
        return self._errors[index]

    def _parse_from_file(self, path: str) -> bool:
        try:
            model = onnx.load(path)
        except Exception:  # protobuf's own, which share no base class but this
            self._errors.append(self._trt.make("ParserError", _of=("", "", "Failed to parse the ONNX model")))
            return False
        for node in model.graph.node:
            if node.op_type in _UNSUPPORTED:
                text = f"Unsupported operator {node.op_type}: no importer registered\nat ModelImporter.cpp:1"
                self._errors.append(self._trt.make("ParserError", _of=(node.name, node.op_type, text)))
        if not self._errors:
            _fill(self._trt, self._network, model)
        return not self._errors


@named("ParserError")
class ParserError(Given):
    def _node_name(self) -> str:
        return str(self._of[0])

    def _node_operator(self) -> str:
        return str(self._of[1])

    def _desc(self) -> str:
        return str(self._of[2])


_QUANTISED_TYPES = {onnx.TensorProto.INT8: "INT8", onnx.TensorProto.FLOAT8E4M3FN: "FP8"}
_INSPECTED = {"": "Half", "INT8": "Int8", "FP8": "FP8"}
_LAYER_TYPES = {
    "MatMul": "MATRIX_MULTIPLY",
    "Conv": "CONVOLUTION",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Constant": "CONSTANT",
    "Transpose": "SHUFFLE",
    "Cast": "CAST",
}


def _fill(trt: Any, network: Any, model: Any) -> None:
    """A network's inputs and layers, as the importer would make them: a constant for every weight, then the nodes.

    Newer importers give weights their leading axes by a layer of its own, which names the node that it is for.
    """
    types = trt.module.LayerType
    tensors: dict[str, Any] = {}

    def tensor(name: str, shape: tuple[int, ...] = ()) -> Any:
        return tensors.setdefault(name, trt.make("ITensor", _name=name, _shape=shape))

    def layer(  # noqa: PLR0913, PLR0917
        name: str, kind: str, takes: list[Any], gives: list[Any], node: str = "", pair: str = ""
    ) -> None:
        metadata = f"[ONNX Layer: {node}]" if node else ""
        state = {"_name": name, "_takes": takes, "_gives": gives, "_metadata": metadata, "_pair": pair}
        network._layers.append(trt.make("ILayer", _type=getattr(types, kind), **state))

    def with_axes(weight: Any, node: str) -> Any:
        name = f"ONNXTRT_unsqueezeTensor_{len(network._layers)}"
        unsqueezed = tensor(name, (1, *weight._shape))
        layer(name, "UNSQUEEZE", [weight], [unsqueezed], node)
        return unsqueezed

    for value in model.graph.input:
        shape = tuple(size.dim_value or -1 for size in value.type.tensor_type.shape.dim)
        network._inputs.append(tensor(value.name, shape))
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    types_of = {weight.name: _QUANTISED_TYPES.get(weight.data_type, "") for weight in model.graph.initializer}
    network._quantised.update(types_of[node.input[2]] for node in pairs)
    for weight in model.graph.initializer:
        layer(f"ONNXTRT_{weight.name}", "CONSTANT", [], [tensor(weight.name, tuple(weight.dims))])
    for node in model.graph.node:
        kind = _LAYER_TYPES.get(node.op_type, "ELEMENTWISE")
        if node.op_type == "Gemm":
            kind = "MATRIX_MULTIPLY"
        takes = [tensor(name) for name in node.input if name]
        if kind in {"QUANTIZE", "DEQUANTIZE", "SHUFFLE", "CAST"} and takes:
            for name in node.output:
                tensor(name, takes[0]._shape)
        if node.op_type == "MatMul" and hasattr(types, "UNSQUEEZE"):
            takes[1] = with_axes(takes[1], node.name)
        pair = types_of[node.input[2]] if kind in {"QUANTIZE", "DEQUANTIZE"} else ""
        layer(node.name, kind, takes, [tensor(name) for name in node.output], node.name, pair)
    network._onnx = model.SerializeToString()


def _layer_information(network: Any, int8: int) -> list[dict[str, Any]]:
    """What the inspector tells of an engine's layers: one a matrix product or what gives its weights axes, and one for
    all the rest."""
    made_by = {tensor._name: layer for layer in network._layers for tensor in layer._gives}
    layers: list[dict[str, Any]] = []

    def told(layer: Any, kind: str, datatype: str) -> None:
        layers.append(
            {
                "Name": f"{layer._name}_myl0_{len(layers)}",
                "LayerType": kind,
                "Inputs": [{"Name": "x", "Dimensions": [1], "Format/Datatype": datatype}],
                "Outputs": [{"Name": "y", "Dimensions": [1], "Format/Datatype": "Half"}],
                "Metadata": layer._metadata,
            }
        )

    quantised = 0
    for layer in network._layers:
        if layer._type.name not in {"MATRIX_MULTIPLY", "CONVOLUTION"}:
            continue
        pairs = []
        for tensor in layer._takes[:2]:
            maker = made_by.get(tensor._name)
            if maker is not None and maker._type.name == "UNSQUEEZE":
                maker = made_by.get(maker._takes[0]._name)
                told(made_by[tensor._name], "unsqueeze", _INSPECTED[maker._pair if maker is not None else ""])
            pairs.append(maker._pair if maker is not None else "")
        narrow = pairs[0] if len(set(pairs)) == 1 and (not pairs[0] or quantised < int8) else ""
        quantised += bool(narrow)
        told(layer, "gemm", _INSPECTED[narrow])
    rest = {"Name": "rest", "LayerType": "kgen", "Inputs": [{"Name": "z", "Format/Datatype": "Float"}], "Outputs": []}
    return [*layers, rest]
