"""The C library under its compilers' warnings, clang-tidy and libFuzzer.

``EDGE_AAC_BRIDGE_FUZZ_S=600`` fuzzes each target for so many seconds in place of a fixed number of inputs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware_bridge.c_library import FIRMWARE, make, need
from tests.firmware_bridge.wav_files import write_scene

pytestmark = pytest.mark.one_python

_FUZZ_S = int(os.environ.get("EDGE_AAC_BRIDGE_FUZZ_S", "0"))
_RUNS = {"frame": 60_000, "cobs": 10_000, "device": 3_000}
_LIMIT_S = 1800


def test_clang_finds_nothing(tmp_path: Path) -> None:
    need("clang", "clang-tidy")
    recording = write_scene(tmp_path / "scene.wav", 0.1)
    strict = "CFLAGS=-O2 -Wsign-conversion -Wcast-qual -Wcast-align -Wundef -Wvla -Wmissing-prototypes"
    make(tmp_path / "clang", "CC=clang", strict, "all")
    printed = make(tmp_path / "clang", f"RECORDING={recording}", "tidy")
    assert "warning:" not in printed and "error:" not in printed, printed


def test_clang_tidy_would_find_something(tmp_path: Path) -> None:
    need("clang-tidy")
    shutil.copy(FIRMWARE / ".clang-tidy", tmp_path)
    (tmp_path / "bad.c").write_text("int f(int a);\nint f(int a) { if (a) return a; return (short)a; }\n")
    result = subprocess.run(
        ["clang-tidy", "--quiet", "bad.c", "--", "-std=c99"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "readability-braces-around-statements" in result.stdout


@pytest.mark.parametrize("target", list(_RUNS))
def test_fuzzing(c_build: Path, tmp_path: Path, target: str) -> None:
    need("clang")
    program = c_build / f"fuzz_{target}"
    make(c_build, str(program))
    corpus = tmp_path / "corpus"
    unpack = [sys.executable, FIRMWARE / "fuzz" / "corpus.py", "unpack", FIRMWARE / f"fuzz/corpus/{target}.txt", corpus]
    subprocess.run(unpack, check=True)
    assert len(list(corpus.iterdir())) >= 30
    amount = f"-max_total_time={_FUZZ_S}" if _FUZZ_S else f"-runs={_RUNS[target]}"
    command = [program, amount, "-seed=19", "-max_len=2048", "-print_final_stats=1", corpus]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "stat::number_of_executed_units" in result.stderr
    print(result.stderr[-500:])
