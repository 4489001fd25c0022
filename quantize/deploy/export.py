"""From a training run to a bundle: ONNX graphs, each through the gate, tokenizers, manifest and model card."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from tokenizers import Tokenizer

from edge_aac.captioner.bundle import MANIFEST, SCHEMA, Manifest, file_sha256, read_manifest
from edge_aac.captioner.tokens import to_arrays
from edge_aac.errors import DataError
from quantize.data.captions import caption
from quantize.data.clips import Clip, load_clips
from quantize.data.features import batched_filter_bank
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.deploy.card import ATTRIBUTIONS, CARD, write_attributions, write_card
from quantize.deploy.graphs import (
    GraphSpec,
    decoder_spec,
    encoder_spec,
    fold_weight_norm,
    text_embedder_spec,
)
from quantize.deploy.verify import gate, max_abs_difference
from quantize.training.train import load_run

OPSET = 17
"""The first with LayerNormalization. ONNX Runtime 1.23, the last for JetPack 6, runs it (tests on Python 3.10);
TensorRT has not been tried."""

CHECK_SCENES = 8


def export_bundle(
    run: Path, data: Path, output: Path, quality: Mapping[str, Any], report: Callable[[str], None]
) -> Path:
    """Write a bundle of a run's averaged weights.

    It is written beside its place and moved there when all graphs have passed the gate, so a failed export leaves
    what was there before.

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
    check_output(output)
    trainee, tokenizer, recipe = load_run(run)
    clips = load_clips(data, tuple(recipe["folds"]["train"]))
    fold_weight_norm(trainee)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
        folder = Path(scratch) / output.name
        folder.mkdir()
        graphs = {}
        for role, spec in graph_specs(trainee, tokenizer, clips).items():
            graphs[role] = [export_graph(role, spec, folder, report)]
        manifest = manifest_table(recipe, tokenizer, folder, graphs, quality)
        Manifest.model_validate(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        write_attributions(folder / ATTRIBUTIONS, clips)
        parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in trainee.named_children()}
        write_card(folder / CARD, manifest, recipe, clips, parameters)
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return output


def check_output(output: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        DataError: something else stands there, or files that no export writes lie in the bundle.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"{output} is a file: give a folder with --output")
    names = {path.name for path in output.iterdir()}
    if not names:
        return
    if MANIFEST not in names:
        raise DataError(f"{output} exists and holds no bundle: give another folder with --output")
    written = {MANIFEST, CARD, ATTRIBUTIONS, *(file.file for file in read_manifest(output / MANIFEST).files())}
    if strangers := sorted(names - written):
        raise DataError(f"{output} holds {strangers[0]}, which is no part of its bundle: move it away first")


def graph_specs(trainee: Any, tokenizer: Tokenizer, clips: list[Clip]) -> dict[str, GraphSpec]:
    """The three graphs with check inputs drawn from real recordings."""
    builder = SceneBuilder(clips, SceneRecipe())
    rng = np.random.default_rng(0)
    scenes = [builder.scene(rng) for _ in range(CHECK_SCENES)]
    fbanks = torch.from_numpy(batched_filter_bank(np.stack([scene.waveform for scene in scenes])))
    token_ids, mask = to_arrays(tokenizer, [caption(scene, rng) for scene in scenes])
    captioner = trainee.captioner
    return {
        "encoder": encoder_spec(captioner, fbanks),
        "decoder": decoder_spec(captioner, fbanks[:1], captioner.config.decoder.max_positions),
        "text_embedder": text_embedder_spec(trainee.text_embedder, torch.from_numpy(token_ids), torch.from_numpy(mask)),
    }


def export_graph(role: str, spec: GraphSpec, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Write one graph, gate it, and describe it for the manifest."""
    path = folder / f"{role}.fp32.onnx"
    with warnings.catch_warnings():
        # The exporter that traces is deprecated, but it writes opset 17 itself; its successor converts down to it.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            spec.module,
            tuple(spec.inputs.values()),
            str(path),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={name: dict(axes) for name, axes in spec.dynamic_axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    difference = max_abs_difference(path, spec)
    report(f"{role}: max abs difference from torch {difference:.2e}, {path.stat().st_size / 1e6:.2f} MB")
    gate(role, difference)
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    return {
        "file": path.name,
        "sha256": file_sha256(path),
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": {
            entry.name: [axis.dim_param or axis.dim_value for axis in entry.type.tensor_type.shape.dim]
            for entry in (*model.graph.input, *model.graph.output)
        },
        "built_with": {"torch": torch.__version__, "transformers": transformers.__version__, "opset": str(OPSET)},
        "max_abs_difference": float(f"{difference:.3g}"),
    }


def manifest_table(
    recipe: Mapping[str, Any],
    tokenizer: Tokenizer,
    folder: Path,
    graphs: Mapping[str, Any],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """``manifest.json`` as a table; writes the two tokenizers that it vouches for."""
    tokenizers = {}
    for role, name in (("decoder", "tokenizer.json"), ("text", "text_tokenizer.json")):
        tokenizer.save(str(folder / name))
        tokenizers[role] = {"file": name, "sha256": file_sha256(folder / name)}
    return {
        "schema": SCHEMA,
        "name": recipe["name"],
        "version": recipe["version"],
        "license": recipe["license"],
        "attributions": [recipe["source"], f"every recording with its author and licence: {ATTRIBUTIONS}"],
        "sample_rate": 16000,
        "window_s": 10.0,
        "embedding_size": recipe["model"]["embedding_dim"],
        "vocabulary_size": tokenizer.get_vocab_size(),
        "decoding": {
            **recipe["decoding"],
            "start_token_id": EOS_ID,
            "eos_token_id": EOS_ID,
            "pad_token_id": PAD_ID,
        },
        "rerank": recipe["rerank"],
        "tokenizers": tokenizers,
        "graphs": graphs,
        "quality": dict(quality),
    }
