"""The published sizes with random weights: does it convert, load and caption, in how much memory, and how fast.

    python -m benchmarks.full_size make FOLDER [--instructor xl]     random weights in the published layouts
    python -m benchmarks.full_size convert FOLDER                    `edge-aac convert`, with its peak memory
    python -m benchmarks.full_size caption FOLDER [--candidates 6]   the bundle against torch in eager mode, in one run

Random weights take the time and memory of trained ones; what they say means nothing. Both ways draw the same number
of candidates by the same rules, all of them to the same length (no end before it is forced), on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command_line import at_least, run
from edge_aac.bundle.manifest import DecodingRules

if TYPE_CHECKING:
    from quantize.models.instructor import TextEmbedder

MIB = 1 << 20
EMBEDDING_DIM = 768
TEXT = "a dog barks in the distance while rain falls on a tin roof and a car passes by"
# Hidden, layers, heads, head size, feed-forward of INSTRUCTOR's T5 encoders (those of T5 base, large and 3B).
INSTRUCTORS = {
    "tiny": (64, 2, 4, 16, 128),
    "base": (768, 12, 12, 64, 3072),
    "large": (1024, 24, 16, 64, 4096),
    "xl": (1024, 24, 32, 128, 16384),
}


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["make", "convert", "caption"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--instructor", choices=INSTRUCTORS, default="tiny", help="size of the text embedder")
    parser.add_argument("--candidates", type=at_least(1), default=6)
    parser.add_argument("--windows", type=at_least(1), default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.work == "make":
        make(arguments.folder, arguments.instructor)
    elif arguments.work == "convert":
        print(json.dumps(convert(arguments.folder), indent=1))
    else:
        print(
            json.dumps(caption(arguments.folder, arguments.candidates, arguments.windows, arguments.threads), indent=1)
        )


def make(folder: Path, instructor: str) -> None:
    """Write a captioner and an INSTRUCTOR with random weights, as their publishers would."""
    import torch

    from quantize.models.captioner import Captioner
    from quantize.models.config import CaptionerConfig

    torch.manual_seed(0)
    captioner = folder / "captioner"
    captioner.mkdir(parents=True, exist_ok=True)
    model = Captioner(CaptionerConfig())
    with torch.no_grad():
        # Tokens as unequally likely as trained weights make them: among equals, sampling would sort all 50 265.
        model.decoder.embed_tokens.weight.mul_(6.0)
    torch.save(model.state_dict(), captioner / "pytorch_model.bin")
    (captioner / "config.json").write_text("{}\n", encoding="utf-8")  # all defaults: the published sizes
    make_instructor(folder / "instructor", instructor)


def text_embedder(size: str) -> TextEmbedder:
    """INSTRUCTOR with random weights, of one of the sizes in :data:`INSTRUCTORS`."""
    import torch
    from transformers import T5Config, T5EncoderModel

    from quantize.models.instructor import TextEmbedder

    dim, layers, heads, head_dim, ffn = INSTRUCTORS[size]
    config = T5Config(  # type: ignore[no-untyped-call]
        d_model=dim,
        num_layers=layers,
        num_heads=heads,
        d_kv=head_dim,
        d_ff=ffn,
        feed_forward_proj="relu",
    )
    dense = torch.nn.Linear(dim, EMBEDDING_DIM, bias=False)
    with torch.no_grad():
        dense.weight.copy_(torch.randn(EMBEDDING_DIM, dim) / dim**0.5)
    return TextEmbedder(T5EncoderModel(config), dense)


def make_instructor(folder: Path, size: str) -> None:
    """Write an INSTRUCTOR with random weights, as its publishers would, with a tokenizer whose words are numbers."""
    import torch

    from quantize.models.decoder_tokenizer import numbered_tokenizer

    embedder = text_embedder(size)
    dim = INSTRUCTORS[size][0]
    for part in ("1_Pooling", "2_Dense"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    embedder.transformer.save_pretrained(folder, safe_serialization=False)
    torch.save(
        {"linear.weight": embedder.get_parameter("dense.weight").detach()}, folder / "2_Dense" / "pytorch_model.bin"
    )
    numbered_tokenizer(embedder.transformer.config.vocab_size, set()).save(str(folder / "tokenizer.json"))
    tables: dict[str, Any] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(
                [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")]
            )
        ],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {"in_features": dim, "out_features": EMBEDDING_DIM, "bias": False},
    }
    for name, table in tables.items():
        (folder / name).write_text(json.dumps(table), encoding="utf-8")


def convert(folder: Path) -> dict[str, Any]:
    """`edge-aac convert` in a process of its own: seconds, and peak resident memory over the largest weight file."""
    command = [sys.executable, "-m", "edge_aac.cli", "convert", str(folder / "captioner")]
    command += ["--instructor", str(folder / "instructor"), "--output", str(folder / "bundle")]
    started = time.perf_counter()
    subprocess.run([*command, "--tokenizer", "numbered"], check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    largest = max(path.stat().st_size for path in folder.glob("[ci]*/*.bin"))
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(peak / MIB),
        "largest_weight_file_mib": round(largest / MIB),
        "peak_over_largest": round(peak / largest, 2),
        "bundle_mib": round(sum(path.stat().st_size for path in (folder / "bundle").iterdir()) / MIB),
    }


def caption(folder: Path, candidates: int, windows: int, threads: int) -> dict[str, Any]:
    """Each way in a process of its own, one after the other, window by window on the same scene."""
    results = {}
    for way in ("onnxruntime", "torch"):
        call = f"{way}_way({str(folder)!r}, {candidates}, {windows}, {threads})"
        code = f"from benchmarks import full_size; full_size.{call}"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, env=environment)
        results[way] = json.loads(done.stdout)
    total = {way: result["median_ms"]["total"] for way, result in results.items()}
    return {
        "candidates": candidates,
        "threads": threads,
        **results,
        "torch_over_onnxruntime": {
            stage: round(results["torch"]["median_ms"][stage] / results["onnxruntime"]["median_ms"][stage], 2)
            for stage in results["torch"]["median_ms"]
        },
        "seconds_a_window": {way: round(milliseconds / 1e3, 2) for way, milliseconds in total.items()},
    }


def onnxruntime_way(folder: str, candidates: int, windows: int, threads: int) -> None:
    """Measure the bundle through the runtime; prints JSON."""
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.models.seq2seq import Captioner, window_rng
    from quantize.captioning import described, heard

    started = time.perf_counter()
    captioner = Captioner.open(str(Path(folder) / "bundle"), EngineOptions(threads=threads), candidates)
    loaded = time.perf_counter() - started
    captioner.rules = at_length(captioner.rules, captioner.rules.max_length)

    def one(fbank: Any, index: int) -> dict[str, float]:
        (description,) = described(captioner, [(heard(fbank), window_rng(0, index))])
        latency = description.latency_ms
        return {"encode": latency.encode, "decode": latency.decode}

    _report(one, windows, loaded)


def torch_way(folder: str, candidates: int, windows: int, threads: int) -> None:
    """Measure torch in eager mode, the step with its cache as in the runtime; prints JSON."""
    import numpy as np
    import torch

    from edge_aac.engines.steps import Memory
    from edge_aac.models.decoding import CandidateDecoder
    from edge_aac.models.seq2seq import window_rng
    from quantize import load_captioner
    from quantize.models.graph_modules import EncoderGraph, fold_weight_norm
    from quantize.models.published import TorchDecoder

    torch.set_num_threads(threads)
    started = time.perf_counter()
    published = load_captioner(Path(folder) / "captioner")
    fold_weight_norm(published.model)
    encoder, decoder = EncoderGraph(published.model).eval(), CandidateDecoder(TorchDecoder(published.model))
    rules = published.rules.model_copy(update={"candidates": candidates})
    rules = at_length(rules, rules.max_length)
    loaded = time.perf_counter() - started

    @torch.no_grad()
    def one(fbank: Any, index: int) -> dict[str, float]:
        started = time.perf_counter()
        keys, values, _ = encoder(torch.from_numpy(fbank[np.newaxis]))
        encoded = time.perf_counter()
        memory = Memory(keys.numpy(), values.numpy(), np.zeros((1, keys.shape[3]), bool))
        decoder.decode(memory, rules, [window_rng(0, index)])
        return {"encode": 1e3 * (encoded - started), "decode": 1e3 * (time.perf_counter() - encoded)}

    _report(one, windows, loaded)


def at_length(rules: DecodingRules, tokens: int) -> DecodingRules:
    """The rules with captions of exactly so many tokens, start and end counted: no end before it is forced."""
    return rules.model_copy(update={"min_length": tokens - 1, "max_length": tokens})


def _report(one: Callable[[Any, int], dict[str, float]], windows: int, loaded: float) -> None:
    from edge_aac.audio.features import filter_bank
    from edge_aac.audio.sources.demo import synthesise_demo

    waveform = synthesise_demo(10.0 + windows, 0)
    one(filter_bank(waveform[:160_000]), 0)  # the first run allocates
    rows = [one(filter_bank(waveform[start : start + 160_000]), start) for start in range(0, 16_000 * windows, 16_000)]
    median = {stage: statistics.median(row[stage] for row in rows) for stage in rows[0]}
    median["total"] = statistics.median(sum(row.values()) for row in rows)
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    memory = {
        line.split(":")[0]: int(line.split()[1]) // 1024 for line in status if line.startswith(("VmRSS", "VmHWM"))
    }
    result = {
        "load_s": round(loaded, 2),
        "median_ms": {stage: round(value, 1) for stage, value in median.items()},
        "resident_mib": memory["VmRSS"],
        "peak_mib": memory["VmHWM"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    run(main)
