"""Versions of edge-aac and of what it stands on."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from edge_aac import __version__
from edge_aac.doctor.contract import Context, Finding, Part

REQUIRED = ("numpy", "onnxruntime", "tokenizers", "soxr", "soundfile", "pydantic", "typer")
OPTIONAL = ("PyAudio", "prometheus-client", "paho-mqtt", "pyserial", "onnx", "tensorrt", "cuda-bindings")

_OLDEST, _NEWEST = (3, 10), (3, 12)


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _versions(context))]


def _versions(context: Context) -> Iterator[Finding]:
    yield Finding(
        "ok",
        f"edge-aac {__version__}, Python {platform.python_version()}, {distribution(context)}, "
        f"kernel {platform.release()}, {platform.machine()}",
    )
    found = installed((*REQUIRED, *OPTIONAL))
    if missing := [name for name in REQUIRED if name not in found]:
        yield Finding("failed", f"{', '.join(missing)} is missing", "install edge-aac again with pip")
    else:
        yield Finding("ok", ", ".join(f"{name} {number}" for name, number in found.items()))
    if not _OLDEST <= tuple(map(int, platform.python_version_tuple()[:2])) <= _NEWEST:
        yield Finding("warning", "edge-aac is tested with Python 3.10 to 3.12 alone", "run it with one of these")


def installed(names: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def distribution(context: Context) -> str:
    """The name of the Linux distribution as it calls itself."""
    for line in context.text("etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"'")
    return "unknown distribution"
