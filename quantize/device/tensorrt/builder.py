"""Builds TensorRT plans on the device, without torch: one child process an engine.

What a build takes of the GPU's memory is given back for certain only with its process, and a build that the kernel
kills for memory must not take the rest down. So the request goes to a child as JSON, its progress comes back as lines
and its result as JSON; a child that runs out of memory is followed by one with smaller limits. No engine was ever built
here: the tests run this against a stand-in with the API of TensorRT 10.3, 10.13 and 11.4.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from edge_aac.errors import DataError, DeviceError, EdgeAacError, InputMissingError
from quantize.device.profiles import Profiles, smaller_profiles
from quantize.device.tensorrt.failures import OutOfMemoryError
from quantize.device.tensorrt.plan_building import PlanRequest
from quantize.progress import Log

MAX_ATTEMPTS = 4
_CHILD = "quantize.device.tensorrt.child"
_KINDS: dict[str, type[EdgeAacError]] = {kind.__name__: kind for kind in (DataError, DeviceError, InputMissingError)}
_OUT_OF_MEMORY = OutOfMemoryError.__name__
_SHOWN_STDERR_LINES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildRequest:
    """An engine to build.

    Attributes:
        onnx: strongly typed graph (FP16, or explicit Q/DQ and FP16), its weights beside it.
        output: the plan; what stands there is replaced when all went well.
        timing_cache: kept between builds for one GPU and TensorRT; created where it is missing.
        profiles: shapes of the dynamic inputs, as :func:`quantize.device.profiles.profiles_for` gives them.
        workspace_bytes, tactic_dram_bytes: scratch memory of kernels and of trying them; 0 = a quarter and a half of
            what is free when the build begins.
        optimization_level: 0 (quickest to build) to 5.
    """

    onnx: Path
    output: Path
    timing_cache: Path
    profiles: Profiles
    workspace_bytes: int = 0
    tactic_dram_bytes: int = 0
    optimization_level: int = 3


@dataclass(frozen=True)
class BuiltPlan:
    """An engine that was built.

    Attributes:
        path: file of the plan.
        tensorrt, gpu: version and GPU that the plan is tied to, as :func:`edge_aac.engines.tensor_rt.engine.this_gpu`
            names them.
        seconds: duration of the build, all attempts together.
        precisions: precision → layers, by the engine's inspector.
        int8_matmuls, fp8_matmuls: large products with constant weights that run in INT8 or FP8, and how many there are.
        attempts: number of processes that it took.
        node_range: names of the first and the last layer.
        profiles: smallest, usual and largest shapes that it was built for: fewer rows than were asked for where memory
            was short.
        workspace_bytes, optimization_level: limits of the last attempt.
        shortages: why each earlier attempt failed.
    """

    path: Path
    tensorrt: str
    gpu: str
    seconds: float
    precisions: dict[str, int]
    int8_matmuls: tuple[int, int]
    attempts: int
    node_range: str
    fp8_matmuls: tuple[int, int] = (0, 0)
    profiles: Profiles = field(default_factory=dict)
    workspace_bytes: int = 0
    optimization_level: int = 3
    shortages: tuple[str, ...] = ()


def build_engine(request: BuildRequest, log: Log) -> BuiltPlan:
    """Build a plan in a process of its own, at most four times with less and less memory.

    Each attempt halves the limits of scratch memory (the workspace only where that was not what lacked), takes the next
    lower optimisation level, and halves the largest batch, down to the usual one.

    Ctrl-C and SIGTERM end the child at once; until the plan is complete, what stood in its place stays.

    Args:
        request: graph, output and limits of the build.
        log: function that is called with a line for each step.

    Raises:
        InputMissingError, DataError: there is no such graph, or TensorRT cannot make an engine of it.
        DeviceError: something is missing on this machine, memory does not suffice, or the child broke down.
    """
    started = time.monotonic()
    shortages: list[str] = []
    halvings = 0
    for attempt in range(1, MAX_ATTEMPTS + 1):
        plan = _smaller(request, attempt - 1, halvings)
        answer = _attempt(request, plan, log)
        if "error" not in answer:
            return BuiltPlan(
                path=request.output,
                seconds=time.monotonic() - started,
                attempts=attempt,
                tensorrt=answer["tensorrt"],
                gpu=answer["gpu"],
                precisions=answer["summary"]["precisions"],
                int8_matmuls=tuple(answer["summary"]["int8_matmuls"]),
                fp8_matmuls=tuple(answer["summary"]["fp8_matmuls"]),
                node_range=answer["node_range"],
                profiles=plan.profiles,
                workspace_bytes=answer["workspace_bytes"],
                optimization_level=plan.optimization_level,
                shortages=tuple(shortages),
            )
        if answer["kind"] != _OUT_OF_MEMORY:
            raise _KINDS[answer["kind"]](answer["error"])
        shortages.append(answer["error"])
        workspace = "the same workspace" if answer.get("wants_workspace") else "half the workspace"
        halvings += not answer.get("wants_workspace")
        if attempt < MAX_ATTEMPTS:
            log(f"out of memory ({shortages[-1]}): trying again with {workspace} and fewer rows at once")
    raise DeviceError(
        f"memory does not suffice to build an engine of {request.onnx}, even with an eighth of the workspace and "
        f"smaller batches ({shortages[-1]}): stop other programs, the desktop first, or add swap"
    )


def _smaller(request: BuildRequest, smaller: int, smaller_workspace: int) -> PlanRequest:
    """What the child is asked for; its output is named once there is a folder for it."""
    return PlanRequest(
        # Not resolved: weights lie beside the link that leads to a graph.
        onnx=request.onnx.absolute(),
        output=request.output,
        timing_cache=request.timing_cache.absolute(),
        profiles=smaller_profiles(request.profiles, smaller),
        workspace_bytes=request.workspace_bytes,
        tactic_dram_bytes=request.tactic_dram_bytes,
        optimization_level=max(0, request.optimization_level - smaller),
        smaller=smaller,
        smaller_workspace=smaller_workspace,
    )


def _attempt(request: BuildRequest, wanted: PlanRequest, log: Log) -> dict[str, Any]:
    """The answer of one child: the plan that it built, or ``error`` with its ``kind``."""
    folder = request.output.absolute().parent
    with _writing(folder):
        # Beside the output, so that the plan is renamed and not copied, and nothing of a failure is left.
        scratch = tempfile.TemporaryDirectory(dir=folder, prefix=f".{request.output.name}.")
    with scratch:
        inside = Path(scratch.name)
        plan = replace(wanted, output=inside / "plan")
        request_file, result_file = inside / "request.json", inside / "result.json"
        table = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(plan).items()}
        with _writing(folder):
            request_file.write_text(
                json.dumps({**table, "result": str(result_file), "parent": os.getpid()}), encoding="utf-8"
            )
            stderr = (inside / "stderr").open("w+", encoding="utf-8", errors="replace")
        with stderr:
            code = _run_child([sys.executable, "-m", _CHILD, str(request_file)], stderr, log)
            stderr.seek(0)
            stderr_lines = [line.strip() for line in stderr if line.strip()]
        for line in stderr_lines:
            _log.debug("builder: %s", line)
        answer = _answer(result_file, code, stderr_lines, request.onnx)
        if "error" not in answer:
            with _writing(folder):
                os.replace(plan.output, request.output)
        return answer


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeviceError(
            f"cannot write in {folder} ({error.strerror}): make room there, or give another --output"
        ) from error


def _run_child(command: list[str], stderr: Any, log: Log) -> int:
    """Exit code of a child whose lines are passed on; however this ends, the child has ended."""
    # A session of its own: Ctrl-C at a terminal goes to this process alone, which then ends the child.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True)
    assert child.stdout is not None
    try:
        with _termination_raises(), child.stdout:
            for line in child.stdout:
                log(line.rstrip("\n"))
            return child.wait()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def _termination_raises() -> Iterator[None]:
    """SIGTERM as an exception, so that what is open is closed; only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _answer(path: Path, code: int, stderr_lines: list[str], onnx: Path) -> dict[str, Any]:
    if code == -signal.SIGKILL:
        # The kernel's out-of-memory killer leaves no other trace.
        return {"kind": _OUT_OF_MEMORY, "error": "the builder's process was killed"}
    if code == 0 and path.is_file():
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answer
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    last = "; ".join(stderr_lines[-_SHOWN_STDERR_LINES:]) or "it stderr_lines nothing"
    return {"kind": DeviceError.__name__, "error": f"the builder's process for {onnx} ended {how} ({last})"}
