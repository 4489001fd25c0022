"""`edge-aac build-engine` of dual encoders that hear clips (CLAP): INT8 forms for the processor that it runs on."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.audio.log_mel import LogMel, read_filters
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.errors import DataError
from edge_aac.models.dual_encoder import DualEncoderManifest
from edge_aac.models.graph_contracts import LOG_MEL
from edge_aac.models.tokens import load_tokenizer, verbatim_arrays
from quantize.device.cpu.embedders import EmbedderForm, Inputs, embedder_int8
from quantize.device.cpu.forms import FASTER
from quantize.device.places import output_folder, parent_of
from quantize.device.report import BuildReport, FormReport
from quantize.device.store import BuildStore, build_store
from quantize.progress import Log

Tokens: TypeAlias = npt.NDArray[np.int64]

# Of different lengths; one with the mark that GPT-2's CLAP takes for padding.
CHECK_TEXTS = (
    "this is a sound of a dog barking",
    "rain falls on a roof while thunder rumbles in the distance and a car drives by",
    "birds sing! loud",
    "Regen fällt, 雨が降る",
    "",
)


def check_clips(samples: int) -> npt.NDArray[np.float32]:
    """(B, samples): the demo, taken as if it were at the model's rate, a piece of it repeated, and noise."""
    waveform = synthesise_demo(12.0, 0)
    piece = waveform[len(waveform) // 3 :][:20_000]
    noise = np.random.default_rng(0).normal(0.0, 0.1, samples).astype(np.float32)
    return np.stack([np.resize(waveform, samples), np.resize(piece, samples), noise])


def check_tokens(tokenizer: Tokenizer, suffix: str, max_tokens: int) -> tuple[Tokens, Tokens]:
    """Token ids and attention mask, (N, S) each, of those check texts that the model has positions for."""
    rows = [verbatim_arrays(tokenizer, [text + suffix])[0] for text in CHECK_TEXTS]
    kept = [text + suffix for text, row in zip(CHECK_TEXTS, rows, strict=True) if row.shape[1] <= max_tokens]
    return verbatim_arrays(tokenizer, kept)


def build_clip_encoder(source: Bundle, output: Path | None, leave: Collection[GraphRole], log: Log) -> BuildReport:
    """Make, gate and time an INT8 form of each graph; what is not faithful, or no faster here, is not stored.

    Args:
        source: from :func:`quantize.device.places.open_for_build`.
        output: folder to write; None for the bundle's own, or among the user's.
        leave: graphs that stay as they were exported.
        log: called with a line for each step.

    Raises:
        DeviceError: the folder cannot be written, is held or too full.
        DataError: a file of the bundle is not what it should be, or a form cannot be made.
    """
    started = time.monotonic()
    manifest = source.manifest_of(DualEncoderManifest)
    parents = {role: parent_of(source, role) for role in manifest.graphs}
    folder = output_folder(source, output)
    report = BuildReport(source.opened_as, str(folder), notes=["no TensorRT engines are built of a model of clips"])
    copied = sum(source.path(file).stat().st_size for file in manifest.files())
    needed = sum(source.size(parent) for parent in parents.values())
    with build_store(source, folder, needed + (copied if folder != source.folder.resolve() else 0)) as store:
        forms = {role: _forms(store, role, parent, leave, report, log) for role, parent in parents.items()}
        report.order = {role: [f"{form.backend} {form.precision}" for form in each] for role, each in forms.items()}
        if not report.failure:
            changed = manifest.model_copy(update={"graphs": forms})
            if store.holds(changed):
                log(f"nothing to change in {store.folder}")
            else:
                store.commit(changed)
                report.written = True
    report.seconds = time.monotonic() - started
    return report


def _forms(
    store: BuildStore, role: GraphRole, parent: Graph, leave: Collection[GraphRole], report: BuildReport, log: Log
) -> list[Graph]:
    """The forms of a graph, the preferred one first."""
    exported = [form for form in store.source.manifest.graphs[role] if not form.parent_sha256]
    exported = [parent, *(form for form in exported if form != parent)]
    if role in leave:
        return exported
    log(f"{role}: quantising to INT8 for ONNX Runtime")
    checks = checks_of(store.source, role)
    made = embedder_int8(parent, store.locate(parent), store.new_file(f"{role}.int8", ".onnx"), checks)
    form = FormReport(role, made.graph, made.size_bytes, timing=made.timing)
    report.forms.append(form)
    form.outcome = _outcome(made)
    if made.fault or made.timing.ratio > FASTER:
        form.fault = made.fault
        store.discard(made.graph)
        return exported
    form.written = True
    return [made.graph, *exported]


def _outcome(made: EmbedderForm) -> str:
    if made.fault:
        return f"unfaithful: {made.fault}: fp32 stays"
    if made.timing.ratio > FASTER:
        return f"not faster here ({made.timing.ratio:.2f} of fp32's time): fp32 stays"
    return f"faithful (lowest cosine {made.cosine:.4f}) and faster"


def checks_of(bundle: Bundle, role: GraphRole) -> list[Inputs]:
    """Inputs of single runs of a graph of such a bundle.

    Raises:
        InputMissingError, DataError: its tokenizer or mel filters are not there, or are not what they should be.
    """
    manifest = bundle.manifest_of(DualEncoderManifest)
    if manifest.clip is None or manifest.text is None:
        raise DataError(f"bundle {bundle.opened_as!r} has no rules for clips and texts: convert it again")
    mel = manifest.clip.mel
    if role == "encoder":
        log_mel = LogMel(mel.fft, mel.hop, read_filters(bundle.checked(mel.filters), mel.fft, mel.bins))
        return [{LOG_MEL: log_mel.of(clip)[np.newaxis]} for clip in check_clips(manifest.clip.samples)]
    tokenizer = load_tokenizer(bundle.checked(manifest.text_tokenizer))
    return one_by_one(*check_tokens(tokenizer, manifest.text.suffix, manifest.text.max_tokens))


def one_by_one(token_ids: Tokens, attention_mask: Tokens) -> list[Inputs]:
    """Texts (N, S) as inputs of single runs, without their padding."""
    lengths = np.maximum(attention_mask.sum(axis=1), 1)
    return [
        {"token_ids": token_ids[row : row + 1, :length], "attention_mask": attention_mask[row : row + 1, :length]}
        for row, length in enumerate(lengths)
    ]
