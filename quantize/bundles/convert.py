"""Published weights → a bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.tokens import load_tokenizer, to_arrays
from quantize.bundles.bundle_writer import Report, common_entries, export_graph, staged_bundle, write_manifest
from quantize.bundles.onnx_writer import keep_no_freed_tensors, release_memory
from quantize.files import CARD
from quantize.models.checkpoint import load_captioner_weights
from quantize.models.config import CaptionerConfig
from quantize.models.graph_modules import (
    GraphSpec,
    cross_attention,
    decoder_spec,
    encoder_spec,
    fold_weight_norm,
    text_embedder_spec,
)
from quantize.models.instructor import CAPTION_INSTRUCTION, Instructor, load_instructor_weights
from quantize.models.published_config import captioner_config_of, published_rules

BART_VOCABULARY = 50265
NUMBERED = "numbered"

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
        name, version: of the bundle.
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
    report: Report,
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
        provenance: for the manifest and the card.
        report: told one line for each graph.

    Raises:
        InputMissingError, ConfigError, DataError: a part is missing, configured otherwise, damaged, or does not fit;
            or a graph differs from torch by more than 1e-3.
    """
    keep_no_freed_tensors()
    config, _ = captioner_config_of(captioner)
    decoder_tokenizer = decoder_tokenizer_of(tokenizer, captioner, config, report)
    text_tokenizer, comparable = _embedder_of(instructor, config, report)
    with staged_bundle(output) as folder:
        specs: dict[str, Callable[[], GraphSpec]] = {
            "encoder": partial(_encoder, captioner),
            "decoder": partial(_decoder, captioner),
            "text_embedder": partial(_text_embedder, instructor),
        }
        graphs = {role: [export_graph(role, make, folder, report)] for role, make in specs.items()}
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
        _write_card(folder / CARD, provenance, manifest)
    return output


def _encoder(folder: Path) -> GraphSpec:
    model = load_captioner_weights(folder)
    fold_weight_norm(model)
    return encoder_spec(model, _demo_windows(), takes_padding=True)


def _decoder(folder: Path) -> GraphSpec:
    cross = cross_attention(load_captioner_weights(folder), _demo_windows()[:1])
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


def _embedder_of(folder: Path, config: CaptionerConfig, report: Report) -> tuple[Tokenizer, bool]:
    """The text embedder's tokenizer, and whether texts and sounds lie in one space; its weights are let go again."""
    instructor: Instructor = load_instructor_weights(folder)
    comparable = instructor.dim == config.embedding_dim
    if not comparable:
        report(
            f"the captioner was trained with another INSTRUCTOR: {folder} embeds texts in {instructor.dim} dimensions, "
            f"the captioner its sounds in {config.embedding_dim}; captions will be chosen by their likelihood alone"
        )
    return instructor.tokenizer, comparable


def decoder_tokenizer_of(
    given: Path | Literal["numbered"] | None, captioner: Path, config: CaptionerConfig, report: Report
) -> Tokenizer:
    """The tokenizer whose ids the decoder speaks.

    Raises:
        InputMissingError: none was given or found.
        DataError: it cannot be read, or has another number of tokens than the decoder.
    """
    size = config.decoder.vocab_size
    if given is None:
        given = next(
            (captioner / name for name in ("tokenizer.json", "vocab.json") if (captioner / name).is_file()), None
        )
    if given is None:
        if size == BART_VOCABULARY:
            raise InputMissingError(
                f"{captioner} comes without its tokenizer, that of facebook/bart-base: fetch it with "
                "`edge-aac pull bart-base` and give the folder that it prints with --tokenizer"
            )
        report(
            f"no tokenizer lies beside the weights, and {size} tokens are none that is known: captions will be token "
            "numbers; --tokenizer gives them words"
        )
        given = NUMBERED
    if given == NUMBERED:
        decoder = config.decoder
        return numbered_tokenizer(size, {decoder.start_token_id, decoder.eos_token_id, decoder.pad_token_id})
    tokenizer = _read_tokenizer(Path(given))
    if tokenizer.get_vocab_size() != size:
        raise DataError(
            f"the tokenizer {given} has {tokenizer.get_vocab_size()} tokens, the decoder {size}: give the decoder's own"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_tokenizer(path: Path) -> Tokenizer:
    """``tokenizer.json``, or the older pair ``vocab.json`` and ``merges.txt`` of a byte-level BPE."""
    if not path.exists():
        raise InputMissingError(f"there is no {path}: correct --tokenizer")
    folder = path if path.is_dir() else path.parent
    whole = folder / "tokenizer.json" if path.is_dir() or path.name == "vocab.json" else path
    if whole.is_file():
        return load_tokenizer(whole)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not vocabulary.is_file() or not merges.is_file():
        raise InputMissingError(
            f"{path} has neither tokenizer.json nor vocab.json with merges.txt: correct --tokenizer"
        )
    try:
        tokenizer = Tokenizer(BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises plain Exception
        raise DataError(f"cannot read the tokenizer in {folder}: {error}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(token, special=True) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    # BART's mask takes the space before it.
    tokenizer.add_special_tokens([*specials, AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def numbered_tokenizer(size: int, special_ids: set[int]) -> Tokenizer:
    """Token 17 is the word "token17": for models with random weights, which have no words."""
    specials = {0, *special_ids}
    names = {f"<{i}>" if i in specials else f"token{i}": i for i in range(size)}
    tokenizer = Tokenizer(WordLevel(names, unk_token="<0>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([f"<{i}>" for i in sorted(specials)])
    return tokenizer


def provenance_of(captioner: Path, instructor: Path, name: str) -> Provenance:
    """What the folders themselves say: the licence in the model card, where there is one."""
    licence = card_licence(captioner) or "unknown: see where the weights come from"
    sources = [
        f"{role}: {folder.resolve().name}" + (f" ({stated})" if (stated := card_licence(folder)) else "")
        for role, folder in (("captioner", captioner), ("text embedder", instructor))
    ]
    return Provenance(name, "1", licence, tuple(sources))


def card_licence(folder: Path) -> str | None:
    """The licence that a model card's front matter states."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    stated = re.search(r"^license:\s*[\"']?([\w.+-]+)", front.group(1), re.MULTILINE) if front else None
    return stated.group(1) if stated else None


def _write_card(path: Path, provenance: Provenance, manifest: dict[str, Any]) -> None:
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
{json.dumps({"decoding": manifest["decoding"], "rerank": manifest["rerank"]}, indent=1)}
```
""",
        encoding="utf-8",
    )
