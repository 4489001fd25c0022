"""The C library, compiled once for all tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.firmware_bridge.c_library import CodecPipe, make


@pytest.fixture(scope="session")
def c_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the compiled library and its programs; one for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    build = folder / "c_build"
    make(build, "-j2", "all")
    return build


@pytest.fixture(scope="session")
def codec_pipe(c_build: Path) -> CodecPipe:
    """The C library's functions, to be asked in batches."""
    return CodecPipe(c_build)
