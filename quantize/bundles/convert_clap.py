"""Published weights of CLAP → a bundle of the kind "dual_encoder" that hears clips."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_aac.audio.log_mel import LogMel
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import SCHEMA
from edge_aac.errors import DataError
from edge_aac.models.dual_encoder_manifest import DUAL_ENCODER
from quantize.bundles.bundle_writer import export_graph, write_manifest
from quantize.bundles.card import graph_rows
from quantize.bundles.convert import Provenance, provenance_beside
from quantize.bundles.int8_forms import add_int8
from quantize.bundles.onnx_writer import keep_no_freed_tensors, release_memory
from quantize.bundles.staging import staged_bundle
from quantize.device.check_clips import Tokens, check_clips, check_tokens
from quantize.files import CARD
from quantize.models.clap.contract import SoundTextModel
from quantize.models.clap.graphs import audio_spec, bundle_facts, text_module
from quantize.models.clap.loading import CLAP_2022_FILE, CLAP_FILE, load_any_clap
from quantize.models.graph_modules import GraphSpec, text_embedder_spec
from quantize.models.weight_files import read_json
from quantize.progress import Log

FILTERS, TOKENIZER = "mel_filters.npy", "text_tokenizer.json"
MAX_LOG_MEL_DIFFERENCE_DB = 1e-2


def looks_like_clap(path: Path) -> bool:
    """Whether a path is one that :func:`convert_clap` is for: Microsoft's file, or a folder with it or of LAION's."""
    if path.is_file():
        return path.suffix in {".pth", ".pt"}
    if any((path / place / name).is_file() for name in (CLAP_FILE, CLAP_2022_FILE) for place in ("", "configs")):
        return True
    config = path / "config.json"
    return config.is_file() and read_json(config).get("model_type") == "clap"


def provenance_of_clap(path: Path, name: str) -> Provenance:
    """What lies beside the weights says of them: the licence in the model card, where there is one."""
    return provenance_beside(name, {f"CLAP: {path.resolve().name}": path if path.is_dir() else path.parent})


def convert_clap(path: Path, output: Path, provenance: Provenance, log: Log, int8: bool = False) -> Path:
    """Write a bundle of Microsoft's CLAP of 2023 or 2022, or of LAION's in the layout of transformers.

    One tower is exported at a time, mapped from its file. What the runtime computes by itself, the log-mel and the
    tokens, is compared with torch's as the graphs are.

    Args:
        path: as for ``quantize.load_clap``.
        output: folder of the bundle.
        provenance: names, licences and sources, for the manifest and the card.
        log: called with a line for each graph.
        int8: whether each graph also gets an INT8 form for processors, which is then preferred; one that is not
            faithful is left out.

    Raises:
        InputMissingError, ConfigError, DataError: a part is missing, configured otherwise, damaged, or of another
            system; or what the bundle computes differs from torch.
    """
    keep_no_freed_tensors()
    model = load_any_clap(path)
    clip, facts = model.clip_length, bundle_facts(model)
    clips = torch.from_numpy(check_clips(clip.samples))
    mel = LogMel(facts.fft, facts.hop, facts.filters)
    _check_log_mel(model, mel, clips, log)
    tokens = check_tokens(facts.tokenizer, facts.suffix, facts.max_tokens)
    del model
    release_memory()
    with staged_bundle(output) as folder:
        graphs = {
            "encoder": [export_graph("encoder", partial(_encoder, path, clips), folder, log)],
            "text_embedder": [export_graph("text_embedder", partial(_text_embedder, path, tokens), folder, log)],
        }
        np.save(folder / FILTERS, facts.filters, allow_pickle=False)
        facts.tokenizer.save(str(folder / TOKENIZER))
        manifest = {
            "schema": SCHEMA,
            "kind": DUAL_ENCODER,
            "name": provenance.name,
            "version": provenance.version,
            "license": provenance.license,
            "attributions": list(provenance.attributions),
            "language": "en",
            "sample_rate": clip.sample_rate,
            "window_s": clip.samples / clip.sample_rate,
            "labels": [],
            "prompt": facts.prompt,
            "embedding_size": facts.embedding_size,
            "text_tokenizer": _listed(folder / TOKENIZER),
            "clip": {
                "samples": clip.samples,
                "mixes": clip.mixes,
                "pads": clip.pads,
                "mel": {
                    "fft": facts.fft,
                    "hop": facts.hop,
                    "bins": facts.filters.shape[1],
                    "filters": _listed(folder / FILTERS),
                },
            },
            "text": {"suffix": facts.suffix, "max_tokens": facts.max_tokens},
            "logit_scale": facts.logit_scale,
            "parameters": facts.parameters,
            "graphs": graphs,
            "quality": {},
        }
        write_manifest(folder, manifest)
        _write_card(folder / CARD, provenance, add_int8(folder, log) if int8 else manifest)
    return output


def _encoder(path: Path, clips: torch.Tensor) -> GraphSpec:
    return audio_spec(load_any_clap(path), clips)


def _text_embedder(path: Path, tokens: tuple[Tokens, Tokens]) -> GraphSpec:
    return text_embedder_spec(text_module(load_any_clap(path)), *map(torch.from_numpy, tokens))


def _check_log_mel(model: SoundTextModel, mel: LogMel, clips: torch.Tensor, log: Log) -> None:
    """Refuse weights whose log-mel is another than the runtime computes.

    Raises:
        DataError: it is.
    """
    ours = np.stack([mel.of(clip) for clip in clips.numpy()])
    theirs = model.log_mel(clips)[:, 0].numpy()
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf
    log(f"log-mel: max abs difference from torch {difference:.2e} dB")
    if not difference <= MAX_LOG_MEL_DIFFERENCE_DB:
        raise DataError(
            f"the weights' log-mel differs by {difference:.2e} dB from that of a Hann window and their filters, more "
            f"than {MAX_LOG_MEL_DIFFERENCE_DB:g}: their Fourier transform is another; nothing was written"
        )


def _listed(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": file_sha256(path)}


def _write_card(path: Path, provenance: Provenance, manifest: dict[str, Any]) -> None:
    rows = graph_rows(manifest)
    sources = "\n".join(f"- {line}" for line in provenance.attributions)
    path.write_text(
        f"""# {provenance.name}, version {provenance.version}

CLAP, converted by `edge-aac` from weights that others published: sounds and texts in one space. It hears clips of
{manifest["window_s"]:g} s at {manifest["sample_rate"]} Hz and names sounds with any words:
`edge-aac label FILE --labels LABEL… --bundle {provenance.name}`. Licence: {provenance.license}.

{sources}

Nothing was trained or changed; how well it names sounds was not measured here. Each exported graph was compared with
torch, each INT8 form with the exported one:

| role | file | precision | max abs difference |
|---|---|---|---|
{rows}
""",
        encoding="utf-8",
    )
