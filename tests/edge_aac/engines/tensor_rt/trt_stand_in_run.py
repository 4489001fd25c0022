"""The half of the stand-in for TensorRT that runs: ONNX Runtime on the addresses that are bound."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import Constructed, Given, named, unpack

_TYPES = {
    "tensor(float)": "FLOAT",
    "tensor(float16)": "HALF",
    "tensor(int64)": "INT64",
    "tensor(bool)": "BOOL",
}
_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "BOOL": np.bool_}


@named("Runtime")
class Runtime(Constructed):
    def _deserialize_cuda_engine(self, plan: Any) -> Any:
        content = unpack(bytes(memoryview(plan)))
        if content is None:
            self._trt.log_line(self._logger, "ERROR", "Error Code 1: Serialization (magic tag does not match)\nmore")
            return None
        header, model = content
        if header["tensorrt"] != self._trt.ways.version:
            self._trt.log_line(self._logger, "ERROR", f"Error Code 6: serialized with version {header['tensorrt']}")
            return None
        return self._trt.make("ICudaEngine", _header=header, _model=model, _logger=self._logger, _made=[])


class _Session:
    """The graph behind a plan, with the types that the plan declares."""

    def __init__(self, model: bytes, header: dict[str, Any]) -> None:
        import onnxruntime  # not for a child that only builds

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._half = set(header["half"])
        self._runs: dict[tuple[Any, ...], dict[str, tuple[int, ...]]] = {}
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._own = {entry.name: _TYPES[entry.type] for entry in (*inputs, *outputs)}
        self.inputs = [entry.name for entry in inputs]
        self.outputs = [entry.name for entry in outputs]
        self.declared = {
            entry.name: tuple(size if isinstance(size, int) else -1 for size in entry.shape)
            for entry in (*inputs, *outputs)
        }
        self.types = {name: "HALF" if name in self._half else kind for name, kind in self._own.items()}

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        own = {name: array.astype(_NUMPY[self._own[name]]) for name, array in inputs.items()}
        outputs = self._session.run(self.outputs, own)
        return {name: array.astype(_NUMPY[self.types[name]]) for name, array in zip(self.outputs, outputs, strict=True)}

    def output_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        key = tuple(sorted(shapes.items()))
        if key not in self._runs:
            zeros = {name: np.zeros(shape, _NUMPY[self._own[name]]) for name, shape in shapes.items()}
            self._runs[key] = {name: array.shape for name, array in self.run(zeros).items()}
        return self._runs[key]


@named("ICudaEngine")
class Engine(Given):
    @property
    def _session(self) -> _Session:
        if not self._made:
            self._made.append(_Session(self._model, self._header))
        session: _Session = self._made[0]
        return session

    @property
    def _num_io_tensors(self) -> int:
        return len(self._session.types)

    def _get_tensor_name(self, index: int) -> str:
        return str([*self._session.inputs, *self._session.outputs][index])

    def _get_tensor_mode(self, name: str) -> Any:
        modes = self._trt.module.TensorIOMode
        return modes.INPUT if name in self._session.inputs else modes.OUTPUT

    def _get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._trt.module.DataType, self._session.types[name])

    def _get_tensor_shape(self, name: str) -> Any:
        return self._session.declared[name]

    def _get_tensor_profile_shape(self, name: str, index: int) -> Any:
        assert index == 0
        return [tuple(shape) for shape in self._header["ranges"][name]]

    def _is_shape_inference_io(self, name: str) -> bool:
        return False

    def _create_execution_context(self) -> Any:
        return self._trt.make("IExecutionContext", _engine=self, _shapes={}, _addresses={}, _state=0, _ran=-1)

    def _create_engine_inspector(self) -> Any:
        return self._trt.make("EngineInspector", _engine=self)


@named("IExecutionContext")
class Context(Given):
    def _set_input_shape(self, name: str, shape: Any) -> bool:
        shape, declared = tuple(shape), self._engine._session.declared[name]
        fits = len(shape) == len(declared) and all(
            wanted in (-1, size) for size, wanted in zip(shape, declared, strict=True)
        )
        if fits and -1 in declared:
            low, _, high = self._engine._header["ranges"][name]
            fits = all(smallest <= size <= largest for smallest, size, largest in zip(low, shape, high, strict=True))
        if not fits:
            self._trt.log_line(self._engine._logger, "ERROR", f"Error Code 3: {name} {shape} is not in the profile")
            return False
        self._shapes[name] = shape
        self._state += 1
        return True

    def _infer_shapes(self) -> Any:
        return [name for name in self._engine._session.inputs if name not in self._shapes]

    def _get_tensor_shape(self, name: str) -> Any:
        if self._infer_shapes():
            return self._engine._session.declared[name]
        return {**self._shapes, **self._engine._session.output_shapes(self._shapes)}[name]

    def _set_tensor_address(self, name: str, address: int) -> bool:
        if address % 256:
            self._trt.log_line(self._engine._logger, "ERROR", f"Error Code 3: address of {name} is not aligned")
            return False
        self._addresses[name] = address
        self._state += 1
        return True

    def _execute_async_v3(self, handle: int) -> bool:
        cuda, session = self._trt.cuda, self._engine._session
        stream = cuda.stream(handle)
        if self._infer_shapes() or set(self._addresses) != set(session.types):
            self._trt.log_line(self._engine._logger, "ERROR", "Error Code 3: shapes or addresses are missing")
            return False
        if stream.captured is not None and cuda.uncapturable:
            stream.spoilt = True
            self._trt.log_line(self._engine._logger, "ERROR", "Error Code 1: Cuda Runtime (operation not permitted)")
            return False
        assert stream.captured is None or self._ran == self._state, "captured before it ran once in this state"
        state, captured = self._state, stream.captured is not None
        shapes = {**self._shapes, **session.output_shapes(self._shapes)}
        places = {name: (self._addresses[name], _NUMPY[session.types[name]], shapes[name]) for name in session.types}

        def run() -> None:
            assert not captured or self._state == state, "the context was changed since the graph was captured"
            outputs = session.run({name: cuda.view(*places[name]).copy() for name in session.inputs})
            for name, array in outputs.items():
                cuda.view(*places[name])[...] = array
            self._ran = state

        stream.put(run)
        return True


@named("EngineInspector")
class Inspector(Given):
    def _get_engine_information(self, format: Any) -> str:  # noqa: A002
        assert format.name == "JSON"
        header = self._engine._header
        names = [layer["Name"] for layer in header["layers"]]
        return json.dumps({"Layers": header["layers"] if header["detailed"] else names, "Bindings": []})
