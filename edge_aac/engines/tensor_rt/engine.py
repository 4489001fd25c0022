"""Graphs as TensorRT plans, on the GPU that they were built on.

Nothing here ever ran on a GPU: the tests run it whole through stand-ins that know which calls exist in TensorRT 10.3,
10.13 and 11.4 (``tests/trt_api``) and compute in the host's memory.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import Graph
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import Arrays, GraphDescription, TensorDescription
from edge_aac.engines.steps import DecodingSteps, Memory
from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, DeviceBuffer, PinnedBuffer, size_bytes
from edge_aac.engines.tensor_rt.device_array import DeviceArray
from edge_aac.engines.tensor_rt.library import TensorRtLog, load_tensorrt
from edge_aac.engines.tensor_rt.plan import BUILD_COMMAND, BoundPlan, PlanTensor, Shape
from edge_aac.engines.tensor_rt.run_times import RunTimes
from edge_aac.engines.tensor_rt.steps import DeviceDecoder
from edge_aac.errors import DataError, DeviceError, InputMissingError


@dataclass(frozen=True)
class GpuIdentity:
    """The GPU and TensorRT version that a plan is tied to.

    All Orin boards call their GPU "Orin" and have the architecture sm_87: its multiprocessors, of which a power mode
    may switch some off, and the board's memory are what tells them apart. CUDA gives both in a container as well, where
    the kernel's device tree is hidden.

    Attributes:
        architecture: architecture of the GPU ("sm_87").
        model: name of the GPU, as its driver gives it ("Orin").
        multiprocessors: multiprocessors that are on.
        memory_gb: size class of its memory in GB, as :func:`memory_class_gb` gives it.
        tensorrt: version of the library ("10.3.0").
        unified: whether the GPU uses the host's memory, as on a Jetson.
    """

    architecture: str
    model: str
    multiprocessors: int
    memory_gb: int
    tensorrt: str
    unified: bool

    @property
    def name(self) -> str:
        """The GPU as a manifest names it: "sm_87 Orin, 8 SMs, 16 GB"."""
        return f"{self.architecture} {self.model}, {self.multiprocessors} SMs, {self.memory_gb} GB"

    @property
    def file_part(self) -> str:
        """The GPU as a part of a file's name: "sm_87-Orin-8SM-16GB"."""
        model = re.sub(r"[^A-Za-z0-9]+", "-", self.model).strip("-")
        return f"{self.architecture}-{model}-{self.multiprocessors}SM-{self.memory_gb}GB"


def memory_class_gb(total_bytes: int, unified: bool) -> int:
    """The size that a memory is sold as, in GB.

    Args:
        total_bytes: bytes that CUDA counts; on a Jetson the firmware has taken some, and how many differs from one
            release to the next.
        unified: whether it is the board's memory, of which there are 4, 8, 16 … GB; that of a card is rounded up.
    """
    gib = max(1, -(-total_bytes >> 30))
    return 1 << (gib - 1).bit_length() if unified else gib


def this_gpu() -> GpuIdentity:
    """The GPU and the TensorRT of this machine.

    Raises:
        DeviceError: TensorRT or cuda-python is missing, or there is no GPU that they can use.
    """
    trt = load_tensorrt()
    properties = Cuda().properties()
    unified = bool(properties.integrated)
    return GpuIdentity(
        architecture=f"sm_{properties.major}{properties.minor}",
        model=bytes(properties.name).partition(b"\0")[0].decode(errors="replace"),
        multiprocessors=int(properties.multiProcessorCount),
        memory_gb=memory_class_gb(int(properties.totalGlobalMem), unified),
        tensorrt=str(trt.__version__),
        unified=unified,
    )


def check_plan(graph: Graph, bundle: Bundle) -> None:
    """Refuse a plan that was not built for this machine, or of another graph than the bundle holds.

    Raises:
        DataError: GPU, TensorRT or ONNX file differ; the message names the command that builds it anew.
        DeviceError: there is no TensorRT here.
    """
    here = this_gpu()
    built = graph.built_with
    for what, wanted, found in (
        ("the GPU", built.get("gpu"), here.name),
        ("TensorRT", built.get("tensorrt"), here.tensorrt),
    ):
        if wanted != found:
            raise DataError(
                f"{bundle.path(graph)} was built for {what} {wanted or '(unknown)'}, here is {found}: "
                f"{_power_mode_mend(wanted or '', here)}run `{bundle.build_command}`"
            )
    family = next((forms for forms in bundle.manifest.graphs.values() if graph in forms), [])
    if graph.parent_sha256 not in {form.sha256 for form in family if form is not graph}:
        raise DataError(
            f"{bundle.path(graph)} was built from another graph than the bundle holds now: run `{bundle.build_command}`"
        )


