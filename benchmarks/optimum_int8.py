"""A bundle's text embedder in INT8: our form beside the one that Hugging Face's optimum makes.

    python -m benchmarks.full_size make FOLDER --instructor large && python -m benchmarks.full_size convert FOLDER
    python -m benchmarks.optimum_int8 FOLDER/bundle --threads 2

`edge-aac build-engine` makes both and keeps the faster faithful one. The forms run in turn, so that other load hits all
alike. `benchmarks.optimum_towers` compares whole text towers, the exporter too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.command_line import at_least, run
from benchmarks.full_size_int8 import compare
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.models.tokens import load_tokenizer, to_arrays
from quantize.data.caption_corpus import distinct_captions
from quantize.data.lexicon import LABELS
from quantize.data.scenes import SceneRecipe
from quantize.device.cpu.optimum_form import optimum_int8
from quantize.device.places import parent_of
from quantize.graphs.int8 import dynamic_int8


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--runs", type=at_least(1), default=12)
    parser.add_argument("--candidates", type=at_least(1), default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    parent = parent_of(bundle, "text_embedder")
    path = bundle.path(parent)
    runs = embedder_inputs(bundle, arguments.runs, arguments.candidates)
    with tempfile.TemporaryDirectory() as scratch:
        paths = {"fp32": path, "ours": Path(scratch, "ours.onnx"), "optimum": Path(scratch, "optimum.onnx")}
        dynamic_int8(path, paths["ours"])
        optimum_int8(path, paths["optimum"])
        print(json.dumps({"threads": arguments.threads, **compare(paths, runs, arguments.threads)}, indent=1))


def embedder_inputs(bundle: Bundle, runs: int, candidates: int) -> list[Mapping[str, np.ndarray]]:
    """Token ids and masks of captions of our own, as a rerank gives them to the text embedder."""
    manifest = bundle.manifest
    tokenizer = load_tokenizer(bundle.path(manifest.tokenizers.text))
    texts = distinct_captions(runs * candidates, np.random.default_rng(0), LABELS, SceneRecipe())
    groups = [texts[start : start + candidates] for start in range(0, len(texts), candidates)]
    arrays = [to_arrays(tokenizer, group, manifest.instruction) for group in groups]
    return [{"token_ids": token_ids, "attention_mask": mask} for token_ids, mask in arrays]


if __name__ == "__main__":
    run(main)
