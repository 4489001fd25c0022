"""The GPU: its device files, driver, and whether TensorRT can use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.board.gpu_access import access_mend, closed_nodes, gpu_nodes, shown
from edge_aac.doctor.contract import Context, Finding, Part

LIMIT_S = 60.0


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.models.settings import CaptionerSettings

    backend = context.settings.get(CaptionerSettings).backend
    return [Part(lambda: _gpu(context, backend == "tensorrt"), limit_s=LIMIT_S)]


def _gpu(context: Context, wanted: bool) -> Iterator[Finding]:
    from edge_aac.errors import DeviceError

    nodes = gpu_nodes(context.root)
    if not nodes:
        yield Finding(
            "failed" if wanted else "ok",
            "no GPU here" if wanted else "no GPU here: graphs run on the processor",
            "set backend to auto or onnxruntime; in a container give it the GPU (--runtime nvidia)" if wanted else "",
        )
        return
    yield Finding("ok", f"{driver(context)}: {', '.join(shown(node, context.root) for node in nodes)}")
    if closed := closed_nodes(nodes):
        yield Finding(
            "failed" if wanted else "warning",
            f"this user may not use {', '.join(shown(node, context.root) for node in closed)}",
            access_mend(closed, context.root),
        )
    try:
        from edge_aac.engines.tensor_rt.engine import this_gpu

        gpu = this_gpu()
    except DeviceError as error:
        yield Finding("failed" if wanted else "warning", str(error).rstrip("."))
    else:
        yield Finding("ok", f"{gpu.name} with TensorRT {gpu.tensorrt}")


def driver(context: Context) -> str:
    """The driver's version as it tells it."""
    for path in ("etc/nv_tegra_release", "proc/driver/nvidia/version", "sys/module/nvidia/version"):
        if text := context.text(path):
            return text.splitlines()[0].strip("# ")
    return "driver of unknown version"
