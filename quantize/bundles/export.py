"""From a training run to a bundle: ONNX graphs, tokenizers, manifest and model card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import nn

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.errors import ConfigError
from edge_aac.models.tokens import to_arrays
from quantize.bundles.bundle_writer import common_entries, export_graph, write_manifest
from quantize.bundles.card import write_attributions, write_card
from quantize.bundles.naming_rules import familiarity_of, naming_entries, sureness_of
from quantize.bundles.onnx_writer import to_halves
from quantize.bundles.staging import staged_bundle
from quantize.bundles.training_data import TrainingData, left_out, outliers_of, training_data_of
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.files import ATTRIBUTIONS, CARD
from quantize.graphs.calibrating import calibrate_graphs
from quantize.graphs.calibration import CALIBRATION, write_calibration
from quantize.models.captioner import Captioner
from quantize.models.familiarity import Familiarity
from quantize.models.graph_modules import (
    GraphSpec,
    cross_attention,
    decoder_spec,
    encoder_spec,
    fold_batch_norm,
    fold_weight_norm,
    stem_spec,
    text_embedder_spec,
)
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.sureness import Sureness
from quantize.progress import Log
from quantize.training.recipe import recipe_from
from quantize.training.text_student import TEXT_FOLDER, load_text_student
from quantize.training.train import load_run
from quantize.training.trainee import Trainee


def export_bundle(
    run: Path,
    data: Path,
    output: Path,
    quality: Mapping[str, Any],
    log: Log,
    sentence_embedder: SentenceEmbedder | None = None,
    calibration_windows: int = 0,
    outliers: Path | None = None,
) -> Path:
    """Write a bundle of a run's averaged weights.

    Args:
        run: folder of a training run.
        data: the recordings that it was trained on: the gate takes its check windows from them, the card their
            attributions.
        output: folder of the bundle.
        quality: measured scores, for the manifest and the card.
        log: function that is called with a line for each graph.
        sentence_embedder: embedder that replaces the run's own text embedder in the bundle.
        calibration_windows: number of windows of the recordings to calibrate INT8 with; 0: no calibration.
        outliers: folder of the recordings of no known class, where it was trained on such; they are attributed, too.

    Raises:
        ConfigError: it was trained on such, and their folder is not given.
        DataError: a graph differs from torch by more than 1e-3, or the folder holds something else than a bundle.
        InputMissingError: the run or the recordings are missing.
    """
    with staged_bundle(output) as folder:
        trainee, tokenizer, recipe = load_run(run)
        text = text_part(run, trainee, tokenizer, sentence_embedder)
        trainee.text_embedder = None
        extra = outliers_of(run, outliers)
        learnt = recipe_from(recipe)
        data_used = training_data_of(learnt, data, left_out(run), calibration_windows, extra)
        fold_weight_norm(trainee)
        fold_batch_norm(trainee.captioner)
        familiarity = familiarity_of(learnt, trainee.captioner, data_used.clips, log)
        sureness = sureness_of(learnt.sureness, trainee.captioner)
        specs = graph_specs(trainee.captioner, text, data_used, familiarity, sureness)
        graphs = {role: [export_graph(role, make, folder, log)] for role, make in specs.items()}
        manifest = manifest_table(recipe, tokenizer, text.tokenizer, folder, graphs, quality)
        manifest["instruction"] = text.instruction
        if patches := patch_rule(trainee.captioner):
            manifest["patches"] = patches.model_dump()
        parts: dict[str, nn.Module] = {"captioner": trainee.captioner, "text_embedder": text.module}
        if calibration_windows:
            manifest["calibration"] = write_calibration_of(folder, specs, data_used, patches, log)
        manifest["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
        if familiarity:
            manifest["parameters"]["familiarity"] = sum(buffer.numel() for buffer in familiarity.buffers())
        manifest |= naming_entries(folder, learnt, tokenizer)
        write_manifest(folder, manifest)
        write_attributions(folder / ATTRIBUTIONS, data_used.recordings)
        write_card(folder / CARD, manifest, recipe, data_used.recordings)
    return output


@dataclass(frozen=True)
class TextPart:
    """The text embedder of a bundle, which its candidates are reranked with."""

    module: nn.Module
    tokenizer: Tokenizer
    instruction: str = ""


def text_part(
    run: Path, trainee: Trainee, tokenizer: Tokenizer, sentence_embedder: SentenceEmbedder | None = None
) -> TextPart:
    """The given sentence embedder; else the one that was trained together with the captioner, or distilled for it.

    Raises:
        ConfigError: the run has neither.
    """
    if sentence_embedder is not None:
        return TextPart(
            sentence_embedder.embedder(), sentence_embedder.tokenizer, sentence_embedder.default_instruction
        )
    if trainee.text_embedder is not None:
        return TextPart(trainee.text_embedder, tokenizer)
    if (run / TEXT_FOLDER / "last.pt").is_file():
        return TextPart(load_text_student(run / TEXT_FOLDER), tokenizer)
    raise ConfigError(
        f"{run} has no text embedder of its own: distil one with `edge-aac distill`, or name the sentence embedder "
        "that it was trained with: --sentence-embedder FOLDER"
    )


def patch_rule(captioner: Captioner) -> PatchRule | None:
    """How a captioner's stem cuts a window, for the manifest; None where it hears the window as a whole."""
    stem = captioner.encoder.patch_stem
    return None if stem is None else PatchRule(frames=stem.frames, hop_frames=stem.hop)


