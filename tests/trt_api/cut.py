"""Cuts what the tests need out of the API facts of TensorRT, and out of an installed cuda-bindings.

    python tests/trt_api/cut.py tensorrt ../shared/trt_api/*.json    # facts read from NVIDIA's own Python bindings
    python tests/trt_api/cut.py cuda                                 # of the cuda-bindings that this Python has

Of a class everything is kept, so that a stand-in refuses what the class does not have; classes that no test touches
are left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import sys
from pathlib import Path
from typing import Any

CLASSES = (
    *("Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "ITimingCache", "IHostMemory"),
    *("OnnxParser", "ParserError", "ILayer", "ITensor", "Dims"),
    *("Runtime", "ICudaEngine", "IExecutionContext", "EngineInspector", "ILogger", "IProgressMonitor"),
)
ENUMS = (
    *("BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "ProfilingVerbosity", "OnnxParserFlag"),
    *("DataType", "TensorIOMode", "TensorLocation", "LayerType", "LayerInformationFormat", "ErrorCode"),
)
FUNCTIONS = (
    *("cudaDriverGetVersion", "cudaRuntimeGetVersion"),
    *("cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaMemGetInfo", "cudaGetErrorString", "cudaGetErrorName"),
    *("cudaMalloc", "cudaFree", "cudaMallocHost", "cudaFreeHost", "cudaMemcpyAsync", "cudaMemcpy2DAsync"),
    *("cudaMemsetAsync", "cudaStreamCreateWithFlags", "cudaStreamDestroy", "cudaStreamSynchronize"),
    *("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"),
    *("cudaGraphDestroy", "cudaGraphExecDestroy", "cudaStreamIsCapturing", "cudaHostAlloc", "cudaHostGetDevicePointer"),
)
CUDA_ENUMS = {
    "cudaError_t": (
        *("cudaSuccess", "cudaErrorInvalidValue", "cudaErrorMemoryAllocation", "cudaErrorInvalidPitchValue"),
        *("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInvalidResourceHandle"),
        *("cudaErrorIllegalAddress", "cudaErrorStreamCaptureUnsupported", "cudaErrorStreamCaptureInvalidated"),
        *("cudaErrorIllegalState", "cudaErrorStreamCaptureUnjoined", "cudaErrorNotSupported"),
    ),
    "cudaMemcpyKind": ("cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost", "cudaMemcpyDeviceToDevice"),
    "cudaStreamCaptureMode": ("cudaStreamCaptureModeGlobal", "cudaStreamCaptureModeThreadLocal"),
    "cudaStreamCaptureStatus": (
        *("cudaStreamCaptureStatusNone", "cudaStreamCaptureStatusActive", "cudaStreamCaptureStatusInvalidated"),
    ),
}
CONSTANTS = ("cudaStreamNonBlocking", "cudaHostAllocMapped")
PROPERTIES = ("name", "major", "minor", "integrated", "canMapHostMemory", "multiProcessorCount", "totalGlobalMem")


def cut_tensorrt(facts: dict[str, Any]) -> dict[str, Any]:
    """The classes and enums that tests need, signatures without the module's name."""
    classes = {name: facts["classes"][name] for name in CLASSES}
    for table in classes.values():
        table["methods"] = {
            name: [signature.replace("tensorrt_bindings.tensorrt.", "") for signature in signatures]
            for name, signatures in table["methods"].items()
        }
    return {
        "version": facts["version"],
        "classes": classes,
        "enums": {name: facts["enums"][name] for name in ENUMS},
    }


def cut_cuda() -> dict[str, Any]:
    """Parameters, enum values and constants of ``cuda.bindings.runtime`` as installed."""
    runtime = importlib.import_module("cuda.bindings.runtime")
    enums = {
        enum: {member: int(getattr(getattr(runtime, enum), member)) for member in members}
        for enum, members in CUDA_ENUMS.items()
    }
    properties = runtime.cudaDeviceProp()
    return {
        "version": importlib.metadata.version("cuda-bindings"),
        "functions": {name: list(inspect.signature(getattr(runtime, name)).parameters) for name in FUNCTIONS},
        "enums": enums,
        "constants": {name: int(getattr(runtime, name)) for name in CONSTANTS},
        "cudaDeviceProp": {name: type(getattr(properties, name)).__name__ for name in PROPERTIES},
    }


def main() -> None:
    """See the module."""
    here = Path(__file__).parent
    kind, *files = sys.argv[1:]
    tables = [cut_cuda()] if kind == "cuda" else [cut_tensorrt(json.loads(Path(file).read_text())) for file in files]
    for table in tables:
        path = here / f"{kind}-{table['version']}.json"
        path.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
