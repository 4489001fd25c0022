"""Answers to prompts about a sound: both become a prefix of vectors, from which a language model goes on."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions, LoadedEngine
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.contract import (
    CancelledError,
    Description,
    Latency,
    PromptAnswer,
    ScoredCaption,
    Undecoded,
    Wanted,
    identity_of,
    not_cancelled,
)
from edge_aac.models.graph_contracts import GraphChecks
from edge_aac.models.one_by_one import OneByOne
from edge_aac.models.prefix_search import Beams, Followed, PrefixDecoder, beam_search
from edge_aac.models.prompt_texts import PromptText, answer_text
from edge_aac.models.prompted_choices import chosen_manifest, question_of
from edge_aac.models.prompted_graphs import PromptedTrial, decoder_contract, encoder_contract, prompt_encoder_contract
from edge_aac.models.prompted_manifest import PROMPT_ENCODER, PromptedManifest, SearchRules
from edge_aac.models.tokens import load_tokenizer, max_token_id, plain_text
from edge_aac.models.window_clips import newest_clip
from edge_aac.models.word_vectors import word_vectors

Array = npt.NDArray[np.float32]

log = logging.getLogger(__name__)

REMEMBERED_PROMPTS = 64
"""Prompts whose prefixes are kept: the same few are asked again and again."""


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of a clip.

    Attributes:
        audio_embedding: (E,).
        prefix: (P, D).
        encode_ms: milliseconds that it took.
    """

    audio_embedding: Array
    prefix: Array
    encode_ms: float


@dataclass(frozen=True)
class Answer:
    """What was answered about a clip.

    Attributes:
        prompt: the prompt; "" of a bundle that takes none.
        texts: answers as published, best first; one that stopped ends in a space.
        beams: their tokens and scores.
        cut: whether the prompt is longer than the bundle reads.
        latency_ms: milliseconds that the work took.
    """

    prompt: str
    texts: tuple[str, ...]
    beams: Beams
    cut: bool
    latency_ms: Latency

    @property
    def likelihood(self) -> float:
        """Log-likelihood of the best answer, by which answers about several clips are compared."""
        return float(self.beams.scores[0])


@dataclass(frozen=True)
class _Prompt:
    """A prompt's part of the prefix, (Q, D), and whether the prompt was cut."""

    prefix: Array
    cut: bool


