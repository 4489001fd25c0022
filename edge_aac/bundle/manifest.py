"""``manifest.json``: what every kind of model has in it, what the kind that ships has besides, and its reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from edge_aac.bundle import limits
from edge_aac.bundle.json_text import read_json, shown
from edge_aac.bundle.kinds import UnknownKindError, model_kind
from edge_aac.bundle.patches import STEM, PatchRule, check_stem
from edge_aac.bundle.section import Axis, Count, Name, Number, Section, Text
from edge_aac.bundle.sureness import SOUNDS, SurenessRule, check_sureness
from edge_aac.errors import DataError, first_complaint

SCHEMA = "edge-aac/bundle/1"
MANIFEST = "manifest.json"
WINDOW_S = 10.0
GraphRole: TypeAlias = str
"""What a graph does in its model; each kind of model has names of its own."""
SHORTEST_CAPTION = 3  # tokens: a start, a word, an end
SEQ2SEQ = "seq2seq"
SEQ2SEQ_ROLES: tuple[GraphRole, ...] = ("encoder", "decoder", "text_embedder")
DecodingMethod = Literal["nucleus", "greedy", "beam"]


class BundleFile(Section):
    """A file of the bundle and what it must hash to."""

    file: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not value or value in {".", ".."} or "/" in value or "\\" in value:
            raise ValueError("a bundle's files lie in the bundle itself; no folders in their names")
        if len(value.encode()) > limits.MAX_NAME:
            raise ValueError(f"a file's name has {limits.MAX_NAME} bytes at most")
        return value


class Graph(BundleFile):
    """A graph of the bundle in one form: file, backend, precision.

    Attributes:
        backend: the engine that runs the file: "onnxruntime", "tensorrt" (a plan), or none: "tensorrt-onnx", the file
            that a plan is built from.
        precision: number format of weights and arithmetic ("fp32", "int8", "int8_blocks", "int8+fp16").
        shapes: inputs and outputs by name, dynamic axes by their names.
        built_with: versions of the tools that wrote it; of a plan also the GPU ("sm_87 Orin, 8 SMs, 16 GB": model,
            multiprocessors that were on, memory), of an INT8 form for processors also what kind they are of and, where
            sums of its products could saturate, its largest weight.
        max_abs_difference: largest difference of its outputs from its fp32 parent's, as the gate measured it.
        external_data: files that hold the weights of a graph too large for one (ONNX ends at 2 GB).
        parent_sha256: hash of the ONNX file that `edge-aac build-engine` made it from; empty for an exported graph.
    """

    backend: Name = Field(min_length=1)
    precision: Name = Field(pattern=r"^[A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*$")
    shapes: dict[Name, list[Axis]]
    built_with: dict[Name, Text]
    max_abs_difference: Number = Field(ge=0.0, allow_inf_nan=False)
    external_data: tuple[BundleFile, ...] = ()
    parent_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @property
    def in_int8(self) -> bool:
        """Whether some of its arithmetic is in INT8 with one range a tensor, as far as the manifest says."""
        return "int8" in self.precision.split("+")


class DecodingRules(Section):
    """Rules for finding candidates. Lengths count the start token, as in the published system.

    Attributes:
        method: "nucleus" draws ``candidates`` of them, "greedy" takes the likeliest token at each step, "beam" searches
            with ``beams`` beams; the last two give one candidate.
        candidates: drawn of a window, in one batch.
        first_candidates: drawn before the others, which are left out where these agree; None draws all at once.
        temperature: divides the logits before top-p.
        top_p: probability mass that the nucleus keeps (Holtzman et al., 2020).
        beams: number of beams of the beam search.
        length_penalty: a finished beam's log-likelihood is divided by its length to this power.
        min_length: no end before this many tokens.
        max_length: the end is forced at this many tokens.
        no_repeat_ngram: no n-gram of this length occurs twice.
        max_positions: number of positions that the decoder has learnt; ``max_length`` cannot exceed it.
        start_token_id, eos_token_id, pad_token_id: special tokens in the decoder's vocabulary.
    """

    method: DecodingMethod = "nucleus"
    candidates: Count = Field(default=6, ge=1, le=limits.MAX_CANDIDATES)
    first_candidates: Count | None = Field(default=None, ge=2, le=limits.MAX_CANDIDATES)
    temperature: Number = Field(default=0.5, ge=limits.MIN_TEMPERATURE, le=limits.MAX_TEMPERATURE)
    top_p: Number = Field(default=0.95, gt=0.0, le=1.0)
    beams: Count = Field(default=4, ge=1, le=limits.MAX_CANDIDATES)
    length_penalty: Number = Field(default=1.0, ge=-limits.MAX_LENGTH_PENALTY, le=limits.MAX_LENGTH_PENALTY)
    min_length: Count = Field(default=5, ge=0, le=limits.MAX_LENGTH)
    max_length: Count = Field(default=30, ge=2, le=limits.MAX_LENGTH)
    no_repeat_ngram: Count = Field(default=3, ge=0, le=limits.MAX_LENGTH)
    max_positions: Count = Field(default=128, ge=2, le=limits.MAX_POSITIONS)
    start_token_id: Count = Field(default=2, ge=0)
    eos_token_id: Count = Field(default=2, ge=0)
    pad_token_id: Count = Field(default=1, ge=0)


class RerankWeights(Section):
    """Weights of the hybrid score: mean token log-likelihood and audio–text cosine similarity."""

    log_likelihood: Number = Field(default=0.3, ge=0.0, le=limits.MAX_WEIGHT)
    similarity: Number = Field(default=0.7, ge=0.0, le=limits.MAX_WEIGHT)


class FamiliarityRule(Section):
    """Rule for captions of unfamiliar sounds, for bundles whose encoder scores familiarity.

    Attributes:
        threshold: familiarity below which a window holds no sound of a class that the model was trained on. Older
            bundles call it ``least``.
        words: the only words that captions of such windows may hold; each is one token of the decoder.
    """

    threshold: Number = Field(
        validation_alias=AliasChoices("threshold", "least"), ge=-limits.MAX_FAMILIARITY, le=limits.MAX_FAMILIARITY
    )
    words: list[Name] = Field(min_length=1, max_length=limits.MAX_LABELS)


class Tokenizers(Section):
    """``decoder`` turns ids into text, ``text`` turns text into the text embedder's ids."""

    decoder: BundleFile
    text: BundleFile


