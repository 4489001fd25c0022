"""The captioner: encode windows, decode candidates, rerank them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import DecodingRules, Graph, Seq2SeqManifest
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.bundle.sureness import SOUNDS, SurenessRule
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import ONNX_RUNTIME, EngineOptions, LoadedEngine
from edge_aac.engines.steps import ResidentEngine, StepwiseEngine
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.candidates import candidates_a_window
from edge_aac.models.choices import Choices
from edge_aac.models.contract import ScoredCaption, identity_of
from edge_aac.models.decoding import Candidate, CandidateDecoder
from edge_aac.models.encoding import Encoded, WindowEncoder
from edge_aac.models.graph_contracts import check_captioner
from edge_aac.models.patches import PatchStem, PatchVectors
from edge_aac.models.pipeline import RunLimits, StagedModel
from edge_aac.models.rerank import Reranker, remembering_pays
from edge_aac.models.sampling import Withheld
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.sureness import Sureness
from edge_aac.models.tokens import all_but, check_decoder_tokenizer, load_tokenizer
from edge_aac.models.trial import Trial
from edge_aac.models.whole_words import Held

Array = npt.NDArray[np.float32]


class Captioner(StagedModel):
    """Captions windows with one bundle: the model of the kind "seq2seq".

    Holds the decoder's cache, so one captioner serves one thread at a time.

    Attributes:
        bundle: the bundle that the captioner was made from.
        rules: rules of decoding; `familiarity` is the rule for unfamiliar windows, None where the bundle has no such
            score; `sureness` that for naming sounds, None where the bundle does not tell how sure it is of them.
        encoder_graph: the form of the encoder that is run.
        decoder: decoder of candidates.
        reranker: scores and ranks texts.
        tokenizer: tokenizer of the decoder.
        withheld: (V,) tokens that no caption of an unfamiliar window may hold; None without a rule for these.
        limits: numbers of windows that one run takes.

    Args:
        bundle: checked, from :func:`edge_aac.bundle.store.open_bundle`. What the graphs declare is compared with its
            manifest here; :meth:`try_out` runs them.
        options: backend and threads.
        candidates: number of candidates to draw for each window; None takes the bundle's own.
        choices: the user's other choices in place of the bundle's.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions | None = None,
        candidates: int | None = None,
        choices: Choices | None = None,
    ) -> None:
        options, choices = options or EngineOptions(), choices or Choices()
        manifest = bundle.manifest_of(Seq2SeqManifest)
        self.bundle = bundle
        self.rules = choices.rules(manifest, candidates)
        weights = choices.weights(manifest)
        graphs = {role: load_engine(bundle, role, options) for role in manifest.needed_roles}
        check_captioner(bundle, manifest, graphs, bool(weights.similarity))
        encoder, self.encoder_graph = graphs["encoder"]
        decoder, decoder_graph = graphs["decoder"]
        text_embedder, text_graph = graphs["text_embedder"]
        self.decoder = CandidateDecoder(decoder)
        self.decoder.check(self.rules)
        tokenizer_path = bundle.checked(manifest.tokenizers.decoder)
        self.tokenizer = load_tokenizer(tokenizer_path)
        check_decoder_tokenizer(self.tokenizer, tokenizer_path, manifest.vocabulary_size, special_tokens(self.rules))
        self.familiarity = choices.familiarity(manifest)
        if self.familiarity and "familiarity" not in encoder.description.outputs:
            raise DataError(f"{bundle.folder} has a rule for familiarity, its encoder none to give: export it again")
        self.withheld: Withheld | None = None
        if self.familiarity:
            self.withheld = all_but(self.tokenizer, self.familiarity.words, manifest.vocabulary_size)
            self.withheld[self.rules.eos_token_id] = False
        self._text_embedder = text_embedder
        self._sound_names = sounds_of(bundle)
        self.sureness = self._sureness_of(choices.sureness(manifest), encoder)
        check_words_left([bundle], self.withheld, self.sureness)
        self._tokenizers = self.tokenizer, load_tokenizer(bundle.checked(manifest.tokenizers.text))
        self.reranker = Reranker(
            text_embedder,
            *self._tokenizers,
            weights,
            manifest.instruction,
            choices.check_of(manifest),
            remembering_pays(text_embedder, candidates_a_window(self.rules)),
        )
        self._compares = bool(weights.similarity)
        # What the decoder reads in the device's memory need not leave it.
        resident = isinstance(encoder, ResidentEngine) and isinstance(decoder, StepwiseEngine)
        self._vectors = PatchVectors(PatchStem(graphs[STEM][0]), manifest.patches) if manifest.patches else None
        self._encoder = WindowEncoder(encoder, resident, self._vectors)
        self.limits = RunLimits(
            self._encoder.windows_at_once,
            1 if _scaled_by_run(decoder_graph) else self.decoder.windows_at_once(self.rules),
            1 if _scaled_by_run(text_graph) else None,
            resident,
        )

    @classmethod
    def open(
        cls,
        name_or_path: str,
        options: EngineOptions | None = None,
        candidates: int | None = None,
        choices: Choices | None = None,
    ) -> Captioner:
        """Open a bundle by name or path, load it, and see that it can do what its manifest says.

        Raises:
            EdgeAacError: as :func:`edge_aac.models.registry.open_model`.
        """
        captioner = cls(open_bundle(name_or_path), options, candidates, choices)
        captioner.try_out()
        return captioner

    def try_out(self) -> None:
        """Run each graph once, as the first window would, and at the ends of what the manifest allows.

        Raises:
            DataError: the manifest contradicts what a graph or a tokenizer can do.
        """
        manifest, trial = self.bundle.manifest_of(Seq2SeqManifest), Trial(self.bundle)
        if self._vectors is not None:
            trial.hear_patch(self._vectors.stem, self._vectors.rule)
        sounds = len(manifest.sureness.names) if manifest.sureness else None
        encoded = trial.encode(self._encoder, manifest.embedding_size, sounds)
        trial.decode(self.decoder, encoded, self.rules, manifest.vocabulary_size)
        trial.text_ids(self._text_embedder, self._tokenizers[1], manifest.tokenizers.text.file)
        longest = trial.longest_text(*self._tokenizers, self.rules, manifest.instruction)
        trial.embed(self.embed, [longest], manifest.embedding_size if self._compares else None)

    def _sureness_of(self, rule: SurenessRule | None, encoder: LoadedEngine) -> Sureness | None:
        """The rule for naming sounds, for the bundle's tokens."""
        if rule is None or self._sound_names is None:
            return None
        if SOUNDS not in encoder.description.outputs:
            raise DataError(
                f"{self.bundle.folder} has a rule for sureness, its encoder no {SOUNDS} to give: export it again"
            )
        return Sureness.of(
            rule, self._sound_names, self.tokenizer, self.bundle.manifest_of(Seq2SeqManifest).vocabulary_size
        )

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """Its bundle, as an ensemble tells all of its own."""
        return (self.bundle,)

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return identity_of(self.bundle.manifest, self.encoder_graph)

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.bundle.manifest.language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.bundle.manifest.same_similarity

    @property
    def sound_names(self) -> SoundNames | None:
        """See :class:`edge_aac.models.contract.NamingModel`."""
        return self._sound_names

    @property
    def shared_work(self) -> PatchVectors | None:
        """See :class:`edge_aac.models.contract.SharingModel`."""
        return self._vectors

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.reranker.embed(texts)

    def encode(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        return self._encoder.encode(windows, cancelled)

    def complete(
        self, encoded: Encoded, windows: Sequence[Window], numbers: Sequence[int], cancelled: Callable[[], bool]
    ) -> Encoded:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`; nothing is left to encode."""
        return encoded.selected(numbers)

    def decode(
        self,
        encoded: Encoded,
        part: slice,
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool],
        held: Sequence[Held],
        rules: DecodingRules,
    ) -> list[list[Candidate] | DataError]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        memory = encoded.memory.part(part.start, part.stop)
        return self.decoder.decode(memory, rules, rngs, cancelled, held)

    def chosen(self, encoded: Encoded, numbers: Sequence[int]) -> Encoded:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        return encoded.selected(numbers)

    def agreed(self, candidates: Sequence[Candidate]) -> list[str]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        return self.reranker.agreed(candidates, self._sound_names)

    def rank(
        self, candidates: Sequence[Sequence[Candidate]], encoded: Encoded, numbers: Sequence[int]
    ) -> list[list[ScoredCaption] | DataError]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        return self.reranker.rank(candidates, encoded.audio_embeddings[list(numbers)])


def check_words_left(bundles: Sequence[Bundle], withheld: Withheld | None, sureness: Sureness | None) -> None:
    """Refuse rules for naming that together leave nothing to say.

    Raises:
        DataError: captions of unfamiliar windows would have no words where no sound is sure.
    """
    if withheld is None or sureness is None or sureness.leaves_words(withheld):
        return
    named = " and ".join(repr(bundle.opened_as) for bundle in bundles)
    raise DataError(
        f"where {named} is sure of no sound, its words for unfamiliar sounds all stand in sounds' names, and nothing "
        "could be said: export it again"
    )


def special_tokens(rules: DecodingRules) -> dict[str, int]:
    """Ids of tokens that are no words, by their keys in the manifest."""
    return rules.model_dump(include={"start_token_id", "eos_token_id", "pad_token_id"})


def _scaled_by_run(graph: Graph) -> bool:
    """Whether its products find the range of their activations over the whole run: beside others, a window would have
    other numbers than alone."""
    return graph.backend == ONNX_RUNTIME and graph.in_int8


def window_rng(seed: int, start_sample: int) -> np.random.Generator:
    """The generator of the window that starts at ``start_sample``.

    Each window has its own, so a skipped or silent window changes nothing for those after it.
    """
    return np.random.default_rng([seed, start_sample])


class Seq2SeqKind:
    """The kind of model "seq2seq": see :class:`edge_aac.models.registry.ModelKind`."""

    manifest = Seq2SeqManifest
    choices = frozenset({"candidates", *(field.name for field in fields(Choices))})

    @staticmethod
    def open(bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> Captioner:
        """Load the captioner."""
        others = {name: value for name, value in choices.items() if name != "candidates"}
        captioner = Captioner(bundle, options, choices.get("candidates"), Choices(**others))
        captioner.try_out()
        return captioner
