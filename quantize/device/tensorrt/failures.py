"""Why TensorRT builds nothing: what it tells its logger, read for whether less memory would do.

A shortage of memory is told in one of three ways: as an error of its own; as an error that a kernel needs a larger
workspace; or, on boards with little memory, as warnings that tactics are skipped, followed by the error that a node has
no implementation, or by none at all. The same warnings come with builds that succeed, so they alone mean nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edge_aac.engines.tensor_rt.library import TensorRtLog
from edge_aac.errors import DataError

_SHOWN_ERRORS = 3
_TOLD = {"WARNING", "ERROR", "INTERNAL_ERROR"}
# TensorRT 8 writes "insuficient".
_OUT_OF_MEMORY = re.compile(
    r"out of ?memory|bad_alloc|memoryallocation|insuff?icient memory|failed to allocate|memory is insufficient"
    r"|could not allocate|requested amount of gpu memory|alloc_failed",
    re.IGNORECASE,
)
_NO_IMPLEMENTATION = re.compile(r"could not find any implementation|no implementation", re.IGNORECASE)
_WORKSPACE = re.compile(r"insufficient workspace", re.IGNORECASE)


class OutOfMemoryError(Exception):
    """A build that may succeed with smaller limits; the message is TensorRT's own.

    Attributes:
        wants_workspace: whether a kernel had too little workspace: that limit is then not to be lowered.
    """

    def __init__(self, message: str, wants_workspace: bool = False) -> None:
        super().__init__(message)
        self.wants_workspace = wants_workspace


class BuildLog(TensorRtLog):
    """TensorRT's messages, of which warnings of too little memory are remembered beside the errors.

    Args:
        trt: the module.
    """

    sink: Any

    def __init__(self, trt: Any) -> None:
        super().__init__(trt)
        forward = self.sink
        shortages: list[str] = []

        class Watch(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity.name in _TOLD and _OUT_OF_MEMORY.search(msg):
                    shortages.append(msg.strip().partition("\n")[0])
                forward.log(severity, msg)

        self.sink = Watch()
        self._shortages = shortages

    def forget(self) -> None:
        """See :meth:`TensorRtLog.forget`; the warnings as well."""
        super().forget()
        self._shortages.clear()

    def failure(self, path: Path, version: str) -> Exception:
        """The exception for a build, or a plan that does not load, that gave nothing since :meth:`forget`.

        Args:
            path: graph that was built, or plan that was loaded.
            version: TensorRT's.

        Returns:
            :class:`OutOfMemoryError` where less memory may do, :class:`DataError` otherwise.
        """
        errors = self.errors()
        if said := next((error for error in errors if _OUT_OF_MEMORY.search(error)), None):
            return OutOfMemoryError(said)
        if said := next((error for error in errors if _WORKSPACE.search(error)), None):
            return OutOfMemoryError(said, wants_workspace=True)
        unmet = next((error for error in errors if _NO_IMPLEMENTATION.search(error)), None)
        if self._shortages and (unmet or not errors):
            told = f"{len(self._shortages)} warnings, the first: {self._shortages[0]}"
            return OutOfMemoryError(f"{unmet or 'no engine, and no error'}; {told}")
        return DataError(
            f"TensorRT {version} cannot build an engine of {path}: "
            f"{'; '.join(errors[:_SHOWN_ERRORS]) or 'it says no reason'}"
        )
