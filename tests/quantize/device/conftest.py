"""Bundles to build from, and builds that take seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.device import build
from quantize.device.check_windows import check_windows
from quantize.device.cpu import forms as cpu_forms
from tests.quantize.device.build_cases import (
    FASTER,
    exported_bundle,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The built-in bundle as it was exported, in a folder of its own."""
    return exported_bundle(tmp_path / "bundle")


@pytest.fixture(scope="module")
def windows() -> list[np.ndarray]:
    return check_windows(4)


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch, windows: list[np.ndarray]) -> None:
    """A few windows, and forms that are faster: how fast this machine is just now is no property of the code."""
    monkeypatch.setattr(build, "check_windows", lambda: windows)
    for module in (cpu_forms, build):
        monkeypatch.setattr(module, "timing", lambda *_: FASTER)
