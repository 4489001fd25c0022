"""Builds one TensorRT plan, in the process that it is called in; see :mod:`quantize.device.tensorrt.builder`.

The calls are those that TensorRT 10.3, 10.13 and 11.4 have in common (checked against NVIDIA's bindings of each); no
engine was ever built with it here. Precision is the ONNX file's alone: the network is strongly typed.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.engines.tensor_rt.cuda_memory import Cuda
from edge_aac.engines.tensor_rt.engine import this_gpu
from edge_aac.engines.tensor_rt.library import load_tensorrt
from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.device.profiles import Profiles
from quantize.device.tensorrt.failures import BuildLog
from quantize.device.tensorrt.inspection import PlanSummary, large_products, summary
from quantize.progress import Log

_SHOWN_ERRORS = 3
_REPORT_S = 5.0
_MIN_BYTES = 16 << 20
_MEMORY = Path("/proc/meminfo")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanRequest:
    """What is built.

    Attributes:
        onnx: strongly typed graph, its weights beside it.
        output: file that the plan is written to, which is not its final place.
        timing_cache: read and written, created where it is missing.
        profiles: smallest, usual and largest shapes of the dynamic inputs.
        workspace_bytes, tactic_dram_bytes: limits of scratch memory; 0 = a share of what is free.
        optimization_level: 0 to 5.
        smaller: number of times that the memory limits are halved.
        smaller_workspace: the same of the workspace alone; None = as often as the others.
    """

    onnx: Path
    output: Path
    timing_cache: Path
    profiles: Profiles
    workspace_bytes: int
    tactic_dram_bytes: int
    optimization_level: int
    smaller: int = 0
    smaller_workspace: int | None = None


@dataclass(frozen=True)
class PlanMade:
    """What was built; see :class:`quantize.device.tensorrt.builder.BuiltPlan`."""

    tensorrt: str
    gpu: str
    summary: PlanSummary
    node_range: str
    workspace_bytes: int


def build_plan(request: PlanRequest, log: Log, wanted: Callable[[], bool]) -> PlanMade:
    """Parse, build, write and inspect.

    Args:
        request: graph, output and limits of the build.
        log: called with a line for each step.
        wanted: function that is called between the builder's steps; False ends the build.

    Raises:
        OutOfMemoryError: smaller limits may help.
        DataError: TensorRT cannot make an engine of the graph.
        DeviceError: TensorRT, cuda-python or the GPU are missing, or the plan cannot be written.
        InputMissingError: the graph is not there.
    """
    trt, gpu = load_tensorrt(), this_gpu()
    messages = BuildLog(trt)
    builder = trt.Builder(messages.sink)
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = trt.OnnxParser(network, messages.sink)
    _parse(parser, request.onnx, trt.__version__, log)
    large, nodes = large_products(network), _node_range(network)
    config = builder.create_builder_config()
    workspace = _limit_memory(trt, config, request, gpu.unified, log)
    config.builder_optimization_level = request.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _add_profile(builder, network, config, request.profiles, request.onnx)
    config.progress_monitor = _progress_monitor(trt, log, wanted)
    cache = _use_timing_cache(config, request.timing_cache)
    messages.forget()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise messages.failure(request.onnx, trt.__version__)
    _write(request.output, plan)
    if cache:
        _keep_timing_cache(config, request.timing_cache)
    # What the builder holds would lie in memory beside the engine that is loaded to be looked at.
    del plan, config, parser, network, builder
    found = _inspect(trt, messages, request.output, large)
    return PlanMade(str(trt.__version__), gpu.name, found, nodes, workspace)


def _parse(parser: Any, path: Path, version: str, log: Log) -> None:
    """The parser's errors, all of them told, the first few in the sentence.

    Raises:
        InputMissingError, DataError: there is no such file, or it cannot be parsed.
    """
    if not path.is_file():
        raise InputMissingError(f"there is no {path} to build an engine from")
    # By path: weights that lie beside the file are found from there.
    if parser.parse_from_file(str(path)):
        return
    errors = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        text = error.desc().strip().partition("\n")[0]
        where = f"{error.node_name()} ({error.node_operator()})" if error.node_operator() else "the file"
        errors.append(f"{where}: {text}")
        log(f"TensorRT cannot parse {errors[-1]}")
    more = f", and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
    raise DataError(
        f"TensorRT {version} cannot parse {path}: {'; '.join(errors[:_SHOWN_ERRORS]) or 'it says no reason'}{more}"
    )


def _node_range(network: Any) -> str:
    """First and last layer, for a report that must say where something went wrong."""
    names = [network.get_layer(index).name for index in (0, network.num_layers - 1)] if network.num_layers else []
    return " … ".join(names)


def _limit_memory(trt: Any, config: Any, request: PlanRequest, unified: bool, log: Log) -> int:
    """The bytes of the workspace."""
    free = free_bytes(Cuda().free_bytes(), unified)
    # Weights, activations and the plan itself need room beside the scratch memory.
    halvings = request.smaller if request.smaller_workspace is None else request.smaller_workspace
    workspace = max((request.workspace_bytes or free // 4) >> halvings, _MIN_BYTES)
    tactics = max((request.tactic_dram_bytes or free // 2) >> request.smaller, _MIN_BYTES)
    log(
        f"{free >> 20} MiB free, {workspace >> 20} MiB for the workspace, optimisation level "
        f"{request.optimization_level}"
    )
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM, tactics)
    return workspace


def free_bytes(device: int, unified: bool, memory: Path = _MEMORY) -> int:
    """Memory that a build may use.

    Args:
        device: bytes that CUDA calls free; on a Jetson it leaves out what caches hold, and counts swap nowhere.
        unified: whether the GPU uses the host's memory.
        memory: the kernel's own account.

    Raises:
        DeviceError: the kernel gives no account.
    """
    if not unified:
        return device
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", memory.read_text(encoding="ascii"), re.MULTILINE)
    except OSError as error:
        raise DeviceError(f"{memory} cannot be read ({error.strerror}): build where /proc is mounted") from error
    if found is None:
        raise DeviceError(f"{memory} does not say how much memory is available: use a kernel of 3.14 or newer")
    return int(found[1]) << 10


def _add_profile(builder: Any, network: Any, config: Any, profiles: Profiles, path: Path) -> None:
    """One profile for all dynamic inputs.

    Raises:
        DataError: one of them has no shapes.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    dynamic = [tensor.name for tensor in inputs if min(tuple(tensor.shape), default=0) < 0]
    if missing := [name for name in dynamic if name not in profiles]:
        raise DataError(f"{path} has dynamic inputs that edge-aac knows no sizes of: {', '.join(missing)}")
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    for name in dynamic:
        smallest, usual, largest = profiles[name]
        profile.set_shape(name, smallest, usual, largest)
    if config.add_optimization_profile(profile) < 0:
        shapes = {name: profiles[name] for name in dynamic}
        raise DataError(f"TensorRT refuses the shapes that {path} is to be built for: {shapes}")


