"""Pengi of the published size with random weights: does it convert, in how much memory, and how fast does it answer.

    python -m benchmarks.full_size_pengi make FOLDER      random weights in the published layout, with a text tower
    python -m benchmarks.full_size_pengi convert FOLDER   `edge-aac convert`, with its peak memory
    python -m benchmarks.full_size_pengi build FOLDER     INT8 forms by `edge-aac build-engine`, gated
    python -m benchmarks.full_size_pengi ask FOLDER       a clip of 7 s, one prompt, 5 beams: torch in eager mode, the
                                                          exported graphs, the INT8 forms, in one run

Random weights take the time and memory of trained ones; what they answer means nothing, and seldom ends before it must.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from benchmarks.full_size_clap import fourier_rows
from benchmarks.full_size_runs import WAYS, build, convert, each_way, peak_mib, timed

WEIGHTS = Path("configs") / "base.pth"
PROMPT = "generate audio caption"
BEAMS = 5
_EMBEDDING, _CLIP_DIM, _VECTORS, _MAPPER_LAYERS = 1024, 512, 40, 4


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["make", "convert", "build", "ask"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=at_least(1), default=3)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--max-length", type=at_least(2), default=67, help="tokens of an answer; 67 as published")
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.work == "make":
        make(folder)
    elif arguments.work == "convert":
        print(json.dumps(convert(folder / WEIGHTS, folder / "bundle"), indent=1))
    elif arguments.work == "build":
        print(json.dumps(build(folder / "bundle", arguments.threads), indent=1))
    else:
        print(json.dumps(ask(folder, arguments.runs, arguments.threads, arguments.max_length), indent=1))


def make(folder: Path) -> None:
    """Write weights, and tokenizers of single bytes."""
    import torch
    from transformers import CLIPTextConfig, GPT2Config

    from quantize.models.htsat.config import HtsatConfig
    from quantize.models.pengi.network import PengiNetwork, PengiSizes, PromptTowerSizes

    torch.manual_seed(0)
    # As in openai/clip-vit-base-patch16.
    clip_table: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    clip_table |= {"num_hidden_layers": 12, "vocab_size": 49_408, "max_position_embeddings": 77}
    # Untyped in transformers.
    gpt2_sizes: Any = GPT2Config
    clip_sizes: Any = CLIPTextConfig
    gpt2 = gpt2_sizes()
    prompt = PromptTowerSizes(clip_sizes(**clip_table), _CLIP_DIM, _EMBEDDING)
    sizes = PengiSizes(HtsatConfig(), _EMBEDDING, prompt, gpt2, _VECTORS, _VECTORS, _MAPPER_LAYERS)
    network = PengiNetwork(sizes).eval()
    htsat: Any = network.audio_encoder.htsat
    with torch.no_grad():
        for name, basis in htsat.spectrogram_extractor["stft"].named_children():
            basis.weight.copy_(fourier_rows(name == "conv_real", htsat.config.fft))
        htsat.logmel_extractor["melW"].uniform_(0.0, 0.01)
    (folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict()}, folder / WEIGHTS)
    (folder / WEIGHTS).with_suffix(".yml").write_text(json.dumps({"text_model": "clip"}), encoding="utf-8")
    letters = _bytes()
    gpt2_table = {"model_type": "gpt2", **gpt2.to_dict()}
    _write_text_model(folder / "gpt2", gpt2_table, [*letters, "<|endoftext|>"])
    ended = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    _write_text_model(folder / "clip", {"model_type": "clip_text_model", **clip_table}, ended)


def _bytes() -> list[str]:
    """The characters that stand for bytes, "!" the first of them."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _write_text_model(folder: Path, table: dict[str, Any], vocabulary: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(table), encoding="utf-8")
    numbered = {token: number for number, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbered), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def ask(folder: Path, runs: int, threads: int, max_length: int) -> dict[str, Any]:
    """Each way in a process of its own: milliseconds of the sound and of the answer, memory, agreement with torch."""
    (folder / "max_length.json").write_text(json.dumps(max_length), encoding="utf-8")
    results = each_way("benchmarks.full_size_pengi", folder, runs, threads)
    found = {}
    for way in WAYS:
        with np.load(folder / f"{way}.npz") as arrays:
            found[way] = {name: arrays[name] for name in arrays.files}
    for way in WAYS[1:]:
        one, other = (found[each]["prefix"].ravel() for each in ("torch", way))
        cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        mine, theirs = found["torch"]["tokens"], found[way]["tokens"]
        shared = min(len(mine), len(theirs))
        different = np.flatnonzero(mine[:shared] != theirs[:shared])
        results[way]["prefix_cosine_with_torch"] = round(cosine, 5)
        results[way]["first_tokens_of_the_answer_as_torch_s"] = int(different[0]) if len(different) else shared
        results[way]["score_difference"] = round(float(abs(found["torch"]["score"] - found[way]["score"])), 5)
    return {"threads": threads, "runs": runs, "beams": BEAMS, "max_length": max_length, **results}


