"""The bundle: a folder with everything a captioner needs, and nothing in it is used before its hash is checked."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_aac.audio.source import SAMPLE_RATE
from edge_aac.errors import DataError, InputMissingError, first_complaint

SCHEMA = "edge-aac/bundle/1"
MANIFEST = "manifest.json"
DEFAULT_BUNDLE = "esc10-tiny"
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
        backend: what runs it.
        precision: of its weights and arithmetic ("fp32").
        shapes: inputs and outputs by name, dynamic axes by their names.
        built_with: versions of the tools that wrote it.
        max_abs_difference: from its fp32 parent, as measured by the gate that let it in.
        external_data: files that hold the weights of a graph too large for one (ONNX ends at 2 GB).
    """

    backend: str
    precision: str
    shapes: dict[str, list[int | str]]
    built_with: dict[str, str]
    max_abs_difference: float
    external_data: tuple[BundleFile, ...] = ()


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


class Tokenizers(_Section):
    """``decoder`` turns ids into text, ``text`` turns text into the text embedder's ids."""

    decoder: BundleFile
    text: BundleFile


class Manifest(_Section):
    """``manifest.json``: what the bundle is, what is in it, how to decode with it and what was measured of it.

    ``instruction`` stands before every text that goes to the text embedder (INSTRUCTOR's "Represent the …: ");
    ``parameters`` are counted by model, where the writer said how many.
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
    instruction: str = ""
    tokenizers: Tokenizers
    graphs: dict[GraphRole, list[Graph]]
    parameters: dict[str, int] = Field(default_factory=dict)
    quality: dict[str, Any]

    def files(self) -> list[BundleFile]:
        """All files that the manifest vouches for."""
        graphs = [graph for forms in self.graphs.values() for graph in forms]
        weights = [file for graph in graphs for file in graph.external_data]
        return [self.tokenizers.decoder, self.tokenizers.text, *graphs, *weights]


class Bundle:
    """A checked bundle: its folder and its manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def path(self, file: BundleFile) -> Path:
        """Where a file of the manifest lies."""
        return self.folder / file.file

    def size(self, graph: Graph) -> int:
        """Bytes of a graph with its weights."""
        return sum(self.path(file).stat().st_size for file in (graph, *graph.external_data))


def user_bundles_folder() -> Path:
    """Where `edge-aac pull` puts bundles: ``$XDG_DATA_HOME`` or ``~/.local/share``, then ``edge-aac/bundles``.

    Raises:
        InputMissingError: this user has no home.
    """
    try:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError as error:
        raise InputMissingError("this user has no home folder for bundles: set XDG_DATA_HOME") from error
    return root / "edge-aac" / "bundles"


def built_in_bundles() -> dict[str, Path]:
    """Name → folder of the bundles that come with the package."""
    return _bundles_in(Path(str(resources.files("edge_aac") / "bundles")))


def pulled_bundles() -> dict[str, Path]:
    """Name → folder of the bundles that this user pulled; none where there is no home to look in."""
    try:
        return _bundles_in(user_bundles_folder())
    except InputMissingError:
        return {}


def _bundles_in(root: Path) -> dict[str, Path]:
    return {manifest.parent.name: manifest.parent for manifest in sorted(root.glob(f"[!.]*/{MANIFEST}"))}


def open_bundle(name_or_path: str) -> Bundle:
    """Find a bundle by the name of a built-in or pulled one or the path of a folder, and check every file in it.

    Raises:
        InputMissingError: there is no such bundle, or a file of it is missing.
        DataError: its manifest is not one this version understands, or a file's hash is wrong.
    """
    try:
        return _checked(name_or_path)
    except OSError as error:
        raise InputMissingError(f"bundle {name_or_path!r} cannot be read ({error}): correct its permissions") from error


def _checked(name_or_path: str) -> Bundle:
    known = {**pulled_bundles(), **built_in_bundles()}
    folder = known.get(name_or_path, Path(name_or_path))
    if not (folder / MANIFEST).is_file():
        raise InputMissingError(
            f"no bundle {name_or_path!r}: give a folder that holds a {MANIFEST}, or one of {', '.join(sorted(known))}"
        )
    manifest = read_manifest(folder / MANIFEST)
    if (manifest.sample_rate, manifest.window_s) != (SAMPLE_RATE, WINDOW_S):
        raise DataError(
            f"bundle {name_or_path!r} hears {manifest.window_s:g} s at {manifest.sample_rate} Hz, this edge-aac gives "
            f"{WINDOW_S:g} s at {SAMPLE_RATE} Hz: export it for these"
        )
    for entry in manifest.files():
        path = folder / entry.file
        if not path.is_file():
            raise InputMissingError(f"bundle {name_or_path!r} lacks its file {entry.file}: install or build it again")
        if file_sha256(path) != entry.sha256:
            raise DataError(
                f"{path} is not the file that the bundle's manifest vouches for (its SHA-256 differs): "
                "install or build the bundle again"
            )
    return Bundle(folder, manifest)


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