class Manifest(Section):
    """``manifest.json`` as far as every kind of model has it: what the bundle is, what is in it, what was measured.

    A kind of model has a subclass with what it alone needs (decoding rules, labels, tokenizers), which sets
    :attr:`roles` and :meth:`own_files`.

    Attributes:
        roles: the graphs that a model of the kind can have.
        kind: name of the kind of model, as registered in the entry-point group ``edge_aac.models``. Absent in bundles
            from before there were several: those are of the kind "seq2seq".
        language: language of the captions as a BCP 47 tag ("en", "pt-BR"); it chooses the fluency check.
        sample_rate: Hz of the sound, and `window_s` its length.
        same_similarity: smallest cosine between the text embeddings of two captions that a stream takes for one event:
            text embedders differ in how close they put them.
        graphs: the forms of each graph by its role, the preferred form first.
        parameters: counted by model, where the writer counted them.
        quality: measured scores, and how they were measured.
        calibration: ranges of the graphs' activations: numbers, so that a device without recordings quantises as was
            measured elsewhere.
        sounds: the sounds that the captions name, with their words, so that a stream knows which phrases are of one
            sound; without it, embeddings of the phrases tell.
    """

    roles: ClassVar[frozenset[str]] = frozenset()

    schema_: Literal["edge-aac/bundle/1"] = Field(alias="schema")
    kind: str = SEQ2SEQ
    name: Name = Field(min_length=1)
    version: Name = Field(min_length=1)
    license: Text
    attributions: list[Text]
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=limits.MAX_NAME)
    sample_rate: Count
    window_s: Number
    same_similarity: Number = Field(default=0.88, ge=-1.0, le=1.0)
    graphs: dict[GraphRole, list[Graph]]
    parameters: dict[str, Annotated[Count, Field(ge=0)]] = Field(default_factory=dict)
    quality: dict[str, Any]
    calibration: BundleFile | None = None
    sounds: BundleFile | None = None

    @field_validator("graphs")
    @classmethod
    def _known_roles(cls, graphs: dict[GraphRole, list[Graph]]) -> dict[GraphRole, list[Graph]]:
        if unknown := sorted(set(graphs) - cls.roles):
            raise ValueError(f"a model of this kind has no {unknown[0]} graph, but {', '.join(sorted(cls.roles))}")
        return graphs

    @model_validator(mode="after")
    def _one_hash_a_file(self) -> Manifest:
        hashes: dict[str, str] = {}
        for file in self.files():
            if hashes.setdefault(file.file, file.sha256) != file.sha256:
                raise ValueError(f"the file {file.file} stands twice, with two hashes")
        return self

    def own_files(self) -> list[BundleFile]:
        """Files beside graphs, weights and calibration, such as tokenizers; the kind says which."""
        return []

    @property
    def hears_windows(self) -> bool:
        """Whether it hears the windows of a stream; else clips that a rule of its own cuts."""
        return True

    def files(self) -> list[BundleFile]:
        """All files that the manifest vouches for."""
        graphs = [graph for forms in self.graphs.values() for graph in forms]
        weights = [file for graph in graphs for file in graph.external_data]
        calibration = [self.calibration] if self.calibration else []
        sounds = [self.sounds] if self.sounds else []
        return [*self.own_files(), *graphs, *weights, *calibration, *sounds]

    def exported(self) -> dict[GraphRole, list[str]]:
        """Hashes of the graphs that were exported, whatever `edge-aac build-engine` made of them."""
        return {
            role: sorted(graph.sha256 for graph in forms if not graph.parent_sha256)
            for role, forms in self.graphs.items()
        }

    def orphans(self) -> list[Graph]:
        """Forms that were made from a file that is no form of the graph any more."""
        return [
            graph
            for forms in self.graphs.values()
            for graph in forms
            if graph.parent_sha256 and graph.parent_sha256 not in {form.sha256 for form in forms}
        ]

    def check_axis(self, role: GraphRole, name: str, size: int, stated_as: str) -> None:
        """Refuse a graph whose input or output has another last axis than the manifest states elsewhere.

        Args:
            role: role of the graph; every form of it that has the input or output is checked.
            name: name of the input or output.
            size: size of its last axis, as the manifest states it.
            stated_as: place in the manifest that states the size, for the message.

        Raises:
            ValueError: they contradict each other.
        """
        for graph in self.graphs.get(role, []):
            axis = graph.shapes[name][-1] if graph.shapes.get(name) else size
            if isinstance(axis, int) and axis != size:
                raise ValueError(f"{graph.file} gives {name} of size {axis}, but {stated_as} is {size}")


