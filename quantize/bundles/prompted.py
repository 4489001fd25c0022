"""Pengi and clapcap in their published layouts → a bundle of the kind "prompted"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import SCHEMA, WINDOW_S
from edge_aac.bundle.store import read_bundle
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.prompted import Prompted
from edge_aac.models.prompted_manifest import CAPTION, PROMPT_ENCODER, PROMPTED, QUESTION
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.bundle_writer import export_graph, write_manifest
from quantize.bundles.convert import Provenance, provenance_beside, write_card
from quantize.bundles.int8_forms import add_int8
from quantize.bundles.onnx_writer import keep_no_freed_tensors, release_memory
from quantize.bundles.staging import staged_bundle
from quantize.bundles.verify import MAX_ABS_DIFFERENCE
from quantize.device.check_clips import at_rate, first_clip
from quantize.files import CARD
from quantize.models.audio_language.beam_search import SearchRules
from quantize.models.audio_language.clips import ClipLength
from quantize.models.audio_language.gpt2_text import END, PADDING_ID
from quantize.models.audio_language.mapper import Mapper
from quantize.models.audio_language.prefix_writer import Generated
from quantize.models.audio_language.projection import AudioTower
from quantize.models.audio_language.prompted_graphs import prefix_decoder_spec, sound_prefix_spec
from quantize.models.clap.clapcap import Clapcap
from quantize.models.clap.loading import CLAPCAP_FILE, load_clapcap_weights
from quantize.models.graph_modules import GraphSpec
from quantize.models.pengi.loading import PENGI_FILES, load_pengi_weights
from quantize.models.pengi.pengi import Pengi
from quantize.models.pengi.prompt_graphs import PromptPrefixGraph, TokenPrefixGraph, prompt_prefix_spec
from quantize.progress import Log

Published = Pengi | Clapcap

# Of Pengi's repository the first three; the others as its paper is remembered, which is why they stand in the manifest.
PROMPTS: Final = {
    CAPTION: "generate audio caption",
    "metadata": "generate metadata",
    "event": "this is a sound of",
    "scene": "this acoustic scene is",
    "emotion": "this emotion is",
    "sentiment": "this sentiment is",
    "music": "this music note is",
    QUESTION: "question: {}",
}
_CHECK_PROMPTS = (PROMPTS[CAPTION], "question: is a dog barking, or is it the rain that falls on the roof of a house?")
_CHECK_STARTS_S = (0.0, 1.5)
_AS_LIKELY = 1e-2
"""Difference of mean log-probabilities of two answers, either of which may be the best."""


@dataclass(frozen=True)
class PublishedSource:
    """Weights of Pengi or clapcap, and how they are loaded; each time anew, so that one copy at a time is in memory."""

    path: Path
    load: Callable[[Path], Published]

    def __call__(self) -> Published:
        return self.load(self.path)


_SYSTEMS: Sequence[tuple[tuple[str, ...], Callable[[Path], Published]]] = (
    (PENGI_FILES, load_pengi_weights),
    ((CLAPCAP_FILE,), load_clapcap_weights),
)


def prompted_source(path: Path) -> PublishedSource | None:
    """The system whose published file a path is or holds; None where it is neither Pengi's nor clapcap's."""
    for names, load in _SYSTEMS:
        inside = (place / name for place in (path, path / "configs") for name in names)
        if path.name in names or any(place.is_file() for place in inside):
            return PublishedSource(path, load)
    return None


def prompted_provenance(source: PublishedSource, name: str) -> Provenance:
    """What the folder itself says: the licence in its model card, where there is one."""
    file = source.path.resolve()
    folder = file if file.is_dir() else file.parent
    return provenance_beside(name, {f"weights: {file.name}": folder})


def convert_prompted(
    source: PublishedSource, output: Path, provenance: Provenance, log: Log, int8: bool = False
) -> Path:
    """Write a bundle that answers as the published system does.

    Each graph must give torch's numbers within 1e-3, and the bundle as a whole the same tokens and texts as torch for
    two clips and two prompts; see :func:`_check_answers`.

    Args:
        source: from :func:`prompted_source`.
        output: folder of the bundle.
        provenance: names, licences and sources, for the manifest and the card.
        log: called with a line for each graph.
        int8: whether faithful INT8 forms for processors are added; see :mod:`quantize.bundles.int8_forms`.

    Raises:
        InputMissingError, ConfigError, DataError: a part is missing, configured otherwise, damaged, or does not fit; or
            a graph, or an answer, differs from torch's. Nothing is written then.
    """
    keep_no_freed_tensors()
    system = source()
    clips = check_clips(system.clip_length)
    facts = _facts(system)
    with staged_bundle(output) as folder:
        tokenizers = _save_tokenizers(system, folder)
        del system
        specs: dict[str, Callable[[], GraphSpec]] = {"encoder": partial(_encoder, source, clips)}
        if "prompt_tokens" in tokenizers:
            specs[PROMPT_ENCODER] = partial(_prompt_encoder, source)
        specs["decoder"] = partial(_decoder, source, clips)
        graphs = {role: [export_graph(role, make, folder, log)] for role, make in specs.items()}
        manifest = {
            "schema": SCHEMA,
            "kind": PROMPTED,
            "name": provenance.name,
            "version": provenance.version,
            "license": provenance.license,
            "attributions": list(provenance.attributions),
            "sample_rate": SAMPLE_RATE,
            "window_s": WINDOW_S,
            **facts,
            **tokenizers,
            "graphs": graphs,
            "quality": {},
        }
        write_manifest(folder, manifest)
        write_card(folder / CARD, provenance, manifest, ("decoding", "prompts"))
        _check_answers(source, folder, clips, log)
        if int8:
            add_int8(folder, log)
    return output


def check_clips(length: ClipLength) -> Tensor:
    """Clips of a synthesised scene that differ, (2, samples)."""
    sound = synthesise_demo(length.samples / length.sample_rate + max(_CHECK_STARTS_S) + 1.0, 0)
    whole = at_rate(sound, length.sample_rate)
    starts = (int(start * length.sample_rate) for start in _CHECK_STARTS_S)
    return torch.from_numpy(np.stack([first_clip(whole[start:], length.samples) for start in starts]))


def _facts(system: Published) -> dict[str, Any]:
    """What a manifest states of a system."""
    gpt, rules, clip = system.writer.gpt.config, SearchRules(), system.clip_length
    takes_prompts = isinstance(system, Pengi)
    return {
        "clip": {"sample_rate": clip.sample_rate, "samples": clip.samples},
        "embedding_size": _tower_and_mapper(system)[0].projection.linear2.out_features,
        "vocabulary_size": gpt.vocab_size,
        "positions": gpt.n_positions,
        "decoding": {
            "beams": rules.beams,
            "max_length": min(rules.max_length, gpt.n_positions + 1 - _prefix_length(system)),
            "temperature": rules.temperature,
            "stop_token_id": system.writer.text.stop_token,
        },
        "capitalises": not takes_prompts,
        **({"prompts": PROMPTS, "prompt": PROMPTS[CAPTION]} if takes_prompts else {}),
    }


def _tower_and_mapper(system: Published) -> tuple[AudioTower, Mapper]:
    if isinstance(system, Pengi):
        return system.network.audio_encoder, system.network.caption_decoder.audio_project
    return system.network.clap, system.network.clap_project


def _prefix_length(system: Published) -> int:
    """Vectors of the whole prefix."""
    prompt = len(system.network.caption_decoder.text_project.prefix_const) if isinstance(system, Pengi) else 0
    return len(_tower_and_mapper(system)[1].prefix_const) + prompt


def _save_tokenizers(system: Published, folder: Path) -> dict[str, Any]:
    """Write the tokenizers; gives the entries of the manifest that vouch for them."""

    def saved(tokenizer: Tokenizer, name: str) -> dict[str, str]:
        tokenizer.save(str(folder / name))
        return {"file": name, "sha256": file_sha256(folder / name)}

    own = saved(system.writer.text.tokenizer, "tokenizer.json")
    if isinstance(system, Clapcap):
        return {"tokenizer": own}
    if system.prompts is None:
        tokens = {"tokenizer": own, "length": system.settings.enc_text_len, "end": END, "padding": PADDING_ID}
    else:
        file = saved(system.prompts.tokenizer, "prompt_tokenizer.json")
        tokens = {"tokenizer": file, "length": system.prompts.length, "padding": system.prompts.end}
    return {"tokenizer": own, "prompt_tokens": tokens}


def _encoder(source: PublishedSource, clips: Tensor) -> GraphSpec:
    system = source()
    return sound_prefix_spec(*_tower_and_mapper(system), system.settings.normalize_prefix, clips)


def _prompt_encoder(source: PublishedSource) -> GraphSpec:
    system = source()
    assert isinstance(system, Pengi), "clapcap takes no prompts"
    mapper, tower = system.network.caption_decoder.text_project, system.network.caption_encoder
    stages = system.prompt_stages(_CHECK_PROMPTS)
    ids = {"token_ids": stages["input_ids"]}
    if tower is None:
        return prompt_prefix_spec(TokenPrefixGraph(system.writer.gpt.transformer.wte, mapper), ids)
    return prompt_prefix_spec(PromptPrefixGraph(tower, mapper), {**ids, "attention_mask": stages["attention_mask"]})


def _decoder(source: PublishedSource, clips: Tensor) -> GraphSpec:
    system = source()
    return prefix_decoder_spec(system.writer.gpt, _prefixes(system, clips[:1])[0], SearchRules().beams)


def _prefixes(system: Published, clips: Tensor) -> list[Tensor]:
    """The prefixes of clips, (B, P, D), for each of the prompts that a system is checked with."""
    if isinstance(system, Clapcap):
        return [system.prefix(clips)]
    return [system.prefix(clips, prompt) for prompt in _CHECK_PROMPTS]


def _check_answers(source: PublishedSource, folder: Path, clips: Tensor, log: Log) -> None:
    """Compare the whole bundle with torch, for each clip and prompt.

    The same tokens and texts are wanted. Between texts that are equally likely roundings decide: another answer passes
    if it is as likely as torch's, and torch's as likely to the bundle as to torch.

    Raises:
        DataError: an answer differs otherwise.
    """
    system = source()
    bundle = read_bundle(folder, folder.name)
    model = Prompted(bundle, EngineOptions(ONNX_RUNTIME))
    own = model.manifest.decoding
    rules = SearchRules(own.beams, own.max_length, own.temperature)
    heard = [model.hear(clip) for clip in clips.numpy()]
    compared = same = 0
    for prompt in _CHECK_PROMPTS if isinstance(system, Pengi) else ("",):
        for clip, want in zip(heard, _written(system, clips, prompt, rules), strict=True):
            found = model.answer(clip, prompt)
            rows, scores = _rows(want), want.beams.scores.numpy()
            likelihoods = [model.follow(clip, prompt, ids).log_likelihood(ids) for ids in rows]
            numbers = float(np.abs(np.array(likelihoods) - scores).max())
            as_likely = abs(float(found.beams.scores[0] - scores[0]))
            equal = found.beams.rows() == rows and found.texts == want.texts
            if not numbers <= MAX_ABS_DIFFERENCE or not (equal or as_likely <= _AS_LIKELY):
                raise DataError(
                    f"the exported graphs answer {found.texts[0]!r} where torch answers {want.texts[0]!r}, and torch's "
                    f"answers are {numbers:.1e} more or less likely to them: nothing was written"
                )
            compared, same = compared + 1, same + equal
    del system
    release_memory()
    others = "" if same == compared else ", the others as likely"
    log(f"answers: {same} of {compared} the same as torch's, tokens and texts{others}")


def _written(system: Published, clips: Tensor, prompt: str, rules: SearchRules) -> Sequence[Generated]:
    if isinstance(system, Pengi):
        return system.generate(clips, prompt, None, rules.beams, rules.max_length, rules.temperature)
    return system.generate(clips, rules.beams, rules.max_length, rules.temperature)


def _rows(found: Generated) -> list[list[int]]:
    beams = found.beams
    rows = zip(beams.token_ids.tolist(), beams.lengths.tolist(), strict=True)
    return [ids[:length] for ids, length in rows]
