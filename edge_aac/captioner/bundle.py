"""The bundle: a folder with everything a captioner needs, and nothing in it is used before its hash is checked."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_aac.audio.source import SAMPLE_RATE
from edge_aac.errors import DataError, EdgeAacError, InputMissingError, first_complaint

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
        backend: what runs it: "onnxruntime", "tensorrt" (a plan), or nothing by itself: "tensorrt-onnx", what a plan is
            built from.
        precision: of its weights and arithmetic ("fp32", "int8", "int8+fp16").
        shapes: inputs and outputs by name, dynamic axes by their names.
        built_with: versions of the tools that wrote it; of a plan also the GPU.
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


class Bundle:
    """A checked bundle.

    Attributes:
        folder: where its files lie.
        manifest: what they are.
        opened_as: the name or path that it was found by; a message that names a command uses it.
    """

    def __init__(self, folder: Path, manifest: Manifest, opened_as: str | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.opened_as = opened_as or str(folder)

    @property
    def build_command(self) -> str:
        """What makes this bundle's engines anew."""
        return build_command(self.opened_as)

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


def build_command(name_or_path: str) -> str:
    """The command that makes a bundle's engines anew."""
    return f"edge-aac build-engine --bundle {shlex.quote(name_or_path)}"


def open_bundle(name_or_path: str) -> Bundle:
    """Find a bundle by the name of a built-in or pulled one or the path of a folder, and check every file in it.

    Of a built-in bundle the user's own build is taken where there is one.

    Raises:
        InputMissingError: there is no such bundle, or a file of it is missing.
        DataError: its manifest is not one this version understands, a file's hash is wrong, or the user's own build is
            of another version than the built-in bundle.
    """
    bundle = read_bundle(find_bundle(name_or_path), name_or_path)
    for file in bundle.manifest.files():
        if complaint := fault(bundle, file):
            if read_bundle(bundle.folder, name_or_path).manifest != bundle.manifest:
                return open_bundle(name_or_path)  # a build has replaced files since the manifest was read
            raise complaint
    for graph in bundle.manifest.orphans():
        raise DataError(
            f"{bundle.path(graph)} was made from another graph than the bundle holds now: run `{bundle.build_command}`"
        )
    return bundle


def find_bundle(name_or_path: str) -> Path:
    """The folder of a bundle; of a built-in one the user's own build where there is one.

    Raises:
        InputMissingError: there is no such bundle, or it cannot be read.
        DataError: the user's own build cannot be understood, or is of another version than the built-in bundle.
    """
    built_in, own = built_in_bundles(), pulled_bundles()
    if name_or_path in built_in and name_or_path in own and _is_build_of(own[name_or_path], built_in[name_or_path]):
        return own[name_or_path]
    known = {**own, **built_in}
    folder = known.get(name_or_path, Path(name_or_path))
    if not _is_file(folder / MANIFEST):
        raise InputMissingError(
            f"no bundle {name_or_path!r}: give a folder that holds a {MANIFEST}, or one of {', '.join(sorted(known))}"
        )
    return folder


def _is_build_of(folder: Path, built_in: Path) -> bool:
    """Whether `edge-aac build-engine` made a bundle of the user's, which stands before the built-in one of its name.

    Raises:
        DataError: it made it of another version, or the manifest cannot be understood.
    """
    name = built_in.name
    try:
        own = read_bundle(folder, name).manifest
    except DataError as error:
        raise DataError(f"{folder} stands before the built-in {name}, but {error}; or move it away") from error
    if not any(form.parent_sha256 for forms in own.graphs.values() for form in forms):
        return False
    if own.exported() != read_bundle(built_in, name).manifest.exported():
        raise DataError(
            f"{folder} was built from another {name} than is installed now: run `{build_command(name)}`, or give the "
            "folder itself to use it as it is"
        )
    return True


def read_bundle(folder: Path, opened_as: str) -> Bundle:
    """A bundle of which only the manifest was read yet.

    Raises:
        InputMissingError: it cannot be read.
        DataError: it is none that this version understands, or of windows of another kind.
    """
    try:
        manifest = read_manifest(folder / MANIFEST)
    except OSError as error:
        raise InputMissingError(f"bundle {opened_as!r} cannot be read ({error}): correct its permissions") from error
    if (manifest.sample_rate, manifest.window_s) != (SAMPLE_RATE, WINDOW_S):
        raise DataError(
            f"bundle {opened_as!r} hears {manifest.window_s:g} s at {manifest.sample_rate} Hz, this edge-aac gives "
            f"{WINDOW_S:g} s at {SAMPLE_RATE} Hz: export it for these"
        )
    return Bundle(folder, manifest, opened_as)


def fault(bundle: Bundle, file: BundleFile) -> EdgeAacError | None:
    """What is wrong with a file of a bundle, and what mends it; None where it is the one that the manifest means."""
    path = bundle.path(file)
    mend = f"run `{bundle.build_command}`" if _is_built(bundle, file) else "install or build the bundle again"
    try:
        if not path.is_file():
            return InputMissingError(f"bundle {bundle.opened_as!r} lacks its file {file.file}: {mend}")
        if file_sha256(path) != file.sha256:
            return DataError(
                f"{path} is not the file that the bundle's manifest vouches for (its SHA-256 differs): {mend}"
            )
    except OSError as error:
        return InputMissingError(f"bundle {bundle.opened_as!r} cannot be read ({error}): correct its permissions")
    return None


def _is_built(bundle: Bundle, file: BundleFile) -> bool:
    """Whether `edge-aac build-engine` wrote a file, or a user's whole bundle, so that it can write it again."""
    if bundle.folder == pulled_bundles().get(bundle.opened_as) and bundle.opened_as in built_in_bundles():
        return True
    graphs = [graph for forms in bundle.manifest.graphs.values() for graph in forms if graph.parent_sha256]
    return any(file in (graph, *graph.external_data) for graph in graphs)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InputMissingError(f"{path} cannot be read ({error}): correct its permissions") from error


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
