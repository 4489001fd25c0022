"""What a bundle is: the manifest that says so, and its reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_aac.errors import DataError, first_complaint

SCHEMA = "edge-aac/bundle/1"
MANIFEST = "manifest.json"
WINDOW_S = 10.0
GraphRole = Literal["encoder", "decoder", "text_embedder"]
DecodingMethod = Literal["nucleus", "greedy", "beam"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundleFile(_Section):
    """A file of the bundle and what it must hash to."""

    file: str
    sha256: str

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not value or value in {".", ".."} or "/" in value or "\\" in value:
            raise ValueError("a bundle's files lie in the bundle itself; no folders in their names")
        return value


class Graph(BundleFile):
    """One graph in one form.

    Attributes:
        backend: what runs it: "onnxruntime", "tensorrt" (a plan), or nothing by itself: "tensorrt-onnx", what a plan is
            built from.
        precision: of its weights and arithmetic ("fp32", "int8", "int8+fp16").
        shapes: inputs and outputs by name, dynamic axes by their names.
        built_with: versions of the tools that wrote it; of a plan also the GPU, of an INT8 form for processors also
            what kind they are of and its largest weight.
        max_abs_difference: from its fp32 parent, as measured by the gate that let it in.
        external_data: files that hold the weights of a graph too large for one (ONNX ends at 2 GB).
        parent_sha256: of the ONNX file that `edge-aac build-engine` made it from; empty for what was exported.
    """

    backend: str
    precision: str
    shapes: dict[str, list[int | str]]
    built_with: dict[str, str]
    max_abs_difference: float
    external_data: tuple[BundleFile, ...] = ()
    parent_sha256: str = ""


class DecodingRules(_Section):
    """How candidates are found; lengths count the start token, as in the published system.

    Attributes:
        method: "nucleus" draws ``candidates`` of them, "greedy" takes the likeliest token at each step, "beam" searches
            with ``beams`` beams; the last two give one candidate.
        candidates: drawn in one batch.
        temperature: divides the logits before top-p.
        top_p: probability mass that the nucleus keeps (Holtzman et al., 2020).
        beams: of the beam search.
        length_penalty: a finished beam's log-likelihood is divided by its length to this power.
        min_length: no end before this many tokens.
        max_length: the end is forced at this many tokens.
        no_repeat_ngram: no n-gram of this length occurs twice.
        max_positions: what the decoder has learnt positions for; ``max_length`` cannot exceed it.
        start_token_id, eos_token_id, pad_token_id: of the decoder's vocabulary.
    """

    method: DecodingMethod = "nucleus"
    candidates: int = Field(default=6, ge=1, le=64)
    temperature: float = Field(default=0.5, gt=0.0)
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    beams: int = Field(default=4, ge=1, le=64)
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    min_length: int = Field(default=5, ge=0)
    max_length: int = Field(default=30, ge=2)
    no_repeat_ngram: int = Field(default=3, ge=0)
    max_positions: int = Field(default=128, ge=2)
    start_token_id: int = 2
    eos_token_id: int = 2
    pad_token_id: int = 1


class RerankWeights(_Section):
    """Weights of the hybrid score: mean token log-likelihood and audio–text cosine similarity."""

    log_likelihood: float = Field(default=0.3, allow_inf_nan=False)
    similarity: float = Field(default=0.7, allow_inf_nan=False)


class FamiliarityRule(_Section):
    """What is done where the encoder's graph says how familiar a window is.

    Attributes:
        least: a window that scores lower holds, if anything, a sound of no class that the model was trained on.
        words: of such a window's captions; each is one token of the decoder.
    """

    least: float = Field(allow_inf_nan=False)
    words: list[str] = Field(min_length=1)


class Tokenizers(_Section):
    """``decoder`` turns ids into text, ``text`` turns text into the text embedder's ids."""

    decoder: BundleFile
    text: BundleFile


class Manifest(_Section):
    """``manifest.json``: what the bundle is, what is in it, how to decode with it and what was measured of it.

    ``graphs`` holds the forms of each graph, the preferred one first. ``instruction`` stands before every text that
    goes to the text embedder (INSTRUCTOR's "Represent the …: "); ``parameters`` are counted by model, where the writer
    said how many. ``calibration`` holds the ranges of the graphs' activations: numbers, so that a device without
    recordings quantises as was measured elsewhere. ``same_similarity`` is the least cosine between the text
    embeddings of two captions that a stream takes for one event: text embedders differ in how close they put them.
    ``familiarity`` is missing where the encoder gives no such score.
    """

    schema_: Literal["edge-aac/bundle/1"] = Field(alias="schema")
    name: str
    version: str
    license: str
    attributions: list[str]
    sample_rate: int
    window_s: float
    embedding_size: int
    vocabulary_size: int
    decoding: DecodingRules
    rerank: RerankWeights
    same_similarity: float = Field(default=0.88, ge=-1.0, le=1.0)
    familiarity: FamiliarityRule | None = None
    instruction: str = ""
    tokenizers: Tokenizers
    graphs: dict[GraphRole, list[Graph]]
    parameters: dict[str, int] = Field(default_factory=dict)
    quality: dict[str, Any]
    calibration: BundleFile | None = None

    def files(self) -> list[BundleFile]:
        """All files that the manifest vouches for."""
        graphs = [graph for forms in self.graphs.values() for graph in forms]
        weights = [file for graph in graphs for file in graph.external_data]
        calibration = [self.calibration] if self.calibration else []
        return [self.tokenizers.decoder, self.tokenizers.text, *graphs, *weights, *calibration]

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


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        DataError: it is not JSON, has another schema, or a field is missing or wrong.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}): install or build the bundle again") from error
    schema = table.get("schema") if isinstance(table, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema!r}, this edge-aac reads {SCHEMA!r}: use a version that fits it")
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        raise DataError(f"{path}: {first_complaint(error)}; build the bundle again") from error
