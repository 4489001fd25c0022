"""Zero-shot labels: a sound and some texts are embedded in one space, and the nearest text is what is heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import ONNX_RUNTIME, Engine, EngineOptions
from edge_aac.engines.steps import largest_rows
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.contract import (
    CancelledError,
    Description,
    Latency,
    ScoredCaption,
    Undecoded,
    Wanted,
    identity_of,
    not_cancelled,
)
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest, chosen_labels, own_templates
from edge_aac.models.encoder_inputs import EncoderInputs
from edge_aac.models.graph_contracts import AUDIO_ENCODER, GraphChecks, behind_stem, stem, text_embedder
from edge_aac.models.label_texts import TEXTS_AT_ONCE, LabelTexts, TextRules
from edge_aac.models.one_by_one import Undrawn
from edge_aac.models.patches import PatchStem, PatchVectors
from edge_aac.models.shared_space import nearest_first, unit
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.tokens import load_tokenizer, plain_text, to_arrays
from edge_aac.models.trial import MAX_TEXT_TOKENS, Trial

Array = npt.NDArray[np.float32]


def texts_at_once(engine: Engine) -> int:
    """Texts that go into one run of a text embedder: a plan takes as many as it was built for."""
    return min(TEXTS_AT_ONCE, largest_rows(engine, "token_ids") or TEXTS_AT_ONCE)


class DualEncoder(Undrawn):
    """Ranks the labels of a bundle by how close their texts lie to a window.

    The score of a text is the cosine of its embedding and the window's, from -1 to 1. It is no probability, and says as
    much of a text alone as beside others, so a smallest score can be asked for. A softmax over the labels would always
    find one of them likely, also where none is heard.

    Args:
        bundle: bundle of the kind dual_encoder.
        options: backend and threads.
        choices: ``labels``, ``prompt`` and ``templates`` other than the bundle's.

    Raises:
        ConfigError: a choice is unusable.
        InputMissingError, DataError, DeviceError: the bundle cannot be run here.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any] | None = None) -> None:
        self._manifest = manifest = chosen_labels(bundle.manifest_of(DualEncoderManifest), choices or {})
        self._encoder, self._graph = load_engine(bundle, "encoder", options)
        self._text_embedder, text_graph = load_engine(bundle, "text_embedder", options)
        checks = GraphChecks(bundle, embedding_size=self._manifest.embedding_size)
        patches = self._manifest.patches
        self._vectors: PatchVectors | None = None
        if patches is not None:
            engine, stem_graph = load_engine(bundle, STEM, options)
            checks.check(STEM, stem_graph, engine, stem(patches))
            self._vectors = PatchVectors(PatchStem(engine), patches)
        checks.check("encoder", self._graph, self._encoder, behind_stem(AUDIO_ENCODER, patches))
        checks.check("text_embedder", text_graph, self._text_embedder, text_embedder(compared=True))
        tokenizer = self._manifest.text_tokenizer
        self._tokenizer = load_tokenizer(bundle.checked(tokenizer))
        self._texts = self._manifest.texts()
        trial = Trial(bundle)
        trial.text_ids(self._text_embedder, self._tokenizer, tokenizer.file)
        rules = TextRules(manifest.around, sounds_of(bundle), plain_text)
        texts = LabelTexts.of(rules, manifest.labels, own_templates(choices or {}))
        self._embeddings = texts.embedded(lambda some: trial.embed(self.embed, some, manifest.embedding_size))
        # INT8 for processors finds its ranges over the whole run, so that windows would change each other's numbers;
        # a plan takes as many windows as it was built for.
        alone = self._graph.backend != ONNX_RUNTIME or self._graph.in_int8
        self._inputs = EncoderInputs(self._encoder, self._vectors)
        fixed = any(isinstance(shape[0], int) for shape in self._encoder.input_shapes.values())
        self._at_once = 1 if alone or fixed else None
        if self._vectors is not None:
            trial.hear_patch(self._vectors.stem, self._vectors.rule)
        trial.embed_window(lambda window: self._embedded([window]), self._manifest.embedding_size)

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return identity_of(self._manifest, self._graph)

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._manifest.language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._manifest.same_similarity

    @property
    def shared_work(self) -> PatchVectors | None:
        """See :class:`edge_aac.models.contract.SharingModel`."""
        return self._vectors

    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """See :class:`edge_aac.models.contract.SelectiveModel`; little is saved, since ranking costs little.

        As many runs as the encoder needs for all windows.
        """
        at_once = self._at_once or max(1, len(windows))
        described: list[Description | DataError | Undecoded] = []
        for start in range(0, len(windows), at_once):
            if cancelled():
                raise CancelledError
            described += self._described(windows[start : start + at_once], start, wanted, cancelled)
        return described

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        at_once = texts_at_once(self._text_embedder)
        parts = [self._texts_embedded(texts[at : at + at_once]) for at in range(0, len(texts), at_once)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _texts_embedded(self, texts: Sequence[str]) -> Array:
        """As :meth:`embed`, of one run of the text embedder."""
        token_ids, attention_mask = to_arrays(self._tokenizer, texts, self._manifest.instruction)
        if token_ids.shape[1] > MAX_TEXT_TOKENS:
            raise ConfigError(
                f"a label with its prompt has {token_ids.shape[1]} tokens, more than {MAX_TEXT_TOKENS}: shorten it"
            )
        return self._text_embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]

    def _embedded(self, windows: Sequence[Window], cancelled: Callable[[], bool] = not_cancelled) -> Array:
        """Audio embeddings (W, E), of one run of the encoder."""
        return self._encoder.run(self._inputs.of_all(windows, cancelled))["audio_embedding"]

    def _described(
        self, windows: Sequence[Window], first: int, wanted: Wanted, cancelled: Callable[[], bool]
    ) -> list[Description | DataError | Undecoded]:
        """As :meth:`describe_wanted`, of one run of the encoder; the first window is number ``first`` of the batch."""
        started = time.perf_counter()
        audio_embeddings = self._embedded(windows, cancelled)
        encode_ms = 1e3 * (time.perf_counter() - started) / len(windows)
        kept = [wanted(number, embedding) for number, embedding in enumerate(audio_embeddings, first)]
        begun = time.perf_counter()
        ranked = [
            self._ranked(embedding) if keep else None for keep, embedding in zip(kept, audio_embeddings, strict=True)
        ]
        latency = Latency(encode_ms, 0.0, 1e3 * (time.perf_counter() - begun) / max(1, sum(kept)))

        def outcome(
            found: list[ScoredCaption] | DataError | None, embedding: Array
        ) -> Description | DataError | Undecoded:
            if found is None:
                return Undecoded(embedding, Latency(encode_ms, 0.0, 0.0))
            if isinstance(found, DataError):
                return found
            return Description(found, embedding, len(self._texts), latency)

        return [outcome(found, embedding) for found, embedding in zip(ranked, audio_embeddings, strict=True)]

    def _ranked(self, audio_embedding: Array) -> list[ScoredCaption] | DataError:
        try:
            return nearest_first(self._texts, self._embeddings, unit(audio_embedding))
        except DataError as error:
            return error


class DualEncoderKind:
    """The kind of model "dual_encoder": see :class:`edge_aac.models.registry.ModelKind`."""

    manifest = DualEncoderManifest
    choices = frozenset({"labels", "prompt", "templates"})

    @staticmethod
    def open(bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> DualEncoder:
        """Load the model.

        Raises:
            DataError: it hears clips of its own.
        """
        manifest = bundle.manifest_of(DualEncoderManifest)
        if not manifest.hears_windows:
            raise DataError(
                f"bundle {bundle.opened_as!r} hears clips of {manifest.window_s:g} s at {manifest.sample_rate} Hz, no "
                "windows: open it with edge_aac.models.clip_windows, or by edge_aac.models.opening.open_named"
            )
        return DualEncoder(bundle, options, choices)
