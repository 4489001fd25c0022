"""From a training run to a bundle: ONNX graphs, tokenizers, manifest and model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from edge_aac.captioner.tokens import to_arrays
from quantize.data.captions import caption
from quantize.data.clips import Clip, load_clips
from quantize.data.features import batched_filter_bank
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.deploy.bundle_writer import Report, common_entries, export_graph, staged_bundle, write_manifest
from quantize.deploy.card import ATTRIBUTIONS, CARD, write_attributions, write_card
from quantize.deploy.graphs import (
    GraphSpec,
    cross_attention,
    decoder_spec,
    encoder_spec,
    fold_weight_norm,
    text_embedder_spec,
)
from quantize.training.train import load_run

CHECK_SCENES = 8


def export_bundle(run: Path, data: Path, output: Path, quality: Mapping[str, Any], report: Report) -> Path:
    """Write a bundle of a run's averaged weights.

    Args:
        run: folder of a training run.
        data: the recordings that it was trained on: the gate takes its check windows from them, the card their
            attributions.
        output: folder of the bundle.
        quality: what was measured, for the manifest and the card.
        report: told one line for each graph.

    Raises:
        DataError: a graph differs from torch by more than 1e-3, or the folder holds something else than a bundle.
        InputMissingError: the run or the recordings are missing.
    """
    with staged_bundle(output) as folder:
        trainee, tokenizer, recipe = load_run(run)
        clips = load_clips(data, tuple(recipe["folds"]["train"]))
        fold_weight_norm(trainee)
        specs = graph_specs(trainee, tokenizer, clips)
        graphs = {role: [export_graph(role, make, folder, report)] for role, make in specs.items()}
        manifest = manifest_table(recipe, tokenizer, folder, graphs, quality)
        write_manifest(folder, manifest)
        write_attributions(folder / ATTRIBUTIONS, clips)
        parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in trainee.named_children()}
        write_card(folder / CARD, manifest, recipe, clips, parameters)
    return output


def graph_specs(trainee: Any, tokenizer: Tokenizer, clips: list[Clip]) -> dict[str, Callable[[], GraphSpec]]:
    """The three graphs with check inputs drawn from real recordings."""
    builder = SceneBuilder(clips, SceneRecipe())
    rng = np.random.default_rng(0)
    scenes = [builder.scene(rng) for _ in range(CHECK_SCENES)]
    fbanks = torch.from_numpy(batched_filter_bank(np.stack([scene.waveform for scene in scenes])))
    token_ids, mask = to_arrays(tokenizer, [caption(scene, rng) for scene in scenes])
    captioner = trainee.captioner
    longest = captioner.config.decoder.max_positions
    texts = torch.from_numpy(token_ids), torch.from_numpy(mask)
    return {
        "encoder": partial(encoder_spec, captioner, fbanks),
        "decoder": partial(decoder_spec, captioner, cross_attention(captioner, fbanks[:1]), longest),
        "text_embedder": partial(text_embedder_spec, trainee.text_embedder, *texts),
    }


def manifest_table(
    recipe: Mapping[str, Any],
    tokenizer: Tokenizer,
    folder: Path,
    graphs: Mapping[str, Any],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """``manifest.json`` as a table; writes the two tokenizers that it vouches for."""
    return {
        **common_entries(folder, tokenizer, tokenizer),
        "name": recipe["name"],
        "version": recipe["version"],
        "license": recipe["license"],
        "attributions": [recipe["source"], f"every recording with its author and licence: {ATTRIBUTIONS}"],
        "embedding_size": recipe["model"]["embedding_dim"],
        "vocabulary_size": tokenizer.get_vocab_size(),
        "decoding": {
            **recipe["decoding"],
            "max_positions": recipe["model"]["decoder"]["max_positions"],
            "start_token_id": EOS_ID,
            "eos_token_id": EOS_ID,
            "pad_token_id": PAD_ID,
        },
        "rerank": recipe["rerank"],
        "graphs": graphs,
        "quality": dict(quality),
    }
