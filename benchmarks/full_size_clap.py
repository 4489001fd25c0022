"""CLAP of the published size with random weights: does it convert, in how much memory, and how fast is it.

    python -m benchmarks.full_size_clap make FOLDER       random weights in Microsoft's layout of 2023
    python -m benchmarks.full_size_clap convert FOLDER    `edge-aac convert`, with its peak memory
    python -m benchmarks.full_size_clap build FOLDER      INT8 forms by `edge-aac build-engine`, gated
    python -m benchmarks.full_size_clap label FOLDER      a clip of 7 s and 50 labels: torch in eager mode, the exported
                                                          graphs, the INT8 forms, in one run

Random weights take the time and memory of trained ones; what they name means nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from benchmarks.full_size_runs import WAYS, build, convert, each_way, peak_mib, timed

WEIGHTS = "CLAP_weights_2023.pth"
LABELS = 50
_EMBEDDING = 1024


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["make", "convert", "build", "label"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=at_least(1), default=5)
    parser.add_argument("--threads", type=at_least(1), default=2)
    arguments = parser.parse_args()
    if arguments.work == "make":
        make(arguments.folder)
    elif arguments.work == "convert":
        print(json.dumps(convert(arguments.folder / WEIGHTS, arguments.folder / "bundle"), indent=1))
    elif arguments.work == "build":
        print(json.dumps(build(arguments.folder / "bundle", arguments.threads), indent=1))
    else:
        print(json.dumps(label(arguments.folder, arguments.runs, arguments.threads), indent=1))


def make(folder: Path) -> None:
    """Write weights, and a tokenizer that has words for the labels."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config

    from quantize.models.clap.microsoft import ClapNetwork
    from quantize.models.htsat.config import HtsatConfig

    torch.manual_seed(0)
    sizes: Any = GPT2Config
    network = ClapNetwork(HtsatConfig(), sizes(), _EMBEDDING).eval()
    htsat: Any = network.audio_encoder.htsat
    with torch.no_grad():
        for name, basis in htsat.spectrogram_extractor["stft"].named_children():
            basis.weight.copy_(fourier_rows(name == "conv_real", htsat.config.fft))
        htsat.logmel_extractor["melW"].uniform_(0.0, 0.01)
    gpt2 = folder / "gpt2"
    gpt2.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict()}, folder / WEIGHTS)
    (gpt2 / "config.json").write_text(json.dumps(sizes().to_dict()), encoding="utf-8")
    # Bytes alone, "!" the first of them as in GPT-2's.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab={**vocabulary, "<|endoftext|>": len(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(gpt2 / "tokenizer.json"))


def fourier_rows(real: bool, fft: int) -> Any:
    """Rows of the discrete Fourier transform under a periodic Hann window, (fft // 2 + 1, 1, fft)."""
    import torch

    places = np.arange(fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * places / fft)
    turns = 2 * np.pi * np.outer(np.arange(fft // 2 + 1), places) / fft
    rows = (np.cos(turns) if real else -np.sin(turns)) * window
    return torch.from_numpy(rows[:, np.newaxis].astype(np.float32))


def label(folder: Path, runs: int, threads: int) -> dict[str, Any]:
    """Each way in a process of its own: milliseconds of a clip and of all labels, memory, agreement with torch."""
    results = each_way("benchmarks.full_size_clap", folder, runs, threads)
    embeddings = {}
    for way in WAYS:
        with np.load(folder / f"{way}.npz") as arrays:
            embeddings[way] = {name: arrays[name] for name in arrays.files}
    for way in WAYS[1:]:
        for name in ("audio", "text"):
            cosines = (embeddings["torch"][name] * embeddings[way][name]).sum(axis=-1)
            results[way][f"lowest_{name}_cosine_with_torch"] = round(float(cosines.min()), 5)
    return {"threads": threads, "runs": runs, "labels": LABELS, **results}


def one_way(folder: str, way: str, runs: int, threads: int) -> None:
    """Embed a clip and the labels in one way; prints what it took and stores the embeddings."""
    place = Path(folder)
    texts = [f"this is a sound of {number} things that fall or run" for number in range(LABELS)]
    waveform = np.random.default_rng(0).normal(0.0, 0.1, 7 * 44_100).astype(np.float32)
    started = time.perf_counter()
    audio, text = (_torch if way == "torch" else _bundle)(place, way, threads)
    opened = time.perf_counter() - started
    sound, clip = timed(lambda: audio(waveform), runs)
    words, labels = timed(lambda: text(texts), runs)
    np.savez(place / f"{way}.npz", audio=sound / np.linalg.norm(sound), text=words)
    print(json.dumps({"open_s": round(opened, 2), "clip": clip, "labels": labels, "peak_mib": peak_mib()}))


Embedders = tuple[Callable[[np.ndarray], np.ndarray], Callable[[list[str]], np.ndarray]]


def _torch(folder: Path, _way: str, threads: int) -> Embedders:
    import torch

    import quantize
    from quantize.models.audio_language.audio_stages import unit

    torch.set_num_threads(threads)
    clap = quantize.load_clap(folder / WEIGHTS)
    return lambda clip: clap.embed_audio(clip)[0].numpy(), lambda texts: unit(clap.embed_text(texts)).numpy()


def _bundle(folder: Path, way: str, threads: int) -> Embedders:
    from edge_aac.bundle.store import Bundle, open_bundle
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.models.clip_encoder import ClipEncoder

    bundle = open_bundle(str(folder / "bundle"))
    # In INT8, a graph whose form was not faithful or not faster is as it was exported.
    graphs = {
        role: [next((form for form in each if form.precision == way), each[-1])]
        for role, each in bundle.manifest.graphs.items()
    }
    chosen = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), bundle.opened_as)
    encoder = ClipEncoder(chosen, EngineOptions("onnxruntime", threads))
    return encoder.embed_clip, encoder.embed


if __name__ == "__main__":
    run(main)
