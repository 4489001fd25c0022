"""How long `edge-aac stream` takes to end after SIGTERM, whatever it is doing; a service manager waits for that.

    python -m benchmarks.stopping --runs 10

The baseline of the same run is a bare interpreter that has imported numpy and onnxruntime and ends at the same signal.
On a machine with nothing else to do, each is promised to take a second at most, and half a second more where standard
output is a pipe that nobody reads.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import DEFAULT_BUNDLE

SCENE_S = 300.0  # longer than any run waits
RATE = 16_000
SETTLING_S = 3.0  # from the first line of its log until a stream does what it is to be ended in
PIPE_BYTES = 4096
BARE = "import signal, sys, numpy, onnxruntime; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); "
BARE += "print('ready', file=sys.stderr, flush=True); signal.pause()"


def main() -> None:
    """End each kind of stream some times, and print the milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--runs", type=at_least(2), default=5, help="of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments.bundle, arguments.runs, Path(folder)), indent=1))


def measure(bundle: str, runs: int, folder: Path) -> dict[str, Any]:
    """Milliseconds from the signal to the end, of each kind of stream and of the baseline, and their ratio."""
    waveform = synthesise_demo(SCENE_S, 0)
    scene = folder / "scene.wav"
    soundfile.write(scene, waveform, RATE)
    raw = np.round(waveform * 32_767).astype("<i2").tobytes()
    stream = [sys.executable, "-m", "edge_aac.cli", "stream", "--bundle", bundle, "--every-window", "--device"]
    kinds: dict[str, Callable[[], float]] = {
        "bare_interpreter": lambda: ended_after([sys.executable, "-c", BARE], 0.0),
        "no_sound": lambda: ended_after([*stream, "stdin:"], 0.0),
        "waiting_for_sound": lambda: ended_after([*stream, "stdin:"], SETTLING_S, raw[: 2 * 14 * RATE]),
        "busy": lambda: ended_after([*stream, f"file:{scene}", "--hop", "0.1"], SETTLING_S),
        "paced_file": lambda: ended_after([*stream, f"file:{scene}?speed=1"], SETTLING_S),
        "nobody_reads": lambda: ended_after([*stream, f"file:{scene}", "--hop", "0.1"], SETTLING_S, read=False),
    }
    times = {name: [end() for _ in range(runs)] for name, end in kinds.items()}
    bare = statistics.median(times["bare_interpreter"])
    return {
        "bundle": bundle,
        "runs": runs,
        "median_ms": {name: round(statistics.median(each), 1) for name, each in times.items()},
        "max_ms": {name: round(max(each), 1) for name, each in times.items()},
        "median_over_bare_interpreter": {
            name: round(statistics.median(each) / bare, 2) for name, each in times.items() if name != "bare_interpreter"
        },
    }


def ended_after(command: list[str], settling_s: float, sound: bytes = b"", read: bool = True) -> float:
    """Milliseconds from the signal until the process has ended, sent some seconds after its first line of log.

    Raises:
        RuntimeError: it ended before the signal or with another exit code than 0.
    """
    with _started(command) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        if not read:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        first = process.stderr.readline()
        threads = [threading.Thread(target=process.stdin.write, args=(sound,), daemon=True)] if sound else []
        if read:
            threads.append(threading.Thread(target=process.stdout.read, daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(settling_s)
        if process.poll() is not None:
            raise RuntimeError(f"{command} ended by itself: {(first + process.stderr.read()).decode()}")
        sent_s = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = process.wait()
        took_ms = 1e3 * (time.perf_counter() - sent_s)
        if code != 0:
            raise RuntimeError(f"{command} ended with exit code {code}: {process.stderr.read().decode()}")
        for thread in threads:
            thread.join()
    return took_ms


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


if __name__ == "__main__":
    run(main)
