"""Published weights → a bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.models.tokens import to_arrays
from quantize.bundles.bundle_writer import common_entries, export_graph, write_manifest
from quantize.bundles.onnx_writer import keep_no_freed_tensors, release_memory
from quantize.bundles.staging import staged_bundle
from quantize.files import CARD
from quantize.models.checkpoint import load_captioner_weights
from quantize.models.config import CaptionerConfig
from quantize.models.decoder_tokenizer import decoder_tokenizer_of
from quantize.models.graph_modules import (
    GraphSpec,
    cross_attention,
    decoder_spec,
    encoder_spec,
    fold_batch_norm,
    fold_weight_norm,
    text_embedder_spec,
)
from quantize.models.instructor import CAPTION_INSTRUCTION, Instructor, load_instructor_weights
from quantize.models.published_config import captioner_config_of, published_rules
from quantize.progress import Log

# Of different lengths, so that the gate sees padding.
_CHECK_TEXTS = (
    "a dog barks",
    "rain falls on a roof while thunder rumbles in the distance",
    "a man speaks and then a door creaks open and closes again",
    "",
)


@dataclass(frozen=True)
class Provenance:
    """Where weights come from.

    Attributes:
        name, version: name and version of the bundle.
        license: SPDX name, or what is known of it.
        attributions: one line for each source.
    """

    name: str
    version: str
    license: str
    attributions: tuple[str, ...]


def convert_published(  # noqa: PLR0913, PLR0917 - what a conversion needs
    captioner: Path,
    instructor: Path,
    tokenizer: Path | Literal["numbered"] | None,
    output: Path,
    provenance: Provenance,
    log: Log,
) -> Path:
    """Write a bundle of a captioner and a text embedder in their published layouts.

    One model is in memory at a time, mapped from its file: the peak stays under twice the largest weight file, of
    weights that are large beside the libraries.

    Args:
        captioner: folder of the captioner.
        instructor: folder of INSTRUCTOR, of the size that the captioner was trained with.
        tokenizer: folder or file of the decoder's tokenizer; "numbered" gives every token a number for a word; None
            looks beside the captioner's weights.
        output: folder of the bundle.
        provenance: names, licences and sources, for the manifest and the card.
        log: called with a line for each graph.

    Raises:
        InputMissingError, ConfigError, DataError: a part is missing, configured otherwise, damaged, or does not fit;
            or a graph differs from torch by more than 1e-3.
    """
    keep_no_freed_tensors()
    config, _ = captioner_config_of(captioner)
    decoder_tokenizer = decoder_tokenizer_of(tokenizer, captioner, config, log)
    text_tokenizer, comparable = _embedder_of(instructor, config, log)
    with staged_bundle(output) as folder:
        windows = _demo_windows()
        specs: dict[str, Callable[[], GraphSpec]] = {
            "encoder": partial(_encoder, captioner, windows),
            "decoder": partial(_decoder, captioner, windows),
            "text_embedder": partial(_text_embedder, instructor),
        }
        graphs = {role: [export_graph(role, make, folder, log)] for role, make in specs.items()}
        manifest = {
            **common_entries(folder, decoder_tokenizer, text_tokenizer),
            "name": provenance.name,
            "version": provenance.version,
            "license": provenance.license,
            "attributions": list(provenance.attributions),
            "embedding_size": config.embedding_dim,
            "vocabulary_size": config.decoder.vocab_size,
            "decoding": published_rules(config).model_dump(exclude_unset=True),
            "rerank": {"log_likelihood": 0.3, "similarity": 0.7 if comparable else 0.0},
            "instruction": CAPTION_INSTRUCTION,
            "graphs": graphs,
            "quality": {},
        }
        write_manifest(folder, manifest)
        write_card(folder / CARD, provenance, manifest, ("decoding", "rerank"))
    return output


def _encoder(folder: Path, windows: torch.Tensor) -> GraphSpec:
    model = load_captioner_weights(folder)
    fold_weight_norm(model)
    fold_batch_norm(model.eval())
    return encoder_spec(model, windows, takes_padding=True)


def _decoder(folder: Path, windows: torch.Tensor) -> GraphSpec:
    cross = cross_attention(load_captioner_weights(folder), windows)
    release_memory()
    # Mapped anew: of this one, the encoder's part is never read.
    model = load_captioner_weights(folder)
    return decoder_spec(model, cross, published_rules(model.config).max_length)


def _text_embedder(folder: Path) -> GraphSpec:
    instructor = load_instructor_weights(folder)
    texts = to_arrays(instructor.tokenizer, _CHECK_TEXTS, CAPTION_INSTRUCTION)
    arrays = (torch.from_numpy(array) for array in texts)
    return text_embedder_spec(instructor.embedder(CAPTION_INSTRUCTION), *arrays)


def _demo_windows() -> torch.Tensor:
    waveform = synthesise_demo(12.0, 0)
    starts = (0, WINDOW_SAMPLES // 10)
    return torch.from_numpy(np.stack([filter_bank(waveform[at : at + WINDOW_SAMPLES]) for at in starts]))


def _embedder_of(folder: Path, config: CaptionerConfig, log: Log) -> tuple[Tokenizer, bool]:
    """The text embedder's tokenizer, and whether texts and sounds lie in one space; its weights are let go again."""
    instructor: Instructor = load_instructor_weights(folder)
    comparable = instructor.dim == config.embedding_dim
    if not comparable:
        log(
            f"the captioner was trained with another INSTRUCTOR: {folder} embeds texts in {instructor.dim} dimensions, "
            f"the captioner its sounds in {config.embedding_dim}; captions will be chosen by their likelihood alone"
        )
    return instructor.tokenizer, comparable