def one_way(folder: str, way: str, runs: int, threads: int) -> None:
    """Hear a clip and answer one prompt in one way; prints what it took and stores what was found."""
    place = Path(folder)
    max_length = json.loads((place / "max_length.json").read_text(encoding="utf-8"))
    clip = np.random.default_rng(0).normal(0.0, 0.1, 7 * 44_100).astype(np.float32)
    started = time.perf_counter()
    model = (_Torch if way == "torch" else _Bundle)(place, way, threads, max_length)
    opened = time.perf_counter() - started
    prefix, sound = timed(lambda: model.hear(clip), runs)
    (tokens, score), answer = timed(lambda: model.answer(clip), runs)
    np.savez(place / f"{way}.npz", prefix=prefix, tokens=tokens, score=score)
    table = {"open_s": round(opened, 2), "sound_and_prompt": sound, "sound_and_answer": answer}
    print(json.dumps({**table, "answer_tokens": len(tokens), "peak_mib": peak_mib()}))


class _Torch:
    def __init__(self, folder: Path, _way: str, threads: int, max_length: int) -> None:
        import torch

        import quantize

        torch.set_num_threads(threads)
        self._torch, self._max_length = torch, max_length
        self._pengi = quantize.load_pengi(folder / WEIGHTS)

    def hear(self, clip: np.ndarray) -> np.ndarray:
        prefix: np.ndarray = self._pengi.prefix(self._torch.from_numpy(clip[np.newaxis]), PROMPT)[0].numpy()
        return prefix

    def answer(self, clip: np.ndarray) -> tuple[np.ndarray, float]:
        clips = self._torch.from_numpy(clip[np.newaxis])
        beams = self._pengi.generate(clips, PROMPT, None, BEAMS, self._max_length)[0].beams
        return beams.token_ids[0, : int(beams.lengths[0])].numpy(), float(beams.scores[0])


class _Bundle:
    def __init__(self, folder: Path, way: str, threads: int, max_length: int) -> None:
        from edge_aac.bundle.store import Bundle, open_bundle
        from edge_aac.engines.contract import EngineOptions
        from edge_aac.models.prompted import Prompted

        bundle = open_bundle(str(folder / "bundle"))
        # In INT8, a graph whose form was not faithful or not faster is as it was exported.
        graphs = {
            role: [next((form for form in forms if form.precision == way), forms[-1])]
            for role, forms in bundle.manifest.graphs.items()
        }
        chosen = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), bundle.opened_as)
        choices = {"beams": BEAMS, "max_length": max_length}
        self._model = Prompted(chosen, EngineOptions("onnxruntime", threads), choices)

    def hear(self, clip: np.ndarray) -> np.ndarray:
        # A prompt's prefix is remembered, where torch encodes it anew each time.
        self._model._prompts.clear()
        return np.concatenate([self._model.hear(clip).prefix, self._model._prompt_of(PROMPT).prefix])

    def answer(self, clip: np.ndarray) -> tuple[np.ndarray, float]:
        self._model._prompts.clear()
        beams = self._model.answer(self._model.hear(clip), PROMPT).beams
        return np.array(beams.rows()[0]), float(beams.scores[0])


if __name__ == "__main__":
    run(main)
