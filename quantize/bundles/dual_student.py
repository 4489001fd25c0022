"""A trained student of CLAP → a bundle of the kind "dual_encoder" that hears windows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import SCHEMA, WINDOW_S
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import read_bundle
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.dual_encoder import DualEncoder
from edge_aac.models.dual_encoder_manifest import DUAL_ENCODER
from edge_aac.models.tokens import to_arrays
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.bundle_writer import export_graph, write_manifest
from quantize.bundles.card import graph_rows, write_attributions
from quantize.bundles.check_sound import check_sound
from quantize.bundles.convert import Provenance
from quantize.bundles.staging import staged_bundle
from quantize.bundles.training_data import attributions_of
from quantize.files import ATTRIBUTIONS, CARD
from quantize.models.dual_student import DualStudent, PatchVectorGraph
from quantize.models.graph_modules import GraphSpec, text_embedder_spec
from quantize.progress import Log
from quantize.training.dual_encoder import load_dual_run
from quantize.training.dual_recipe import DualRecipe
from quantize.training.dual_sounds import Recordings

_TOKENIZER = "text_tokenizer.json"
_CHECK_LABELS = 8
_CLOSE = 1e-3


def export_dual_student(run: Path, recordings: Recordings, teacher: Provenance, output: Path, log: Log) -> Path:
    """Write a bundle of a run's averaged weights.

    Args:
        run: folder of the finished run.
        recordings: what it learnt from, for the attributions.
        teacher: what is known of the teacher, for the manifest and the card.
        output: folder of the bundle.
        log: called with a line for each graph.

    Raises:
        InputMissingError: the run is not finished.
        DataError: a graph, or an embedding of the bundle, differs from torch by more than 1e-3; or something else than
            a bundle stands in the output's place.
    """
    student, tokenizer, recipe, labels = load_dual_run(run)
    fbanks = torch.from_numpy(np.stack([filter_bank(window) for window in check_sound()]))
    longest_last = sorted(labels, key=len)
    texts = [*longest_last[: _CHECK_LABELS // 2], *longest_last[-_CHECK_LABELS // 2 :]]
    ids, mask = map(torch.from_numpy, to_arrays(tokenizer, texts))
    specs = {
        STEM: partial(_stem, student, fbanks),
        "encoder": partial(_encoder, student, fbanks),
        "text_embedder": partial(text_embedder_spec, student.text, ids, mask),
    }
    with staged_bundle(output) as folder:
        graphs = {role: [export_graph(role, make, folder, log)] for role, make in specs.items()}
        tokenizer.save(str(folder / _TOKENIZER))
        manifest = _manifest(recipe, student, labels, teacher, folder) | {"graphs": graphs}
        write_manifest(folder, manifest)
        write_attributions(folder / ATTRIBUTIONS, attributions_of(recordings.learnt))
        _write_card(folder / CARD, manifest, teacher)
        _check_embeddings(folder, student, tokenizer, texts, fbanks)
    return output


@torch.no_grad()
def _stem(student: DualStudent, fbanks: Tensor) -> GraphSpec:
    stem = student.sound.stem
    whole = {"patches": stem.cut(fbanks).flatten(0, 1).contiguous()}
    one = {"patches": whole["patches"][:1]}
    axes = {name: {0: "patches"} for name in ("patches", "vectors")}
    return GraphSpec(PatchVectorGraph(stem).eval(), one, ("vectors",), axes, lambda: iter((one, whole)))


@torch.no_grad()
def _encoder(student: DualStudent, fbanks: Tensor) -> GraphSpec:
    whole = {"vectors": student.sound.vectors(fbanks)}
    one = {"vectors": whole["vectors"][:1]}
    axes = {name: {0: "windows"} for name in ("vectors", "audio_embedding")}
    return GraphSpec(student.sound.head, one, ("audio_embedding",), axes, lambda: iter((one, whole)))


def _manifest(
    recipe: DualRecipe, student: DualStudent, labels: Sequence[str], teacher: Provenance, folder: Path
) -> dict[str, Any]:
    counted = {"encoder": student.sound, "text_embedder": student.text}
    return {
        "schema": SCHEMA,
        "kind": DUAL_ENCODER,
        "name": recipe.name,
        "version": recipe.version,
        "license": recipe.license,
        "attributions": [
            f"taught by {teacher.name} ({teacher.license})",
            *teacher.attributions,
            f"every recording with its author and licence: {ATTRIBUTIONS}",
        ],
        "language": "en",
        "sample_rate": SAMPLE_RATE,
        "window_s": WINDOW_S,
        "labels": list(labels),
        "prompt": "{}",
        "embedding_size": recipe.text.embedding_dim,
        "text_tokenizer": {"file": _TOKENIZER, "sha256": file_sha256(folder / _TOKENIZER)},
        "patches": {"frames": recipe.sound.stem_frames, "hop_frames": recipe.sound.stem_hop_frames},
        "logit_scale": float(student.scale.detach()),
        "parameters": {
            role: sum(parameter.numel() for parameter in part.parameters()) for role, part in counted.items()
        },
        "quality": {},
    }


def _write_card(path: Path, manifest: Mapping[str, Any], teacher: Provenance) -> None:
    rows = graph_rows(manifest)
    sources = "\n".join(f"- {line}" for line in manifest["attributions"])
    path.write_text(
        f"""# {manifest["name"]}, version {manifest["version"]}

A student of {teacher.name}: sounds and texts in one space, for small devices. It hears 10 s at a time, mixed to one
channel, and chooses from {len(manifest["labels"])} labels of its own or from yours:
`edge-aac label FILE --labels LABEL… --bundle {manifest["name"]}`. Licence: {manifest["license"]}.

{sources}

It knows the texts that it learnt and what is said in their words; of other words it makes something, as certainly as of
those. Its teacher was its measure, not people: what it does with your sounds was not measured.
Parameters: {json.dumps(manifest["parameters"])}.

| role | file | precision | max abs difference from torch |
|---|---|---|---|
{rows}
""",
        encoding="utf-8",
    )


@torch.no_grad()
def _check_embeddings(
    folder: Path, student: DualStudent, tokenizer: Tokenizer, texts: Sequence[str], fbanks: Tensor
) -> None:
    """Compare the opened bundle's embeddings with torch's: what the runtime does around the graphs is in it.

    Raises:
        DataError: one differs.
    """
    model = DualEncoder(read_bundle(folder, folder.name), EngineOptions(ONNX_RUNTIME, threads=1))
    # Levels have no part in it.
    windows = [Window(0, WINDOW_SAMPLES, fbank, 0.0, 0.0, 0.0) for fbank in fbanks.numpy()]
    described = model.describe(windows, [])
    sounds = [found.audio_embedding for found in described if not isinstance(found, DataError)]
    ids, mask = map(torch.from_numpy, to_arrays(tokenizer, texts))
    pairs = (("sounds", sounds, student.sound(fbanks)), ("texts", [*model.embed(texts)], student.text(ids, mask)))
    for name, found, wanted in pairs:
        if len(found) != len(wanted) or not np.allclose(np.stack(found), wanted.numpy(), atol=_CLOSE):
            raise DataError(f"the exported bundle embeds {name} otherwise than torch: nothing was written")
