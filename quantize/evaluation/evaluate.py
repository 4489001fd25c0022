"""An evaluation: caption, score and write the report."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge_aac import records
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, Seq2SeqManifest
from edge_aac.bundle.store import Bundle
from edge_aac.errors import DeviceError, InputMissingError
from edge_aac.models.ensemble import Ensemble
from edge_aac.models.opening import CaptioningModel
from edge_aac.models.seq2seq import Captioner
from quantize.data.manifests import read_manifest
from quantize.evaluation.caption_metrics import INSTALL, SentenceEmbedder, caption_metrics
from quantize.evaluation.corpus import CaptionedCorpus, CorpusFormat, caption_corpus
from quantize.evaluation.scenes import event_tables
from quantize.evaluation.windows import CaptionedWindow, attributions, caption_windows, evaluation_windows

SCHEMA = "edge-aac/scores/1"
SCORES_FILE, REPORT_FILE, CAPTIONS_FILE = "scores.json", "report.html", "captions.csv"


@dataclass(frozen=True)
class MetricChoices:
    """Choices of caption metrics: an embedder for sentence similarity, and whether to compute SPICE."""

    embedder: SentenceEmbedder | None = None
    spice: bool = False


def evaluate_events(
    captioner: CaptioningModel,
    data: Path,
    fold: int,
    scene_count: int,
    seed: int,
    absent: Sequence[str] = (),
    outliers: Path | None = None,
    metrics: MetricChoices | None = MetricChoices(),
) -> tuple[dict[str, Any], list[CaptionedWindow]]:
    """Scores of a bundle on a held-out fold, and the captioned windows.

    Args:
        captioner: the bundle, with its candidates.
        data, fold, scene_count, absent, outliers: arguments of :func:`quantize.evaluation.windows.evaluation_windows`.
        seed: seed of the candidates.
        metrics: choices for metrics of the scenes' captions against true ones of the grammar; None leaves them out.

    Raises:
        EdgeAacError: see :func:`quantize.evaluation.windows.evaluation_windows`.
    """
    windows = evaluation_windows(captioner, data, fold, scene_count, absent, outliers)
    captioned = caption_windows(captioner, windows, seed)
    command = f"edge-aac evaluate --fold {fold} --scenes {scene_count} --seed {seed}"
    command += "".join(f" --absent {label}" for label in absent)
    command += " --outliers OUTLIERS" if outliers else ""
    scores = {
        **run_facts(captioner, command, seed),
        "held_out_fold": fold,
        "trained_on_recordings": len(attributions(captioner)),
        **event_tables(captioned),
    }
    scores |= scene_metrics(captioned, metrics, "the grammar of the training captions")
    return scores, captioned


class Captioned(Protocol):
    """What the caption metrics look at in a window."""

    @property
    def kind(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def references(self) -> tuple[str, ...]: ...


def scene_metrics(windows: Sequence[Captioned], metrics: MetricChoices | None, origin: str) -> dict[str, Any]:
    """Metrics of the scenes' captions, as an entry of the scores; no entry without choices or scenes.

    Args:
        windows: of all kinds.
        metrics: choices; None leaves them out.
        origin: of the references, in words.
    """
    scenes = [window for window in windows if window.kind == "scene"]
    if not metrics or not scenes:
        return {}
    captions, references = [window.caption for window in scenes], [window.references for window in scenes]
    table = caption_metrics(captions, references, metrics.embedder, metrics.spice)
    return {"caption_metrics": {"references_from": origin, **table}}


def evaluate_corpus(
    captioner: CaptioningModel,
    manifest: Path,
    audio: Path,
    kind: CorpusFormat,
    seed: int,
    metrics: MetricChoices,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Any], CaptionedCorpus]:
    """Scores of a bundle against a corpus's reference captions, and the captioned corpus.

    Raises:
        EdgeAacError: see :mod:`quantize.evaluation.corpus` and :mod:`quantize.evaluation.caption_metrics`.
    """
    corpus = caption_corpus(captioner, read_manifest(kind.value, manifest, audio), seed, progress)
    command = f"edge-aac evaluate --manifest {manifest.name} --format {kind.value} --seed {seed}"
    return {**run_facts(captioner, command, seed), **corpus_tables(corpus, manifest, metrics)}, corpus


def corpus_tables(corpus: CaptionedCorpus, manifest: Path, metrics: MetricChoices) -> dict[str, Any]:
    """Facts of a captioned corpus and the metrics of its captions, as entries of the scores.

    Args:
        corpus: captions and their references.
        manifest: table that the references are from.
        metrics: choices of metrics.

    Raises:
        EdgeAacError: see :mod:`quantize.evaluation.caption_metrics`.
    """
    table = caption_metrics(
        [recording.best.text for recording in corpus.recordings],
        [recording.references for recording in corpus.recordings],
        metrics.embedder,
        metrics.spice,
    )
    facts = {
        "manifest": manifest.name,
        "manifest_sha256": file_sha256(manifest),
        "recordings": len(corpus.recordings),
        "windows": sum(recording.windows for recording in corpus.recordings),
        "caption_of_a_recording": "that of its 10 s window with the highest hybrid score",
        "skipped": corpus.skipped,
    }
    return {"corpus": facts, "caption_metrics": table}


def check_output(output: Path, plots: bool = True) -> None:
    """Before anything is measured: the folder can be written, and what draws the plots is there.

    Raises:
        InputMissingError: ``output`` cannot be a folder.
        DeviceError: there are ``plots``, and matplotlib is not installed.
    """
    from importlib.util import find_spec

    if plots and find_spec("matplotlib") is None:
        raise DeviceError(f"the report needs the package 'matplotlib', which is not installed: {INSTALL}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputMissingError(f"{output} cannot be a folder ({error.strerror}): correct --output") from error


def write_events(output: Path, scores: dict[str, Any], captioned: Sequence[CaptionedWindow]) -> None:
    """``scores.json``, ``captions.csv`` (every window) and ``report.html``."""
    from quantize.evaluation.report import events_report

    heads = ("kind", "source", "relation", "truth", "caption", "names", "right", *SCORE_HEADS, "familiarity")
    rows = [
        (
            w.kind, w.source, w.relation, " ".join(w.truth), w.caption, " ".join(w.named), int(w.right),
            *score_cells(w.hybrid, w.log_likelihood, w.similarity, w.familiarity),
        )
        for w in captioned
    ]  # fmt: skip
    write_results(output, scores, heads, rows, lambda: events_report(scores, captioned))


def write_corpus(output: Path, scores: dict[str, Any], corpus: CaptionedCorpus) -> None:
    """``scores.json``, ``captions.csv`` (every recording) and ``report.html``."""
    from quantize.evaluation.report import corpus_report

    heads = ("file", "windows", "caption", *SCORE_HEADS)
    rows = [
        (r.name, r.windows, r.best.text, *score_cells(r.best.hybrid, r.best.log_likelihood, r.best.similarity))
        for r in corpus.recordings
    ]
    write_results(output, scores, heads, rows, lambda: corpus_report(scores, corpus))


SCORE_HEADS = ("hybrid", "log_likelihood", "similarity")


def score_cells(*scores: float | None) -> list[str]:
    """Cells of ``captions.csv``; empty where a score was not computed."""
    return ["" if score is None else f"{score:.5f}" for score in scores]


def write_results(
    output: Path,
    scores: dict[str, Any],
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    page: Callable[[], str],
    table_file: str = CAPTIONS_FILE,
) -> None:
    """Write scores, captions (``heads``, ``rows``) and the page; what took long to measure before anything is drawn."""
    (output / SCORES_FILE).write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    with (output / table_file).open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(heads)
        table.writerows(rows)
    (output / REPORT_FILE).write_text(page(), encoding="utf-8")


def run_facts(captioner: CaptioningModel, command: str, seed: int) -> dict[str, Any]:
    """What ``scores.json`` begins with: the command with the flags that the bundle was opened with, the bundle."""
    manifest = captioner.bundles[0].manifest_of(Seq2SeqManifest)
    rules = captioner.rules
    ensemble = captioner if isinstance(captioner, Ensemble) else None
    if rules.candidates != manifest.decoding.candidates:
        command += f" --candidates {rules.candidates}"
    if ensemble is not None:
        command += f" --weights {','.join(f'{share:.4g}' for share in ensemble.shares)}"
    command += _thresholds(captioner.members if isinstance(captioner, Ensemble) else [captioner])
    return {
        "schema": SCHEMA,
        "measured_by": command,
        **({"bundle": _bundle(captioner.bundles[0])} if ensemble is None else _members(ensemble)),
        "precision": captioner.identity.precision,
        "method": rules.method,
        "candidates": rules.candidates,
        "seed": seed,
    }


class Identified(Protocol):
    """A model that says which it is."""

    @property
    def identity(self) -> records.Model: ...


def model_facts(model: Identified, bundle: Bundle, command: str, seed: int) -> dict[str, Any]:
    """:func:`run_facts` of a model of any kind; of ``bundle`` where it is no captioner."""
    if isinstance(model, (Captioner, Ensemble)):
        return run_facts(model, command, seed)
    return {
        "schema": SCHEMA,
        "measured_by": command,
        "bundle": _bundle(bundle),
        "precision": model.identity.precision,
        "seed": seed,
    }


def _thresholds(members: Sequence[Captioner]) -> str:
    """The flags of thresholds that are not the bundles' own."""
    familiarity = confidence = ""
    for member in members:
        own = member.bundle.manifest_of(Seq2SeqManifest)
        if member.familiarity and member.familiarity != own.familiarity:
            familiarity = f" --min-familiarity {member.familiarity.threshold:g}"
        if member.sureness and member.sureness.rule != own.sureness:
            confidence = f" --min-confidence {member.sureness.rule.threshold:g}"
    return familiarity + confidence


def _bundle(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "manifest_sha256": file_sha256(bundle.folder / MANIFEST),
        "parameters": manifest.parameters,
        "graph_bytes": sum(bundle.size(forms[0]) for forms in manifest.graphs.values()),
    }


def _members(ensemble: Ensemble) -> dict[str, Any]:
    """What all bundles of an ensemble are together, and each with its share."""
    members = [_bundle(bundle) for bundle in ensemble.bundles]
    parameters: Counter[str] = Counter()
    for member in members:
        parameters.update(member["parameters"])
    together = {
        "name": ensemble.identity.bundle,
        "version": ensemble.identity.version,
        "parameters": dict(parameters),
        "graph_bytes": sum(member["graph_bytes"] for member in members),
    }
    shared = [{**member, "share": share} for member, share in zip(members, ensemble.shares, strict=True)]
    return {"bundle": together, "ensemble": shared}
