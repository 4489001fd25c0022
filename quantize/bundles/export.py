"""From a training run to a bundle: ONNX graphs, tokenizers, manifest and model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import nn

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.tokens import to_arrays
from quantize.bundles.bundle_writer import common_entries, export_graph, staged_bundle, write_manifest
from quantize.bundles.card import Attribution, write_attributions, write_card
from quantize.bundles.naming_rules import familiarity_of, naming_entries, sureness_of
from quantize.bundles.onnx_writer import to_halves
from quantize.data.captions import caption
from quantize.data.clips import Clip, load_clips, outlier_rows
from quantize.data.corpus import window
from quantize.data.features import batched_filter_bank
from quantize.data.manifests import read_manifest
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.data.waveform_cache import decoded_stretch
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
from quantize.training.recipe import Recipe, recipe_from
from quantize.training.text_student import TEXT_FOLDER, load_text_student
from quantize.training.train import load_run, outliers_heard
from quantize.training.trainee import Trainee

CHECK_SCENES = 8


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


@dataclass(frozen=True)
class TrainingData:
    """The training data of a run, as far as its bundle needs it.

    Attributes:
        recordings: the recordings that the bundle attributes.
        fbanks: (windows, 998, 128) that the graphs are checked with.
        texts: captions that they are checked with.
        calibration: (windows, 998, 128) that INT8 is calibrated with.
        calibrated_with: origin of the calibration windows, in words.
        clips: the recordings of known classes themselves; none of a corpus.
    """

    recordings: list[Attribution]
    fbanks: torch.Tensor
    texts: list[str]
    calibration: npt.NDArray[np.float32]
    calibrated_with: str
    clips: Sequence[Clip] = ()


def outliers_of(run: Path, folder: Path | None) -> list[Attribution]:
    """The attributions of recordings of no known class that a run noted.

    Raises:
        ConfigError: it noted some, and their folder is not given.
        DataError: one of them does not lie there.
    """
    heard = outliers_heard(run)
    if not heard:
        return []
    if folder is None:
        raise ConfigError(
            f"{run} learnt from {len(heard)} recordings of other sounds: name their folder with --outliers"
        )
    names = [entry.name for entry in fields(Attribution)]
    found = {row["file"]: Attribution(**{name: row[name] for name in names}) for row in outlier_rows(folder)}
    if missing := [path for path in heard if path not in found]:
        raise DataError(f"{run} learnt from {missing[0]}, which {folder} does not list: give the same --outliers")
    return [found[path] for path in heard]


def left_out(run: Path) -> frozenset[str]:
    """Names of a corpus's clips that the run could not use, as it noted them."""
    noted = run / "clips.json"
    if not noted.is_file():
        return frozenset()
    return frozenset(clip["name"] for clip in json.loads(noted.read_text(encoding="utf-8"))["clips"])


def training_data_of(
    recipe: Recipe,
    data: Path,
    broken: frozenset[str] = frozenset(),
    calibration_windows: int = 0,
    outliers: Sequence[Attribution] = (),
) -> TrainingData:
    """Recordings, check inputs and windows to calibrate with, of a recipe's corpus, its broken clips left out, or of
    its folds.

    Raises:
        InputMissingError, DataError: they cannot be read.
    """
    rng = np.random.default_rng(0)
    clips: Sequence[Clip] = ()
    if recipe.corpus:
        corpus = recipe.corpus
        listed = read_manifest(corpus.format, data / corpus.captions, data / corpus.audio).clips
        heard = [clip for clip in listed if clip.name not in broken]
        recordings = [
            Attribution(clip.name, ";".join(clip.labels), clip.recording, clip.author, clip.license, "")
            for clip in heard
        ]
        used = heard[: CHECK_SCENES + calibration_windows]
        windows = [window(decoded_stretch(clip.path, clip.start_s, clip.duration_s), rng) for clip in used]
        texts = [clip.captions[0] for clip in heard[:CHECK_SCENES]]
        source = "recordings of the training corpus"
    else:
        clips = load_clips(data, recipe.folds.train, recipe.folds.absent)
        recordings = [
            *(
                Attribution(clip.path, clip.label, clip.title, clip.author, clip.license, clip.source_url)
                for clip in clips
            ),
            *outliers,
        ]
        builder = SceneBuilder(clips, SceneRecipe())
        scenes = [builder.scene(rng) for _ in range(CHECK_SCENES)]
        texts = [caption(scene, rng) for scene in scenes]
        scenes += [builder.scene(rng) for _ in range(calibration_windows)]
        windows = [scene.waveform for scene in scenes]
        source = f"scenes of {len(clips)} recordings that it was trained on"
    fbanks = batched_filter_bank(np.stack(windows))
    return TrainingData(
        recordings, torch.from_numpy(fbanks[:CHECK_SCENES]), texts, fbanks[CHECK_SCENES:], source, clips
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
