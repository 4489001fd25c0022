"""On the other Pythons each test function runs with one of its cases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.case_choice import ONE_CASE_VARIABLE, one_case_each

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.one_python


def test_every_function_keeps_one_case_and_each_python_another() -> None:
    node_ids = [
        "a.py::test_one",
        "a.py::test_two[x-y]",
        "a.py::test_two[z]",
        "a.py::Some::test_two[x-y]",
        "b.py::test_one",
    ]
    kept = {minor: one_case_each(node_ids, minor) for minor in (10, 11)}
    assert kept[10] == {"a.py::test_one", "a.py::test_two[x-y]", "a.py::Some::test_two[x-y]", "b.py::test_one"}
    assert kept[11] - kept[10] == {"a.py::test_two[z]"} and len(kept[11]) == 4


def test_pytest_runs_those_alone() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/edge_aac/audio/test_resample.py",
    ]
    told = [
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, ONE_CASE_VARIABLE: chosen}, check=True, capture_output=True, text=True
        ).stdout
        for chosen in ("1", "")
    ]
    assert "deselected" in told[0] and "deselected" not in told[1]
