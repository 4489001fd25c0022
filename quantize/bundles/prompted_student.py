"""A trained prompted student → a bundle of the kind "prompted" that `edge-aac ask` opens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import SCHEMA, WINDOW_S
from edge_aac.bundle.store import read_bundle
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.prompted import Prompted
from edge_aac.models.prompted_manifest import CAPTION, PROMPT_ENCODER, PROMPTED, QUESTION, SearchRules
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.bundle_writer import export_graph, write_manifest
from quantize.bundles.card import graph_rows, write_attributions
from quantize.bundles.check_sound import check_sound
from quantize.bundles.onnx_writer import to_halves
from quantize.bundles.staging import staged_bundle
from quantize.bundles.training_data import training_data_of
from quantize.data.everyday.questions import EVENTS, PRESENCE, SOUNDS, WHICH
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.files import ATTRIBUTIONS, CARD
from quantize.models.audio_language.prompted_graphs import one_at_a_time, prefix_decoder_spec
from quantize.models.graph_modules import GraphSpec, fold_batch_norm, fold_weight_norm
from quantize.models.prompted_student import PromptedConfig, PromptedEncoderGraph, PromptedWriter, PromptTableGraph
from quantize.progress import Log
from quantize.training.asked_scenes import CAPTION_PROMPT, CHECK_PROMPTS, PromptTokenizer
from quantize.training.prompted import Encoder, load_prompted_run
from quantize.training.prompted_recipe import PromptedRecipe

PROMPTS = {
    CAPTION: CAPTION_PROMPT,
    "events": EVENTS,
    "count": SOUNDS,
    "presence": PRESENCE,
    "which": WHICH,
    QUESTION: "{}",
}
"""Task → prompt. Questions are learnt as they are asked, without words before them."""

_BEAMS = 3


def export_prompted(  # noqa: PLR0913, PLR0917 - what a bundle is made of
    run: Path, teacher: Path, data: Path, output: Path, quality: Mapping[str, Any], log: Log
) -> Path:
    """Write a bundle of a run's averaged weights and of the captioner's encoder that it was trained over.

    Args:
        run: folder of the prompted student's run.
        teacher: folder of the captioner's.
        data: store of the sound that the captioner was trained on, for its attributions.
        output: folder of the bundle.
        quality: measured scores, for the manifest and the card.
        log: called with a line for each graph.

    Raises:
        InputMissingError: a run or the store is missing, or a run is not finished.
        DataError: the run was trained over another captioner; a graph differs from torch by more than 1e-3, or an
            answer of the bundle from torch's; or something else than a bundle stands in the output's place.
    """
    writer, tokenizer, recipe = load_prompted_run(run)
    encoder = Encoder.load(teacher)
    _check_teacher(run, teacher)
    recordings = training_data_of(encoder.recipe, data).recordings
    captioner = encoder.captioner
    fold_weight_norm(captioner)
    fold_batch_norm(captioner)
    halves = to_halves(nn.ModuleList([captioner, writer]))
    sound = torch.from_numpy(check_sound())
    hearing = PromptedEncoderGraph(captioner, writer.sound).eval()
    tokens = PromptTokenizer(tokenizer, recipe.writer)
    prompts = torch.tensor([tokens.prompt(prompt) for prompt in CHECK_PROMPTS])
    with torch.no_grad():
        memory = captioner.memory(captioner.beats_hidden(hearing.filter_bank(sound))[0])[0]
    specs = {
        "encoder": partial(one_at_a_time, hearing, {"waveform": sound}, ("audio_embedding", "prefix")),
        PROMPT_ENCODER: partial(_prompt_encoder, writer, prompts),
        "decoder": partial(prefix_decoder_spec, writer.gpt, writer.prefix(memory, prompts).detach(), _BEAMS),
    }
    with staged_bundle(output) as folder:
        graphs = {}
        for role, make in specs.items():
            spec = make()
            graphs[role] = [export_graph(role, partial(_with_halves, spec, halves), folder, log)]
        manifest = _manifest(recipe, encoder, writer, tokenizer, folder) | {"graphs": graphs, "quality": dict(quality)}
        write_manifest(folder, manifest)
        write_attributions(folder / ATTRIBUTIONS, recordings)
        _write_card(folder / CARD, manifest, recipe.writer, encoder)
        _check_answers(folder, writer, memory, prompts, sound)
    return output


def _check_teacher(run: Path, teacher: Path) -> None:
    table = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if table.get("teacher") != file_sha256(teacher / "last.pt"):
        raise DataError(f"{run} was trained over another captioner than {teacher}: give that one with --teacher")


def _prompt_encoder(writer: PromptedWriter, prompts: Tensor) -> GraphSpec:
    return one_at_a_time(PromptTableGraph(writer.gpt.transformer.wte).eval(), {"token_ids": prompts}, ("prefix",))


def _with_halves(spec: GraphSpec, halves: bool) -> GraphSpec:
    return GraphSpec(spec.module, spec.inputs, spec.outputs, spec.dynamic_axes, spec.checks, halves)


def _manifest(
    recipe: PromptedRecipe, encoder: Encoder, writer: PromptedWriter, tokenizer: Tokenizer, folder: Path
) -> dict[str, Any]:
    tokenizer.save(str(folder / "tokenizer.json"))
    own = {"file": "tokenizer.json", "sha256": file_sha256(folder / "tokenizer.json")}
    heard = encoder.recipe
    return {
        "schema": SCHEMA,
        "kind": PROMPTED,
        "name": recipe.name,
        "version": recipe.version,
        "license": heard.license,
        "attributions": [heard.source, f"every recording with its author and licence: {ATTRIBUTIONS}"],
        "sample_rate": SAMPLE_RATE,
        "window_s": WINDOW_S,
        "clip": {"sample_rate": SAMPLE_RATE, "samples": WINDOW_SAMPLES, "repeats": False, "mixes": True},
        "embedding_size": heard.model.embedding_dim,
        "vocabulary_size": recipe.writer.vocab_size,
        "positions": writer.positions,
        "decoding": {"beams": _BEAMS, "max_length": recipe.writer.answer_tokens, "stop_token_id": EOS_ID},
        "plain_answers": True,
        "tokenizer": own,
        "prompt_tokens": {"tokenizer": own, "length": recipe.writer.prompt_tokens, "padding": PAD_ID},
        "prompts": PROMPTS,
        "prompt": PROMPTS[CAPTION],
        "parameters": {
            "encoder": sum(part.numel() for part in encoder.captioner.parameters())
            - sum(part.numel() for part in encoder.captioner.decoder.parameters()),
            "decoder": sum(part.numel() for part in writer.parameters()),
        },
    }


def _write_card(path: Path, manifest: Mapping[str, Any], config: PromptedConfig, encoder: Encoder) -> None:
    rows = graph_rows(manifest)
    tasks = "\n".join(f"| `{name}` | {prompt} |" for name, prompt in manifest["prompts"].items())
    measured = json.dumps(manifest["quality"], indent=1) if manifest["quality"] else "Nothing was measured yet."
    path.write_text(
        f"""# {manifest["name"]}, version {manifest["version"]}

