"""The floors of the bridge: the codec stands on nothing, the rest on edge_aac, and pyserial waits until it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import firmware_bridge

_PACKAGE = Path(firmware_bridge.__file__).parent
_PATHS = sorted(_PACKAGE.rglob("*.py"))
_PURE = ("cobs", "adpcm", "fields", "frame", "packets", "sessions", "order", "emulator", "impairments", "outbox")
"""No input or output, no clock, nothing of edge_aac: what the C library does too."""
_ABOVE = {"quantize", "benchmarks", "torch", "transformers", "onnx"}
_IO = {"socket", "os", "time", "threading", "select", "serial", "logging", "numpy", "edge_aac"}


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", _PATHS, ids=lambda path: path.stem)
def test_imports_go_down(path: Path) -> None:
    tops = {name.partition(".")[0] for name in _imported(path)}
    assert not tops & _ABOVE
    if path.stem in _PURE:
        assert not tops & _IO
        own = {name.split(".")[1] for name in _imported(path) if name.startswith("firmware_bridge.")}
        assert own <= set(_PURE)


def test_all_pure_parts_are_there() -> None:
    assert set(_PURE) <= {path.stem for path in _PATHS}


def test_nothing_imports_pyserial_or_numpy_before_it_is_needed() -> None:
    script = (
        "import sys, firmware_bridge.commands, firmware_bridge.check, firmware_bridge.sink, edge_aac.audio.listings\n"
        "assert not {'serial', 'numpy', 'onnxruntime'} & set(sys.modules), sys.modules.keys()\n"
        "import firmware_bridge.source, firmware_bridge.udp_link\n"
        "assert 'serial' not in sys.modules and 'torch' not in sys.modules\n"
        "import threading; assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
