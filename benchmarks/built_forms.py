"""What `edge-aac build-engine` gained for a captioner: hops and whole windows of a bundle as exported and as built.

    edge-aac build-engine --bundle everyday --backend onnxruntime --threads 1 --output BUILT
    python -m benchmarks.built_forms BUILT SOUND.wav [SOUND.wav …]

Windows of the recordings, one after the other, are described (encoded, decoded, ranked) by each of: the exported
graphs; the built form of the decoder alone beside exported ones; all built forms. At a hop of 1 s what is shared with
the window before is not computed again; as a whole window all is. In turn, window by window, in processor time of one
thread; ratios are of the same window. Neither features nor events are in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from edge_aac.audio.windows import Window, file_windows
from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.timebase import SAMPLE_RATE
from quantize.captioning import described

EXPORTED = "exported"
_WARM_UP = 5


def main() -> None:
    """Describe the recordings by each, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", help="a bundle with built forms")
    parser.add_argument("sounds", nargs="+", type=Path)
    parser.add_argument("--windows", type=at_least(1), default=100)
    arguments = parser.parse_args()
    ways = {name: _captioner(bundle) for name, bundle in ways_of(open_bundle(arguments.built)).items()}
    windows = list(_windows(arguments.sounds, _WARM_UP + arguments.windows))
    found = {
        "hop of 1 s": measure(ways, windows),
        "whole window": measure(ways, [replace(window, stretch=None) for window in windows]),
    }
    print(json.dumps(found, indent=1))


def ways_of(built: Bundle) -> dict[str, Bundle]:
    """The bundle as it was exported, with its decoder alone as it was built, and with all that was built."""
    forms = {
        role: [form for form in each if form.backend == ONNX_RUNTIME] for role, each in built.manifest.graphs.items()
    }
    exported = {role: [form for form in each if not form.parent_sha256] for role, each in forms.items()}
    graphs: dict[str, dict[GraphRole, list[Graph]]] = {
        EXPORTED: exported,
        f"decoder {forms['decoder'][0].precision}": {**exported, "decoder": forms["decoder"]},
        "all as built": forms,
    }
    return {
        name: Bundle(built.folder, built.manifest.model_copy(update={"graphs": each}), built.opened_as)
        for name, each in graphs.items()
    }


def measure(ways: dict[str, Captioner], windows: list[Window]) -> dict[str, Any]:
    """Of each way: median milliseconds, the median ratio to the exported graphs, and the share of equal captions."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, list[str]] = {name: [] for name in ways}
    for number, window in enumerate(windows):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            (description,) = described(ways[name], [(window, window_rng(0, window.start))])
            taken[name].append(1e3 * (time.process_time() - begun))
            said[name].append(description.best.text)
    kept = {name: times[_WARM_UP:] for name, times in taken.items()}
    return {
        name: {
            "median_ms": round(statistics.median(times), 2),
            "fastest_ms": round(min(times), 2),
            "ratio": round(statistics.median(a / b for a, b in zip(times, kept[EXPORTED], strict=True)), 3),
            "captions_equal": round(
                statistics.fmean(a == b for a, b in zip(said[name], said[EXPORTED], strict=True)), 3
            ),
        }
        for name, times in kept.items()
    }


def _captioner(bundle: Bundle) -> Captioner:
    return Captioner(bundle, EngineOptions(ONNX_RUNTIME, 1))


def _windows(sounds: list[Path], count: int) -> Iterator[Window]:
    """The first windows of the recordings, a second apart, with what they share."""
    blocks = (_samples(path) for path in sounds)
    for number, window in enumerate(file_windows(blocks, SAMPLE_RATE)):
        if number == count:
            return
        yield window


def _samples(path: Path) -> npt.NDArray[np.float32]:
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE), np.float32)


if __name__ == "__main__":
    run(main)