Answers questions about everyday sounds: the encoder of the captioner `{encoder.recipe.name}`, and over it a language
model of {config.layers} layers of {config.dim} that learnt questions made of what is heard in scenes. It hears 10 s at
a time, mixed to one channel. Licence: {manifest["license"]}; every recording with its author stands in {ATTRIBUTIONS}.

It knows the sounds of the everyday lexicon and the questions below, in their words. Of anything else it says something,
as certainly as of what it knows. Do not use it where a wrong answer can harm somebody.

| task | prompt |
|---|---|
{tasks}

| role | file | precision | max abs difference from torch |
|---|---|---|---|
{rows}

## Measured
{measured}
""",
        encoding="utf-8",
    )


def _check_answers(folder: Path, writer: PromptedWriter, memory: Tensor, prompts: Tensor, sound: Tensor) -> None:
    """Compare the bundle's likeliest tokens with torch's, for two windows and two prompts.

    Raises:
        DataError: one differs.
    """
    model = Prompted(read_bundle(folder, folder.name), EngineOptions(ONNX_RUNTIME, threads=1))
    rules = SearchRules(beams=1, max_length=model.manifest.decoding.max_length, stop_token_id=EOS_ID)
    for window, waveform in zip(memory, sound.numpy(), strict=True):
        heard = model.hear(waveform)
        for ids, prompt in zip(prompts, CHECK_PROMPTS, strict=True):
            wanted = _until_the_end(writer.greedy(window[None], ids[None])[0].tolist())
            found = model.answer(heard, prompt, rules=rules)
            # Of two tokens that are equally likely roundings decide.
            if found.beams.rows()[0] != wanted and not _as_likely(model, heard, prompt, found, wanted):
                raise DataError(f"the exported graphs answer {found.texts[0]!r} to {prompt!r}, torch something else")


def _as_likely(model: Prompted, heard: Any, prompt: str, found: Any, wanted: Sequence[int]) -> bool:
    likelihood = model.follow(heard, prompt, wanted).log_likelihood(wanted)
    return bool(likelihood >= float(found.beams.scores[0]) - _AS_LIKELY)


_AS_LIKELY = 1e-2
"""Difference of mean log-likelihoods of two answers, either of which may be the best."""


def _until_the_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS_ID) + 1] if EOS_ID in ids else ids