def provenance_of(captioner: Path, instructor: Path, name: str) -> Provenance:
    """What the folders themselves say: the licence in the model card, where there is one."""
    roles = {"captioner": captioner, "text embedder": instructor}
    return provenance_beside(name, {f"{role}: {folder.resolve().name}": folder for role, folder in roles.items()})


def provenance_beside(name: str, weights: Mapping[str, Path]) -> Provenance:
    """Of weights whose licences stand in model cards beside them, or nowhere.

    Args:
        name: of the bundle.
        weights: what they are, for the attribution → folder that the card would lie in. The bundle has the licence of
            the first.
    """
    stated = {what: card_licence(folder) for what, folder in weights.items()}
    sources = tuple(what + (f" ({licence})" if licence else "") for what, licence in stated.items())
    return Provenance(name, "1", next(iter(stated.values())) or "unknown: see where the weights come from", sources)


def card_licence(folder: Path) -> str | None:
    """The licence that a model card's front matter states."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    stated = re.search(r"^license:\s*[\"']?([\w.+-]+)", front.group(1), re.MULTILINE) if front else None
    return stated.group(1) if stated else None


def write_card(path: Path, provenance: Provenance, manifest: dict[str, Any], shown: Sequence[str]) -> None:
    """The model card of a converted bundle.

    Args:
        path: file to write.
        provenance: names, licences and sources.
        manifest: the bundle's.
        shown: parts of the manifest that the card shows, as far as it has them.
    """
    graphs: Sequence[tuple[str, dict[str, Any]]] = [(role, forms[0]) for role, forms in manifest["graphs"].items()]
    rows = "\n".join(
        f"| {role} | `{graph['file']}` | {graph['precision']} | {graph['max_abs_difference']:.1e} |"
        for role, graph in graphs
    )
    sources = "\n".join(f"- {line}" for line in provenance.attributions)
    path.write_text(
        f"""# {provenance.name}, version {provenance.version}

Converted by `edge-aac` from weights that others published. Licence: {provenance.license}.

{sources}

Nothing was trained or changed; how well it captions was not measured here. Each graph was compared with torch:

| role | file | precision | max abs difference from torch |
|---|---|---|---|
{rows}

Decoding as published:
```json
{json.dumps({name: manifest[name] for name in shown if name in manifest}, indent=1)}
```
""",
        encoding="utf-8",
    )