def _progress_monitor(trt: Any, log: Log, wanted: Callable[[], bool]) -> Any:
    """An ``IProgressMonitor`` that tells every few seconds how far each phase is."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, tuple[int, int]] = {}
            self._logged_s = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = (0, num_steps)
            if not parent_phase:
                self._log_steps()

        def step_complete(self, phase_name: str, step: int) -> bool:
            _, steps = self._phases.get(phase_name, (0, 0))
            self._phases[phase_name] = (step + 1, steps)
            if time.monotonic() - self._logged_s >= _REPORT_S:
                self._log_steps()
            return wanted()

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def _log_steps(self) -> None:
            self._logged_s = time.monotonic()
            # A copy: TensorRT may report from several threads.
            phases = list(self._phases.items())
            log(", ".join(f"{name} {done}/{steps}" for name, (done, steps) in phases))

    return Monitor()


def _use_timing_cache(config: Any, path: Path) -> bool:
    """Load what was timed before; whether there is a cache to keep. Of another GPU or version it starts anew."""
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        known = b""
    except OSError as error:
        _log.warning("the timing cache %s cannot be read (%s): timing anew", path, error.strerror)
        known = b""
    for content in (known, b"") if known else (b"",):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return True
        if content:
            _log.warning("%s is of another TensorRT or GPU, or broken: timing anew", path)
    return False


def _keep_timing_cache(config: Any, path: Path) -> None:
    """Written beside and renamed, for another build may read it now; without it the next build only takes longer."""
    cache = config.get_timing_cache()
    content = cache.serialize() if cache is not None else None
    if content is None:
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(memoryview(content))
        os.replace(beside, path)
    except OSError as error:
        _log.warning("the timing cache %s cannot be kept (%s)", path, error.strerror)
        beside.unlink(missing_ok=True)


def _write(path: Path, plan: Any) -> None:
    try:
        with path.open("wb") as stream:
            stream.write(memoryview(plan))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise DeviceError(f"the engine cannot be written to {path.parent} ({error.strerror}): make room") from error


def _inspect(trt: Any, log: BuildLog, path: Path, large: dict[str, list[str]]) -> PlanSummary:
    log.forget()
    engine = trt.Runtime(log.sink).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise log.failure(path, trt.__version__)
    inspector = engine.create_engine_inspector()
    return summary(inspector.get_engine_information(trt.LayerInformationFormat.JSON), large)
