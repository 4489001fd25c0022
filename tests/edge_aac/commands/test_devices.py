"""``edge-aac devices`` without a place for its list."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from edge_aac.errors import DeviceError


@pytest.mark.parametrize("flag", ["", "--watch", "--format text"])
def test_closed_standard_output_is_told(flag: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m edge_aac.cli devices {flag} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, timeout=100, check=False)
    assert done.returncode == DeviceError.exit_code
    assert done.stderr.decode().startswith("edge-aac: standard output is closed")