def write_calibration_of(
    folder: Path,
    specs: Mapping[str, Callable[[], GraphSpec]],
    data_used: TrainingData,
    patches: PatchRule | None,
    log: Log,
) -> dict[str, str]:
    """Calibrate the graphs that lie in ``folder``, for the manifest."""
    parents: dict[GraphRole, Path] = {role: folder / f"{role}.fp32.onnx" for role in specs}
    # One run at a time: what a spec gives is good until it gives the next.
    runs: dict[GraphRole, Iterator[dict[str, npt.NDArray[Any]]]] = {
        role: ({name: value.numpy() for name, value in inputs.items()} for inputs in specs[role]().checks())
        for role in parents
        if role not in (STEM, "encoder")
    }
    windows = list(data_used.calibration)
    calibration = calibrate_graphs(parents, windows, runs, data_used.calibrated_with, log, patches)
    write_calibration(folder / CALIBRATION, calibration)
    return {"file": CALIBRATION, "sha256": file_sha256(folder / CALIBRATION)}


def graph_specs(
    captioner: Captioner,
    text: TextPart,
    data_used: TrainingData,
    familiarity: Familiarity | None = None,
    sureness: Sureness | None = None,
) -> dict[str, Callable[[], GraphSpec]]:
    """The graphs with check inputs drawn from real recordings; all weights are rounded to FP16 that are to be
    stored so."""
    of_captioner = to_halves(nn.ModuleList([captioner, *([familiarity] if familiarity else [])]))
    halves = {STEM: of_captioner, "encoder": of_captioner, "decoder": of_captioner}
    halves["text_embedder"] = to_halves(text.module)
    token_ids, mask = to_arrays(text.tokenizer, data_used.texts, text.instruction)
    longest = captioner.config.decoder.max_positions
    texts = torch.from_numpy(token_ids), torch.from_numpy(mask)
    stem = {STEM: partial(stem_spec, captioner, data_used.fbanks)} if captioner.encoder.patch_stem else {}
    made: dict[str, Callable[[], GraphSpec]] = {
        **stem,
        "encoder": partial(encoder_spec, captioner, data_used.fbanks, familiarity=familiarity, sureness=sureness),
        "decoder": partial(decoder_spec, captioner, cross_attention(captioner, data_used.fbanks[:2]), longest),
        "text_embedder": partial(text_embedder_spec, text.module, *texts),
    }
    return {role: partial(_with_halves, make, halves[role]) for role, make in made.items()}


def _with_halves(make: Callable[[], GraphSpec], halves: bool) -> GraphSpec:
    return replace(make(), halves=halves)


def manifest_table(
    recipe: Mapping[str, Any],
    tokenizer: Tokenizer,
    text_tokenizer: Tokenizer,
    folder: Path,
    graphs: Mapping[str, Any],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """``manifest.json`` as a table; writes the two tokenizers that it vouches for."""
    return {
        **common_entries(folder, tokenizer, text_tokenizer),
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
        **recipe.get("events", {}),
        "graphs": graphs,
        "quality": dict(quality),
    }
