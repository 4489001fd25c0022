"""The scripts, as far as they can be read without running them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "script").iterdir())]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_is_content(script: Path) -> None:
    found = shutil.which("shellcheck")
    if found is None:
        if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
            pytest.fail("shellcheck is required here, but it is not installed (apt install shellcheck)")
        pytest.skip("shellcheck is not installed (apt install shellcheck)")
    done = subprocess.run(
        [found, "--external-sources", str(script)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_is_run_can_be_run(script: Path) -> None:
    sourced = script.name == "environment.sh"
    assert os.access(script, os.X_OK) != sourced
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash") != sourced
