"""CUDA's first steps: memory is taken, filled, copied and given back, and a CUDA graph is run.

What pip installs as cuda-python was made for Arm servers, and nobody here has tried it on a Jetson: what fails here
fails for this reason, before TensorRT has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from edge_aac.doctor.contract import Context, Finding, Part

LIMIT_S = 120.0
SIZE_BYTES = 1 << 20
_REPORT = "report this with what `edge-aac support-dump` makes"


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(_first_steps, limit_s=LIMIT_S)]


def _first_steps() -> Iterator[Finding]:
    import numpy as np

    from edge_aac.engines.tensor_rt.cuda_memory import (
        Cuda,
        CudaStream,
        DeviceBuffer,
        GpuRefusalError,
        MappedBuffer,
        PinnedBuffer,
    )

    cuda = Cuda()
    driver, runtime = cuda.versions()
    # A finding a step: a library that crashes shows how far it came.
    yield Finding("ok", f"cuda-bindings {_binding()}: CUDA {runtime} on a driver for CUDA {driver}")
    sent, returned = (PinnedBuffer(cuda, SIZE_BYTES) for _ in range(2))
    first, second = (DeviceBuffer(cuda, SIZE_BYTES) for _ in range(2))
    stream = CudaStream(cuda)
    yield Finding("ok", f"the GPU gave memory (cudaMalloc), {cuda.free_bytes() >> 20} MiB more are free")

    shape = (SIZE_BYTES,)
    sent.array(np.uint8, shape)[:] = np.arange(SIZE_BYTES) % 251
    stream.upload(first.address, sent, SIZE_BYTES)
    stream.copy_rows((second.address, SIZE_BYTES), (first.address, SIZE_BYTES), SIZE_BYTES, 1)
    stream.download(returned, second.address, SIZE_BYTES)
    stream.synchronise()
    if not np.array_equal(sent.array(np.uint8, shape), returned.array(np.uint8, shape)):
        yield Finding("failed", "what was copied to the GPU and back is not what was sent", _REPORT)
        return
    yield Finding("ok", "what was copied to the GPU and back is what was sent")

    if cuda.shares_memory():
        mapped = MappedBuffer(cuda, SIZE_BYTES)
        mapped.array(np.uint8, shape)[:] = 1
        stream.clear(mapped.device_address, SIZE_BYTES)
        stream.synchronise()
        if mapped.array(np.uint8, shape).any():
            yield Finding("failed", "what the GPU wrote into the host's memory is not there", _REPORT)
            return
        yield Finding("ok", "the GPU wrote into the host's memory (cudaHostAllocMapped), from where logits are read")

    def clear_and_return() -> None:
        stream.clear(second.address, SIZE_BYTES)
        stream.download(returned, second.address, SIZE_BYTES)

    try:
        stream.launch(stream.capture(clear_and_return))
        stream.synchronise()
    except GpuRefusalError as error:
        yield Finding("warning", f"no CUDA graph can be run ({error.why}): each decoding step is launched by itself")
        return
    if returned.array(np.uint8, shape).any():
        yield Finding("failed", "a CUDA graph did not do what was captured", _REPORT)
        return
    yield Finding("ok", "a CUDA graph was captured and run")


def _binding() -> str:
    try:
        return version("cuda-bindings")
    except PackageNotFoundError:
        return "of unknown version"
