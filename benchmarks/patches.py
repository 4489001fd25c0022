"""What a hop costs an encoder that hears each second once: of a whole window's, the two timed in turn in one run.

    python -m benchmarks.patches --stem-width 0.5 --dim 192

Without a bundle the weights are random, of the sizes that the options give; times do not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from edge_aac.audio.windows import Window, file_windows
from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Engine, EngineOptions
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import UsageError
from edge_aac.models.contract import not_cancelled
from edge_aac.models.encoding import WindowEncoder
from edge_aac.models.patches import PatchStem, PatchVectors
from edge_aac.timebase import SAMPLE_RATE

WARM_UP = 3


def main() -> None:
    """Time one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="a bundle with a stem; without, random weights of the sizes below")
    parser.add_argument("--stem-width", type=float, default=0.5)
    parser.add_argument("--dim", type=at_least(8), default=192)
    parser.add_argument("--hop-s", type=float, default=1.0)
    parser.add_argument("--windows", type=at_least(5), default=60)
    parser.add_argument("--threads", type=int, default=1, help="of a graph; 0 runs several patches side by side")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.bundle is None:
            stem, encoder, rule = random_graphs(Path(folder), arguments.stem_width, arguments.dim, arguments.threads)
        else:
            stem, encoder, rule = bundle_graphs(arguments.bundle, arguments.threads)
        print(json.dumps(measure(stem, encoder, rule, arguments.hop_s, arguments.windows), indent=1))


def bundle_graphs(name: str, threads: int) -> tuple[Engine, Engine, PatchRule]:
    """Stem, encoder and patches of a bundle.

    Raises:
        UsageError: it has no stem.
    """
    bundle = open_bundle(name)
    patches = bundle.manifest_of(Seq2SeqManifest).patches
    if patches is None:
        raise UsageError(f"bundle {name!r} hears whole windows: give one with a stem")
    stem, encoder = (load_engine(bundle, role, EngineOptions("onnxruntime", threads))[0] for role in (STEM, "encoder"))
    return stem, encoder, patches


def random_graphs(folder: Path, stem_width: float, dim: int, threads: int) -> tuple[Engine, Engine, PatchRule]:
    """The same of random weights; needs torch."""
    import torch

    from quantize.bundles.export import patch_rule
    from quantize.bundles.onnx_writer import write_onnx
    from quantize.models.captioner import Captioner
    from quantize.models.config import captioner_config
    from quantize.models.graph_modules import encoder_spec, fold_batch_norm, fold_weight_norm, stem_spec

    torch.manual_seed(0)
    beats = {"stem_width": stem_width, "patch_embed_dim": dim, "layers": 0, "run_layers": 0, "dim": dim, "heads": 4}
    conformer = {"layers": 2, "heads": 4, "ffn_dim": 2 * dim, "depthwise_kernel": 15, "conv_pos": 16}
    decoder = {"layers": 3, "heads": 4, "ffn_dim": 3 * dim, "vocab_size": 1200, "max_positions": 32}
    captioner = Captioner(
        captioner_config(
            {
                "beats": {**beats, "conv_pos": 16},
                "conformer": conformer,
                "decoder": decoder,
                "downsample_rate": 1,
                "max_memory_positions": 64,
                "embedding_ffn_dim": 256,
                "embedding_dim": 384,
            }
        )
    ).eval()
    fold_weight_norm(captioner)
    fold_batch_norm(captioner)
    fbanks = torch.zeros(2, 998, 128)
    engines = []
    for role, spec in ((STEM, stem_spec(captioner, fbanks)), ("encoder", encoder_spec(captioner, fbanks))):
        path, *_ = write_onnx(spec, folder / f"{role}.onnx")
        engines.append(OnnxRuntimeEngine(path, threads))
    rule = patch_rule(captioner)
    assert rule is not None
    return engines[0], engines[1], rule


def measure(stem: Engine, encoder: Engine, rule: PatchRule, hop_s: float, count: int) -> dict[str, Any]:
    """Medians over windows that follow each other ``hop_s`` apart, and the ratio of each window's two times.

    The ratio of the fastest of either is what other work on the machine disturbs least.

    Raises:
        UsageError: the hop is too short or too long for patches to be shared.
    """
    hop_samples = round(hop_s * SAMPLE_RATE)
    vectors = PatchVectors(PatchStem(stem), rule)
    if hop_samples % vectors.hop_samples or not 0 < hop_samples < rule.count * vectors.hop_samples:
        raise UsageError(f"windows {hop_s:g} s apart share no patches: give a multiple of half a second below 10 s")
    windows = _windows(hop_samples, WARM_UP + count)
    sharing = WindowEncoder(encoder, False, vectors)
    whole = WindowEncoder(encoder, False, PatchVectors(PatchStem(stem), rule))
    only_encoder = WindowEncoder(encoder, False, vectors)
    times: dict[str, list[float]] = {"whole_window_ms": [], "hop_ms": [], "encoder_alone_ms": []}
    for number, window in enumerate(windows):
        alone = replace(window, stretch=None)
        runs: list[tuple[str, WindowEncoder, Window]] = [
            ("whole_window_ms", whole, alone),
            ("hop_ms", sharing, window),
        ]
        for name, one, given in runs[:: 1 if number % 2 else -1]:
            times[name].append(_timed(lambda one=one, given=given: one.encode([given], not_cancelled)))  # type: ignore[misc]
        # All its patches are known by now.
        times["encoder_alone_ms"].append(_timed(lambda window=window: only_encoder.encode([window], not_cancelled)))  # type: ignore[misc]
    kept = {name: each[WARM_UP:] for name, each in times.items()}
    ratios = [hop / full for hop, full in zip(kept["hop_ms"], kept["whole_window_ms"], strict=True)]
    return {
        "windows": count,
        "hop_s": hop_s,
        "patches_of_a_window": rule.count,
        "new_patches_of_a_hop": hop_samples // vectors.hop_samples,
        **{name: round(median(each), 2) for name, each in kept.items()},
        "ratio": round(median(ratios), 3),
        "ratio_of_the_fastest": round(min(kept["hop_ms"]) / min(kept["whole_window_ms"]), 3),
    }


def _windows(hop_samples: int, count: int) -> list[Window]:
    """Windows of noise, one after the other."""
    samples = 10 * SAMPLE_RATE + (count - 1) * hop_samples
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples)
    return list(file_windows([noise.astype(np.float32)], hop_samples))


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)


if __name__ == "__main__":
    run(main)
