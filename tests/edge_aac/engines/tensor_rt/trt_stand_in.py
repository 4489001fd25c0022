"""A stand-in for ``tensorrt`` that has the API of one version and computes with ONNX Runtime.

A "plan" holds the ONNX file that it was built from, with what a real plan is tied to. A run reads the addresses that
are bound to it when the stream gets to it, and writes the outputs to theirs: wrong buffers give wrong captions. What
TensorRT leaves undefined fails here: a capture before the first run of a shape, a graph of an older state, a missing
address, one that is not aligned. Its numbers are ONNX Runtime's: of TensorRT's own it says nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from types import ModuleType
from typing import Any

from tests.edge_aac.engines.tensor_rt import trt_stand_in_build as build
from tests.edge_aac.engines.tensor_rt import trt_stand_in_run as run
from tests.edge_aac.engines.tensor_rt.cuda_stand_in import StandInCuda
from tests.edge_aac.engines.tensor_rt.trt_api import api_facts, declare, make_enum
from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import overridable


@dataclasses.dataclass
class Ways:
    """How the stand-in behaves; as JSON it reaches a child process.

    Attributes:
        version: of TensorRT.
        half: inputs and outputs that a plan declares as float16.
        memory_above: a build with a larger workspace runs out of memory, and says so.
        killed_above: a build with a larger workspace is killed, as the kernel does it.
        skips_above: a build with a larger workspace skips every tactic, which is a warning, and then finds no
            implementation, which is an error.
        rows_above: the same of a build whose largest batch is larger.
        skips: whether a build that goes well skips some tactics as well, as they do on small boards.
        silent: whether a build that gives nothing says no error.
        refuses: types of Q/DQ ("INT8", "FP8") that it finds no implementation for.
        fails: what a build says before it gives nothing.
        step_s: seconds of each of the steps of a build.
        int8: quantised matrix products that run in INT8; of the others the inspector says FP16.
        old_cache: whether the timing cache is one of another GPU.
    """

    version: str = "10.3.0"
    half: tuple[str, ...] = ()
    memory_above: int | None = None
    killed_above: int | None = None
    skips_above: int | None = None
    rows_above: int | None = None
    skips: bool = False
    silent: bool = False
    refuses: tuple[str, ...] = ()
    fails: str = ""
    step_s: float = 0.0
    int8: int = 1_000_000
    old_cache: bool = False


class StandInTensorRt:
    """One installed TensorRT.

    Args:
        cuda: the GPU that it runs on.
        ways: see there.

    Attributes:
        module: what is imported as ``tensorrt``.
        calls: every method called and property used, in order.
        builds: what each build was asked for.
    """

    def __init__(self, cuda: StandInCuda, ways: Ways | None = None) -> None:
        self.cuda = cuda
        self.ways = ways or Ways()
        self.calls: list[str] = []
        self.builds: list[dict[str, Any]] = []
        facts = api_facts(self.ways.version)
        self.module = ModuleType("tensorrt")
        self.module.__version__ = self.ways.version  # type: ignore[attr-defined]
        first = 1
        for name, members in facts["enums"].items():
            first = (first + 3) % 11
            setattr(self.module, name, make_enum(name, members, first))
        for behaviour in (
            build.Builder,
            build.BuilderConfig,
            build.Network,
            build.Profile,
            build.TimingCache,
            build.OnnxParser,
            build.ParserError,
        ):
            self._declare(behaviour, facts)
        for behaviour in (build.Layer, build.Tensor, run.Runtime, run.Engine, run.Context, run.Inspector):
            self._declare(behaviour, facts)
        for name in ("ILogger", "IProgressMonitor"):
            setattr(self.module, name, overridable(name, facts["classes"][name]))
        severity = make_enum("Severity", facts["classes"]["ILogger"]["enums"]["Severity"], 0)
        self.module.ILogger.Severity = severity  # type: ignore[attr-defined]

    def _declare(self, behaviour: type, facts: dict[str, Any]) -> None:
        made = declare(behaviour, facts, self.ways.version, self.calls)
        made._trt = self  # type: ignore[attr-defined]
        setattr(self.module, behaviour.__name__, made)

    def make(self, name: str, **state: Any) -> Any:
        """An object of a class that has no constructor."""
        made = object.__new__(getattr(self.module, name))
        for key, value in state.items():
            object.__setattr__(made, key, value)
        return made

    def log_line(self, logger: Any, severity: str, message: str) -> None:
        """What TensorRT tells its logger."""
        logger.log(getattr(self.module.ILogger.Severity, severity), message)  # type: ignore[attr-defined]


STAND_IN_VARIABLE = "EDGE_AAC_TEST_TENSORRT"


@functools.cache
def of_the_environment() -> tuple[ModuleType, ModuleType]:
    """``cuda.bindings.runtime`` and ``tensorrt`` of a child process, as its parent wants them."""
    ways = json.loads(os.environ[STAND_IN_VARIABLE])
    cuda = StandInCuda()
    listed = {name: tuple(ways[name]) for name in ("half", "refuses")}
    return cuda.module, StandInTensorRt(cuda, Ways(**{**ways, **listed})).module
