"""The Debian packages, as far as they can be judged without installing them; ``script/test-service`` builds them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = os.environ.get("EDGE_AAC_MACHINE", "")
EM_AARCH64 = 183  # of elf.h

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="script/test-service runs this, on packages that it builds"),
    pytest.mark.one_python,
]


def test_the_package_for_arm_holds_arm_code_alone(tmp_path: Path) -> None:
    (deb,) = Path(FOLDER, "arm64").glob("*.deb")
    fields = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
    assert "Architecture: arm64" in fields and "python3 (>= 3.11~), python3 (<< 3.12~)" in fields
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    libraries = [path for path in tmp_path.rglob("*.so*") if path.is_file()]
    assert len(libraries) > 20
    for library in libraries:
        header = library.read_bytes()[:20]
        assert header[:5] == b"\x7fELF\x02" and int.from_bytes(header[18:20], "little") == EM_AARCH64, library


@pytest.mark.slow
def test_lintian_finds_nothing_but_what_is_explained() -> None:
    """What is overridden, and why, stands in debian/lintian-overrides."""
    (deb,) = Path(FOLDER, "amd64").glob("*.deb")
    words = ["lintian", "--allow-root", "--fail-on", "error,warning", deb]
    found = subprocess.run(words, check=False, capture_output=True, text=True, timeout=1200)
    assert found.returncode == 0, found.stdout
