"""Bundles to build from, and builds that take seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.device import build
from quantize.device.build import BuildOptions
from quantize.device.check_windows import check_windows
from quantize.device.cpu import forms as cpu_forms
from tests.quantize.device.build_cases import FASTER, SMALL, built, exported_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The built-in bundle as it was exported, in a folder of its own."""
    return exported_bundle(tmp_path / "bundle")


@pytest.fixture(scope="module")
def windows() -> list[np.ndarray]:
    return check_windows(4)


@pytest.fixture(scope="module")
def small_build(windows: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose smallest graph has an INT8 form: built once, to be copied by every test that changes it."""
    folder = exported_bundle(tmp_path_factory.mktemp("built") / "bundle")
    with pytest.MonkeyPatch.context() as patched:
        _build_quickly(patched, windows)
        built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL))
    return folder


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch, windows: list[np.ndarray]) -> None:
    """A few windows, and forms that are faster: how fast this machine is just now is no property of the code."""
    _build_quickly(monkeypatch, windows)


def _build_quickly(monkeypatch: pytest.MonkeyPatch, windows: list[np.ndarray]) -> None:
    monkeypatch.setattr(build, "check_windows", lambda: windows)
    for module in (cpu_forms, build):
        monkeypatch.setattr(module, "timing", lambda *_: FASTER)