def _power_mode_mend(built_for: str, here: GpuIdentity) -> str:
    """What else mends it where the same board has another number of multiprocessors on."""
    number = re.search(r" (\d+) SMs", built_for)
    if number is None or replace(here, multiprocessors=int(number[1])).name != built_for:
        return ""
    return f"set the power mode in which the GPU has {number[1]} SMs (`sudo nvpmodel -q` shows the present one), or "


class DeviceContext:
    """The parts that the plans of a captioner share: TensorRT's runtime, its log, and one stream.

    Raises:
        DeviceError: TensorRT or cuda-python is missing, or there is no GPU that they can use.

    Attributes:
        times: file of a plan → how long its runs took.
    """

    _shared: ClassVar[weakref.ReferenceType[DeviceContext] | None] = None

    def __init__(self) -> None:
        self.trt = load_tensorrt()
        self.cuda = Cuda()
        self.stream = CudaStream(self.cuda)
        self.log = TensorRtLog(self.trt)
        self.times: dict[Path, RunTimes] = {}
        try:
            self._runtime = self.trt.Runtime(self.log.sink)
        except (TypeError, RuntimeError) as error:  # pybind11's, where TensorRT gives none: it says why in the log
            driver, _ = self.cuda.versions()
            raise DeviceError(
                f"TensorRT {self.trt.__version__} does not start on this driver, which is for CUDA {driver} "
                f"{self.log.because()}: take the TensorRT (or the image) of the board's own JetPack, or update JetPack"
            ) from error

    @classmethod
    def shared(cls) -> DeviceContext:
        """The one that all plans of the process use, as long as any of them does."""
        context = cls._shared() if cls._shared else None
        if context is None:
            context = cls()
            cls._shared = weakref.ref(context)
        return context

    def load(self, path: Path, build_command: str = BUILD_COMMAND) -> Any:
        """The ``ICudaEngine`` of a plan.

        Args:
            path: file of the plan.
            build_command: command that builds the plan anew, for messages.

        Raises:
            InputMissingError: the file cannot be read.
            DataError: it is no plan that this TensorRT can run here.
        """
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise InputMissingError(f"{path} cannot be read ({error.strerror}): run `{build_command}`") from error
        self.log.forget()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise DataError(
                f"TensorRT {self.trt.__version__} cannot load {path} {self.log.because()}: run `{build_command}`"
            )
        return engine


