"""The C library, compiled once for all tests of this folder, and a link over UDP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.keys import add_key
from firmware_bridge.udp_link import UdpLink
from tests.firmware_bridge.c_library import CodecPipe, make
from tests.firmware_bridge.udp_cases import free_port, opened
from tests.firmware_bridge.worlds import DEVICE, KEY


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


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """File with the key of one device."""
    path = tmp_path / "keys"
    add_key(path, DEVICE, KEY)
    return path


@pytest.fixture
def link(keys: Path) -> Iterator[UdpLink]:
    """A link of this machine that knows that device."""
    one = opened(f"udp://127.0.0.1:{free_port()}?keys=file:{keys}")
    yield one
    one.close()