class Seq2SeqManifest(Manifest):
    """The manifest of the kind "seq2seq": an encoder of sound, a decoder of captions, a text embedder that ranks them.

    Attributes:
        embedding_size: size of the audio embedding, E.
        vocabulary_size: number of tokens of the decoder, V.
        decoding: default rules for finding candidates; `rerank` has the default weights for ranking them.
        familiarity: absent where the encoder does not score how familiar a window is.
        sureness: absent where the encoder does not tell how sure it is of each sound.
        patches: absent where the encoder hears filter banks itself; else the graph "stem" does, patch by patch.
        instruction: text before every text that goes to the text embedder (INSTRUCTOR's "Represent the …: ").
    """

    roles: ClassVar[frozenset[str]] = frozenset({*SEQ2SEQ_ROLES, STEM})

    kind: Literal["seq2seq"] = "seq2seq"
    embedding_size: Count = Field(ge=1, le=limits.MAX_EMBEDDING_SIZE)
    vocabulary_size: Count = Field(ge=1, le=limits.MAX_VOCABULARY)
    decoding: DecodingRules
    rerank: RerankWeights
    familiarity: FamiliarityRule | None = None
    sureness: SurenessRule | None = None
    patches: PatchRule | None = None
    instruction: str = Field(default="", max_length=limits.MAX_INSTRUCTION)
    tokenizers: Tokenizers

    def own_files(self) -> list[BundleFile]:
        """The two tokenizers."""
        return [self.tokenizers.decoder, self.tokenizers.text]

    @property
    def needed_roles(self) -> tuple[GraphRole, ...]:
        """The graphs that the model is made of, in the order of the data's way."""
        return (STEM, *SEQ2SEQ_ROLES) if self.patches else SEQ2SEQ_ROLES

    @model_validator(mode="after")
    def _fits_its_graphs(self) -> Seq2SeqManifest:
        check_stem(self.patches, self.graphs)
        self.check_axis("encoder", "audio_embedding", self.embedding_size, "embedding_size")
        self.check_axis("decoder", "logits", self.vocabulary_size, "vocabulary_size")
        if self.rerank.similarity:
            self.check_axis("text_embedder", "embedding", self.embedding_size, "embedding_size")
        rules = self.decoding
        for name in ("start_token_id", "eos_token_id", "pad_token_id"):
            if (token_id := getattr(rules, name)) >= self.vocabulary_size:
                raise ValueError(
                    f"decoding.{name} is no token of a vocabulary of {self.vocabulary_size}: it is {shown(token_id)}"
                )
        if rules.max_length < SHORTEST_CAPTION:
            raise ValueError(f"decoding.max_length {rules.max_length} leaves no word between a start and an end")
        if not rules.min_length < rules.max_length <= rules.max_positions:
            raise ValueError(
                f"decoding asks for captions of {rules.min_length} to {rules.max_length} tokens from a decoder of "
                f"{rules.max_positions} positions"
            )
        if self.familiarity and any("familiarity" not in graph.shapes for graph in self.graphs.get("encoder", [])):
            raise ValueError("there is a rule for familiarity, but an encoder that does not score it")
        check_sureness(self.sureness, self.sounds is not None, [form.shapes for form in self.graphs.get("encoder", [])])
        if self.sureness:
            self.check_axis("encoder", SOUNDS, len(self.sureness.names), "the number of sureness.names")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest of any kind of model that is registered.

    Raises:
        DataError: it is not JSON, has another schema, is of an unknown kind, lacks a field, has a wrong one, or its
            graphs contradict it.
    """
    table = read_json(path)
    schema = table.get("schema") if isinstance(table, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"{path} has schema {shown(schema)}, this edge-aac reads {SCHEMA!r}: use a version that fits it"
        )
    try:
        return parse_manifest(table)
    except ValidationError as error:
        raise DataError(f"{path}: {_complaint(error)}; build the bundle again") from error
    except UnknownKindError as error:
        raise DataError(f"{path}: {error}") from error


def _complaint(error: ValidationError) -> str:
    """The first thing that pydantic found, with the value where it is a single one."""
    first = error.errors()[0]
    found = first["input"]
    value = (
        f", not {shown(found)}" if isinstance(found, str | int | float | None) and first["type"] != "missing" else ""
    )
    return first_complaint(error) + value


def parse_manifest(table: Mapping[str, Any]) -> Manifest:
    """A manifest of the class that its kind of model registers.

    Raises:
        UnknownKindError: no package that is installed has such a kind.
        ValidationError: from pydantic, where a field is missing or wrong.
        ConfigError: the package that registers the kind cannot be loaded.
    """
    manifest: type[Manifest] = model_kind(str(table.get("kind", SEQ2SEQ))).manifest
    return manifest.model_validate(table)