class Prompted(OneByOne):
    """Answers prompts about sounds, and describes windows by the bundle's own prompt.

    Of a window it hears the newest clip, brought from 16 kHz to the clip's rate. Each is worked on by itself, so that
    its description does not depend on the others of its batch in any form of the graphs.

    Attributes:
        manifest: what the bundle says, with the user's choices.

    Args:
        bundle: bundle of the kind prompted.
        options: backend and threads.
        choices: ``prompt`` (of windows), ``max_length`` and ``beams`` other than the bundle's; ``ask``, questions
            about each window, or names of tasks that take no words.

    Raises:
        ConfigError: a choice is unusable.
        InputMissingError, DataError, DeviceError: the bundle cannot be run here.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any] | None = None) -> None:
        self.manifest = manifest = chosen_manifest(bundle.manifest_of(PromptedManifest), choices or {})
        self._questions = [question_of(manifest, words) for words in (choices or {}).get("ask", ())]
        checks = GraphChecks(bundle, embedding_size=manifest.embedding_size, vocabulary_size=manifest.vocabulary_size)
        self._encoder, self._graph = load_engine(bundle, "encoder", options)
        checks.check("encoder", self._graph, self._encoder, encoder_contract(manifest.clip.samples))
        decoder, graph = load_engine(bundle, "decoder", options)
        checks.check("decoder", graph, decoder, decoder_contract(decoder))
        self._decoder = PrefixDecoder(decoder)
        self._prompt_encoder: LoadedEngine | None = None
        if manifest.prompt_tokens is not None:
            self._prompt_encoder, graph = load_engine(bundle, PROMPT_ENCODER, options)
            contract = prompt_encoder_contract(manifest.prompt_tokens.length)
            checks.check(PROMPT_ENCODER, graph, self._prompt_encoder, contract)
            tokenizer = load_tokenizer(bundle.checked(manifest.prompt_tokens.tokenizer))
            self._prompt_text = PromptText(tokenizer, manifest.prompt_tokens)
        self._tokenizer = load_tokenizer(bundle.checked(manifest.tokenizer))
        if (largest := max_token_id(self._tokenizer)) >= manifest.vocabulary_size:
            raise DataError(
                f"the tokenizer {bundle.path(manifest.tokenizer)} has the token {largest}, its decoder "
                f"{manifest.vocabulary_size} tokens: convert the bundle again"
            )
        self._prompts: OrderedDict[str, _Prompt] = OrderedDict()
        self._try_out(bundle)

    @property
    def hears_sound(self) -> bool:
        """See :class:`edge_aac.models.contract.SoundModel`."""
        return True

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return identity_of(self.manifest, self._graph)

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.manifest.language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.manifest.same_similarity

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.contract.WindowModel`.

        By the prompt encoder where it embeds texts; else by their words, see :mod:`edge_aac.models.word_vectors`.
        """
        if self._prompt_encoder is None or "embedding" not in self._prompt_encoder.description.outputs:
            return word_vectors(texts)
        rows = np.concatenate([self._encoded_prompt(text)[0]["embedding"] for text in texts])
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

    def hear(self, clip: Array) -> Heard:
        """Encode a clip, once for all prompts.

        Args:
            clip: (samples,) float32, as the manifest's ``clip`` says.

        Raises:
            DataError: the encoder gives no numbers for it.
        """
        started = time.perf_counter()
        found = self._encoder.run({"waveform": clip[np.newaxis]})
        embedding, prefix = found["audio_embedding"][0], found["prefix"][0]
        if not (np.isfinite(embedding).all() and np.isfinite(prefix).all()):
            raise DataError("the encoder gave no usable numbers: check the sound's level, or convert the bundle again")
        return Heard(embedding, prefix, 1e3 * (time.perf_counter() - started))

    def answer(
        self,
        heard: Heard,
        prompt: str,
        additional_text: str = "",
        rules: SearchRules | None = None,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> Answer:
        """Answer a prompt about a clip.

        Args:
            heard: from :meth:`hear`.
            prompt: as :meth:`PromptedManifest.prompt_of` gives it.
            additional_text: beginning of the answer, that it goes on from.
            rules: rules of the search; None for the bundle's.
            cancelled: function that is called before every step; True ends the work.

        Raises:
            CancelledError: ``cancelled`` returned True.
            ConfigError: prefix and answer are longer than the decoder has positions.
            DataError: the decoder gives no numbers for it.
        """
        started = time.perf_counter()
        rules = rules or self.manifest.decoding
        encoded = self._prompt_of(prompt)
        prefix = np.concatenate([heard.prefix, encoded.prefix])
        # Behind a prompt the text goes on as it is: it gets no end.
        more = self._tokenizer.encode(additional_text, add_special_tokens=False).ids if additional_text else []
        self._positions(len(prefix) + len(more), rules)
        beams = beam_search(self._decoder, prefix, rules, more, cancelled)
        texts = [answer_text(self._tokenizer, row, self.manifest.plain_answers) for row in beams.rows()]
        if self.manifest.capitalises:
            texts[0] = texts[0].capitalize()
        latency = Latency(heard.encode_ms, 1e3 * (time.perf_counter() - started), 0.0)
        return Answer(prompt, tuple(texts), beams, encoded.cut, latency)

    def follow(self, heard: Heard, prompt: str, token_ids: Sequence[int]) -> Followed:
        """What the decoder makes of an answer that is given, token by token: forms of its graphs are compared so.

        Args:
            heard, prompt: as for :meth:`answer`.
            token_ids: the answer's, at least one.
        """
        prefix = np.concatenate([heard.prefix, self._prompt_of(prompt).prefix])
        self._decoder.open(1, len(prefix) + len(token_ids) - 1)
        logits = [self._decoder.read(prefix)]
        logits += [self._decoder.step(np.array([token])) for token in token_ids[:-1]]
        return Followed(prefix, np.concatenate(logits))

    def _described(
        self, window: Window, number: int, wanted: Wanted, cancelled: Callable[[], bool]
    ) -> Description | DataError | Undecoded:
        if cancelled():
            raise CancelledError
        heard: Heard | DataError
        try:
            heard = self.hear(newest_clip(window, self.manifest.clip))
        except DataError as error:
            heard = error
        nothing = np.full(self.manifest.embedding_size, np.nan, np.float32)
        embedding = nothing if isinstance(heard, DataError) else heard.audio_embedding
        keep = wanted(number, embedding)
        if isinstance(heard, DataError):
            return heard
        if not keep:
            return Undecoded(embedding, Latency(heard.encode_ms, 0.0, 0.0))
        try:
            answer = self.answer(heard, self.manifest.prompt, cancelled=cancelled)
        except DataError as error:
            return error
        captions: dict[str, ScoredCaption] = {}
        for text, score in zip(map(plain_text, answer.texts), answer.beams.scores.tolist(), strict=True):
            captions.setdefault(text, ScoredCaption(text, score, score, None))
        ranked = sorted(captions.values(), key=lambda caption: not caption.text)
        ask = partial(self._asked, heard, cancelled) if self._questions else None
        return Description(ranked, embedding, len(answer.texts), answer.latency_ms, ask=ask)

    def answers(self, window: Window, cancelled: Callable[[], bool] = not_cancelled) -> list[PromptAnswer]:
        """Answers to the questions that it was opened with about a window, which is encoded once for all of them.

        Args:
            window: with its sound.
            cancelled: function that is called before every step; True ends the work.

        Raises:
            CancelledError: ``cancelled`` returned True.
            DataError: a graph gives no numbers for it.
        """
        return self._asked(self.hear(newest_clip(window, self.manifest.clip)), cancelled)

    def _asked(self, heard: Heard, cancelled: Callable[[], bool]) -> list[PromptAnswer]:
        """Answers to the questions about a clip, which is encoded once for all of them."""
        found = []
        for prompt, task in self._questions:
            answer = self.answer(heard, prompt, cancelled=cancelled)
            scores = tuple(answer.beams.scores.tolist())
            found.append(PromptAnswer(prompt, task, answer.texts, scores, answer.latency_ms, self.identity))
        return found

    def _prompt_of(self, prompt: str) -> _Prompt:
        """The prefix of a prompt, from memory where it was asked before."""
        if self._prompt_encoder is None:
            return _Prompt(np.zeros((0, self._decoder.width), np.float32), cut=False)
        if prompt not in self._prompts:
            found, cut = self._encoded_prompt(prompt)
            self._prompts[prompt] = _Prompt(found["prefix"][0], cut)
            if len(self._prompts) > REMEMBERED_PROMPTS:
                self._prompts.popitem(last=False)
        return self._prompts[prompt]

    def _encoded_prompt(self, prompt: str) -> tuple[Mapping[str, Array], bool]:
        assert self._prompt_encoder is not None
        ids = self._prompt_text.ids(prompt)
        taken = {name: ids.inputs[name] for name in self._prompt_encoder.description.inputs}
        return self._prompt_encoder.run(taken), ids.cut

    def _try_out(self, bundle: Bundle) -> None:
        """Run each graph once: what none of them declares shows then, and not at the first window."""
        manifest, trial = self.manifest, PromptedTrial(bundle)
        prefix = trial.hear(self._encoder, manifest.clip.samples, manifest.embedding_size, self._decoder.width)
        if self._prompt_encoder is not None:
            found = trial.read_prompt(lambda: self._encoded_prompt(manifest.prompt)[0], self._decoder.width)
            prefix = np.concatenate([prefix, found])
        positions = self._positions(len(prefix), manifest.decoding)
        trial.write(self._decoder, prefix, positions, manifest.vocabulary_size)
        for question, _ in self._questions:
            if self._prompt_of(question).cut:
                log.warning("a question is longer than the bundle reads, its end is not heard: %s", question)

    def _positions(self, before: int, rules: SearchRules) -> int:
        """Positions of ``before`` vectors and an answer behind them, whose last token is never fed."""
        positions = before + rules.max_length - 1
        if positions > self.manifest.positions:
            raise ConfigError(
                f"sound and prompt take {before} of the decoder's {self.manifest.positions} positions, which leaves "
                f"too few for an answer of {rules.max_length} tokens: give a smaller max_length"
            )
        return positions


class PromptedKind:
    """The kind of model "prompted": see :class:`edge_aac.models.registry.ModelKind`."""

    manifest = PromptedManifest
    choices = frozenset({"prompt", "max_length", "beams", "ask"})

    @staticmethod
    def open(bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> Prompted:
        """Load the model."""
        return Prompted(bundle, options, choices)
