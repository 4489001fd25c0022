"""Runs the installed ``edge-aac`` as a user does, with nobody's configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

COMMAND = (sys.executable, "-m", "edge_aac.cli")
TIMEOUT_S = 120
_TO_THE_END_S = 5 * TIMEOUT_S
"""Of a verb that does all of its work meanwhile."""

# What a caption record of a file holds, no more and no less.
CAPTION_FIELDS = {
    *("schema", "node", "source", "seq", "caption", "score", "candidates", "rms_dbfs", "dropped_ms", "model"),
    "latency_ms",
}
FILE_TIMES = {"start_s", "end_s"}
CLOCK_TIMES = {"start", "end"}


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings, and with a configuration folder that is not there."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AAC_")}
    return {**env, "XDG_CONFIG_HOME": "/nonexistent", **(changes or {})}


def run_edge_aac(
    *arguments: str | os.PathLike[str], env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Runs one verb to its end."""
    result = subprocess.run(
        [*COMMAND, *map(os.fspath, arguments)],
        env=environment(env),
        input=stdin,
        check=False,
        capture_output=True,
        timeout=_TO_THE_END_S,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode("utf-8"), result.stderr.decode("utf-8")
    )


@contextmanager
def started_edge_aac(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs one verb in the background, with pipes; what still runs in the end is killed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def records(text: str) -> list[dict[str, Any]]:
    """Every line as the JSON object that it must be."""
    assert text == "" or text.endswith("\n"), "the last line is not whole"
    tables = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(table, dict) for table in tables)
    return tables


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise at 16 kHz that changes from second to second, at about -20 dBFS; what 16 bits hold exactly."""
    count = round(16_000 * seconds)
    random = np.random.default_rng(seed)
    loudness = np.interp(
        np.arange(count) / 16_000, np.arange(2 + int(seconds)), random.uniform(0.3, 1.5, 2 + int(seconds))
    )
    samples = np.clip(0.1 * loudness * random.standard_normal(count), -0.99, 0.99)
    return (np.round(samples * 32_768) / 32_768).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    """Writes a WAV file and gives its path."""
    soundfile.write(path, samples, rate, subtype=subtype, format="WAV")
    return path


_BIND_ROOT = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
    if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Root without the capabilities by which permissions do not bind it: it must not read a file of mode 000 any more.

Another user could not always run this Python, which may lie in root's home.
"""


def run_bound_by_permissions(
    *arguments: str | os.PathLike[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one verb as a user whom file permissions bind; skips the test where root cannot be bound."""
    prefix = [sys.executable, "-c", _BIND_ROOT] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*prefix, *COMMAND, *map(os.fspath, arguments)],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TO_THE_END_S,
    )
    if prefix and result.returncode == 77:
        pytest.skip("root cannot give up its capabilities here")
    return result
