"""A loaded plan with its execution context: what it takes and gives, and which shapes and addresses are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_aac.engines.tensor_rt.cuda_memory import GpuRefusalError, size_bytes
from edge_aac.engines.tensor_rt.library import TensorRtLog
from edge_aac.errors import DataError, DeviceError

Shape = tuple[int, ...]

# By name, for the library is not imported here; of bfloat16 numpy knows nothing.
_DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT64": np.dtype(np.int64),
    "INT32": np.dtype(np.int32),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
BUILD_COMMAND = "edge-aac build-engine"
"""What builds a plan anew, where it is not known of which bundle it is."""


@dataclass(frozen=True)
class PlanTensor:
    """An input or output of a plan.

    Attributes:
        dtype: number type in memory.
        shape: declared shape; -1 is a dynamic axis.
        largest: shape that the plan was built for at most.
    """

    dtype: np.dtype[Any]
    shape: Shape
    largest: Shape

    @property
    def largest_bytes(self) -> int:
        """Room that it can need."""
        return size_bytes(self.dtype, self.largest)


class BoundPlan:
    """A plan with an execution context, in its first optimisation profile.

    Args:
        path: file of the plan, for messages.
        engine: ``ICudaEngine``.
        trt: the module.
        log: log of the runtime that loaded the plan.
        build_command: command that builds the plan anew, for messages.

    Raises:
        DataError: it has tensors that edge-aac does not know how to feed.
        DeviceError: there is no room for its activations.

    Attributes:
        inputs, outputs: tensors of the plan by name.
    """

    def __init__(self, path: Path, engine: Any, trt: Any, log: TensorRtLog, build_command: str = BUILD_COMMAND) -> None:
        self.path = path
        self._log = log
        self._build_command = build_command
        self._rebuild = f"run `{build_command}`"
        log.forget()
        self._engine = engine  # it must outlive its context
        self._context = engine.create_execution_context()
        if self._context is None:
            raise DeviceError(f"there is no memory for the activations of {path} {log.because()}: stop other programs")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        for name in names:
            if engine.is_shape_inference_io(name):
                raise DataError(f"{path} takes {name} as a shape, not as numbers: export the bundle again")
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = {name: self._input(name) for name in inputs}
        self.outputs: dict[str, PlanTensor] = {}
        self._output_names = [name for name in names if name not in self.inputs]
        self.arrange({name: tensor.largest for name, tensor in self.inputs.items()})
        self.outputs = {
            name: PlanTensor(self._dtype(name), tuple(engine.get_tensor_shape(name)), largest)
            for name, largest in self.output_shapes().items()
        }

    def arrange(self, shapes: Mapping[str, Shape]) -> bool:
        """Set the shapes of all inputs; whether that changed anything.

        Raises:
            DataError: the inputs have other names, or the plan was not built for these shapes.
        """
        if shapes == self._shapes:
            return False
        if shapes.keys() != self.inputs.keys():
            raise DataError(f"{self.path} takes {sorted(self.inputs)}, not {sorted(shapes)}: {self._rebuild}")
        self._shapes = {}  # until all are set, none is known
        self._log.forget()
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise DataError(
                    f"{self.path} was built for {name} up to {list(self.inputs[name].largest)}, not {list(shape)} "
                    f"{self._log.because()}: {self._rebuild_for(name, shape)}"
                )
        try:
            missing = self._context.infer_shapes()
        except RuntimeError as error:
            # Its second line names a place in TensorRT's sources.
            first_line = str(error).strip().partition("\n")[0]
            raise DataError(
                f"TensorRT cannot tell the shapes within {self.path} ({first_line}) {self._log.because()}: "
                f"{self._rebuild}"
            ) from error
        if missing:
            raise DataError(f"{self.path} also needs the values of {', '.join(missing)}: export the bundle again")
        self._shapes = dict(shapes)
        return True

    def output_shapes(self) -> dict[str, Shape]:
        """Shapes of the outputs for the inputs that are arranged.

        Raises:
            DataError: one depends on more than the shapes of the inputs.
        """
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in self._output_names}
        for name, shape in shapes.items():
            if min(shape, default=0) < 0:
                raise DataError(f"{self.path} cannot tell the shape of {name} beforehand: export the bundle again")
            tensor = self.outputs.get(name)
            if tensor is not None and math.prod(shape) > math.prod(tensor.largest):
                raise DataError(
                    f"{self.path} gives a {name} of {list(shape)}, more than there is room for: {self._rebuild}"
                )
        return shapes

    def bind(self, addresses: Mapping[str, int]) -> bool:
        """Set the device addresses of all tensors; whether that changed anything.

        Raises:
            DataError: TensorRT refuses one.
        """
        if addresses == self._addresses:
            return False
        self._addresses = {}
        self._log.forget()
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise DataError(f"{self.path} refuses an address for {name} {self._log.because()}: {self._rebuild}")
        self._addresses = dict(addresses)
        return True

    def enqueue(self, stream: int) -> None:
        """Put one run on a stream; the first after a change of shapes must not be captured.

        Raises:
            GpuRefusalError: TensorRT refuses it.
        """
        self._log.forget()
        if not self._context.execute_async_v3(stream):
            raise GpuRefusalError(
                f"TensorRT could not run {self.path} {self._log.because()}", f"restart edge-aac, or {self._rebuild}"
            )

    def _rebuild_for(self, name: str, shape: Shape) -> str:
        """The command that builds a plan that takes this shape, too."""
        largest = self.inputs[name].largest
        if name in {"token_ids", "prefix"} and shape[0] > largest[0]:
            return (
                f"run `{self._build_command} --candidates {shape[0]}`, or decode {largest[0]} captions at once at most"
            )
        return self._rebuild

    def _input(self, name: str) -> PlanTensor:
        shape = tuple(self._engine.get_tensor_shape(name))
        largest = shape
        if min(shape, default=0) < 0:
            largest = tuple(self._engine.get_tensor_profile_shape(name, 0)[-1])
        return PlanTensor(self._dtype(name), shape, largest)

    def _dtype(self, name: str) -> np.dtype[Any]:
        kind = str(self._engine.get_tensor_dtype(name).name)
        if kind not in _DTYPES:
            raise DataError(f"{self.path} has a {name} of type {kind}, which edge-aac cannot read: {self._rebuild}")
        return _DTYPES[kind]
