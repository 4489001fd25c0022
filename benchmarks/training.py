"""Throughput of training on scenes: making them, and learning from them.

    python -m benchmarks.training --data FOLDER --sentence-embedder FOLDER

The baseline of the same run is decoding one recording of a scene's length; learning is also given without making.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.file import load_waveform
from quantize.data.captions import corpus
from quantize.data.clips import load_clips
from quantize.data.scenes import SceneBuilder
from quantize.data.tokenizer import train_tokenizer
from quantize.models.sentence_embedder import load_sentence_embedder
from quantize.training.batches import SceneDataset, collate
from quantize.training.recipe import load_recipe
from quantize.training.trainee import CaptionObjective, new_trainee


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="esc10-tiny")
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.csv")
    parser.add_argument("--batches", type=at_least(1), default=8)
    parser.add_argument("--sentence-embedder", type=Path, help="as of `edge-aac train`; most recipes ask for one")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    embedder = load_sentence_embedder(arguments.sentence_embedder) if arguments.sentence_embedder else None
    objective = CaptionObjective(recipe.train, embedder)
    clips = load_clips(arguments.data, recipe.folds.train[:1])
    builder = SceneBuilder(clips, recipe.scenes)
    rng = np.random.default_rng(0)
    tokenizer = train_tokenizer(corpus((builder.scene(rng) for _ in range(50)), rng, 60), 1200)
    recipe = recipe.with_vocabulary(tokenizer.get_vocab_size())
    dataset = SceneDataset(builder, tokenizer, recipe, 0)
    size = recipe.train.batch_scenes

    started = time.perf_counter()
    for clip in clips[:20]:
        load_waveform(arguments.data / clip.path)
    decode_s = 2 * (time.perf_counter() - started) / 20  # two 5 s recordings fill a scene

    started = time.perf_counter()
    examples = [dataset[index] for index in range(size * arguments.batches)]
    making_s = (time.perf_counter() - started) / len(examples)

    torch.set_flush_denormal(True)
    trainee = new_trainee(recipe).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=1e-3)
    batches = [collate(examples[at : at + size]) for at in range(0, len(examples), size)]
    for index, batch in enumerate([batches[0], *batches]):
        if index == 1:  # the first step allocates
            started = time.perf_counter()
        loss = objective(trainee, batch)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    learning_s = (time.perf_counter() - started) / len(examples)
    result = {
        "torch_threads": torch.get_num_threads(),
        "scenes_made_per_s_one_process": round(1 / making_s, 1),
        "scenes_learnt_per_s": round(1 / learning_s, 1),
        "making_over_decoding": round(making_s / decode_s, 2),
        "learning_over_making": round(learning_s / making_s, 2),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
