"""Every benchmark starts, and what a user got wrong ends it with one sentence."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

for needed in ("torch", "onnx"):
    pytest.importorskip(needed, reason="benchmarks are of the build-time side: pip install 'edge-aac[train]'")

from benchmarks.command_line import at_least, run  # noqa: E402
from edge_aac.errors import ConfigError, InputMissingError, UsageError  # noqa: E402

ROOT = Path(__file__).parents[2]
MODULES = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # of runpy, which runs it once more
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["agreement", "/nope", "/nope"], InputMissingError.exit_code, "no captions.csv in /nope"),
        (["latency", "--windows", "1"], UsageError.exit_code, "at least 2"),
        (["stopping", "--runs", "1"], UsageError.exit_code, "at least 2"),
        (["latency", "--cores", "1", "--bundle", "/nope"], InputMissingError.exit_code, "no bundle '/nope'"),
        (["fluency", "--examples", "/nope.csv"], InputMissingError.exit_code, "no file /nope.csv"),
        (["training", "--data", "/nope"], ConfigError.exit_code, "--sentence-embedder"),
        (["int8_forms", "--bundle", "/nope", "--data", "/", "--fold", "4"], InputMissingError.exit_code, "no bundle"),
    ],
)
def test_a_users_error_is_one_sentence(
    words: list[str],
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In this process: in its own, a benchmark imports torch for seconds."""
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(ROOT)
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{words[0]}", run_name="__main__")
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (code, "")
    assert sentence in err.splitlines()[-1] and "Traceback" not in err


def test_a_users_error_ends_a_process() -> None:
    command = [sys.executable, "-m", "benchmarks.latency", "--windows", "1"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (UsageError.exit_code, "")
    assert "at least 2" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_other_errors_keep_their_traceback() -> None:
    def broken() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        run(broken)


@pytest.mark.parametrize("text", ["1", "-3", "", "2.5", "two"])
def test_a_number_that_is_too_small(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="at least 2"):
        at_least(2)(text)
    assert at_least(2)("2") == 2