class TensorRtEngine:
    """A plan with its buffers, allocated at once for the largest shapes that it was built for.

    Engine, :class:`~edge_aac.engines.steps.BoundedEngine`, :class:`~edge_aac.engines.steps.ResidentEngine` and, where
    the plan is a decoder's, :class:`~edge_aac.engines.steps.StepwiseEngine`. The numbers that come in and go out are
    converted to and from the plan's own types on the host.

    Args:
        path: plan whose hash and origin were checked (:func:`check_plan`).
        device: shared by the plans of a captioner.
        build_command: command that builds the plan anew, for messages.
        cuda_graphs: whether a decoding step is captured as a CUDA graph; without, each launch is the host's work.

    Raises:
        DataError: this TensorRT cannot load the plan.
        DeviceError: there is no room for its buffers.
    """

    def __init__(
        self, path: Path, device: DeviceContext, build_command: str = BUILD_COMMAND, cuda_graphs: bool = True
    ) -> None:
        self._device = device
        engine = device.load(path, build_command)
        self._plan = BoundPlan(path, engine, device.trt, device.log, build_command)
        self._buffers: dict[str, DeviceBuffer] = {}
        self._pinned: dict[str, PinnedBuffer] = {}
        self._runs = 0
        self._times = device.times.setdefault(path, RunTimes())
        self._decoder: DeviceDecoder | None = None
        # A decoder that reads a prefix has no cross-attention and is run as any graph, its cache on the host.
        if "self_keys_0" in self._plan.inputs and "prefix" not in self._plan.inputs:
            self._decoder = DeviceDecoder(self._plan, device.cuda, device.stream, cuda_graphs, self._times)
        else:
            self._allocate()

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """See :class:`edge_aac.engines.choice.Engine`."""
        return {name: tensor.shape for name, tensor in self.description.inputs.items()}

    @property
    def description(self) -> GraphDescription:
        """See :class:`edge_aac.engines.contract.LoadedEngine`; types are the plan's own."""
        return GraphDescription(
            *(
                {name: _described(tensor) for name, tensor in tensors.items()}
                for tensors in (self._plan.inputs, self._plan.outputs)
            )
        )

    @property
    def largest_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """See :class:`edge_aac.engines.steps.BoundedEngine`."""
        return {name: tensor.largest for name, tensor in self._plan.inputs.items()}

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`edge_aac.engines.choice.Engine`.

        Raises:
            DataError: the plan was not built for these shapes.
            DeviceError: the GPU failed.
        """
        return self.run_resident(inputs, ())

    def run_resident(self, inputs: Arrays, resident: Collection[str]) -> dict[str, Any]:
        """See :class:`edge_aac.engines.steps.ResidentEngine`; raises as :meth:`run`."""
        stream = self._device.stream
        with stream.lock, self._times.one():
            if not self._buffers:
                self._allocate()
            self._plan.arrange({name: array.shape for name, array in inputs.items()})
            self._plan.bind({name: buffer.address for name, buffer in self._buffers.items()})
            shapes = self._plan.output_shapes()
            # From here on, what an earlier run left resident is overwritten.
            self._runs += 1
            for name, array in inputs.items():
                self._upload(name, array)
            self._plan.enqueue(stream.handle)
            on_host = [name for name in shapes if name not in resident]
            for name in on_host:
                size = size_bytes(self._plan.outputs[name].dtype, shapes[name])
                stream.download(self._pinned_for(name), self._buffers[name].address, size)
            stream.synchronise()
            return {
                **{name: self._array(name, shapes[name]) for name in on_host},
                **{name: self._resident(name, shapes[name]) for name in resident},
            }

    def open_steps(self, rows: int, positions: int, memory: Memory) -> DecodingSteps:
        """See :class:`edge_aac.engines.steps.StepwiseEngine`.

        Raises:
            DataError: the plan is no decoder's, or was not built for so many rows, windows, positions or memory steps.
            DeviceError: the GPU failed.
            RuntimeError: the memory stayed on the device, and the encoder ran again since.
        """
        if self._decoder is None:
            raise DataError(f"{self._plan.path} is no decoder: build the bundle again")
        return self._decoder.open(rows, positions, memory)

    def _allocate(self) -> None:
        tensors = {**self._plan.inputs, **self._plan.outputs}
        self._buffers = {
            name: DeviceBuffer(self._device.cuda, tensor.largest_bytes) for name, tensor in tensors.items()
        }
        for name in self._plan.inputs:
            self._pinned_for(name)

    def _pinned_for(self, name: str) -> PinnedBuffer:
        """An output that never leaves the GPU needs none."""
        if name not in self._pinned:
            self._pinned[name] = PinnedBuffer(self._device.cuda, self._buffers[name].size)
        return self._pinned[name]

    def _upload(self, name: str, array: npt.NDArray[np.generic]) -> None:
        dtype = self._plan.inputs[name].dtype
        pinned = self._pinned_for(name)
        np.copyto(pinned.array(dtype, array.shape), array, casting="same_kind")
        self._device.stream.upload(self._buffers[name].address, pinned, size_bytes(dtype, array.shape))

    def _array(self, name: str, shape: Shape) -> npt.NDArray[Any]:
        """A copy: the next run writes the buffer again. Numbers as float32, all else in the plan's type."""
        dtype = self._plan.outputs[name].dtype
        found = self._pinned[name].array(dtype, shape)
        return found.astype(np.float32) if dtype.kind == "f" else found.copy()

    def _resident(self, name: str, shape: Shape) -> DeviceArray:
        device, run = self._device, self._runs
        return DeviceArray(
            device.cuda,
            device.stream,
            self._buffers[name].address,
            shape,
            self._plan.outputs[name].dtype,
            lambda: self._runs == run,
        )


def _described(tensor: PlanTensor) -> TensorDescription:
    return TensorDescription(tensor.dtype.name, tuple(size if size >= 0 else None for size in tensor.shape))
