"""The registry: which published weights are known, by which name, under which licence, and which files they need."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from edge_aac.errors import ConfigError, InputMissingError, UsageError, first_complaint
from edge_aac.toml_files import TomlError, parse_toml

Kind = Literal[
    "captioner", "text-embedder", "tokenizer", "beats", "tagger", "clap", "clap-2022", "laion-clap", "clapcap", "pengi"
]
Role = Literal["text_embedder", "tokenizer", "gpt2", "bert-base-uncased"]
PART_KINDS: dict[Role, Kind] = {
    "text_embedder": "text-embedder",
    "tokenizer": "tokenizer",
    "gpt2": "tokenizer",
    "bert-base-uncased": "tokenizer",
}
PARTS: dict[Kind, set[Role]] = {
    "captioner": {"text_embedder", "tokenizer"},
    "clap": {"gpt2"},
    "clap-2022": {"bert-base-uncased"},
    "clapcap": {"gpt2"},
}
"""Parts that a kind is completed by; the others stand alone."""
BUNDLES: frozenset[Kind] = frozenset({"captioner", "clap", "clap-2022", "laion-clap", "clapcap"})
"""What `edge-aac pull` makes a bundle of."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class Source(BaseModel):
    """One published thing.

    Attributes:
        kind: what it is; one of :data:`BUNDLES` becomes a bundle.
        about: what it is, for a person.
        repo: its repository on the hub.
        license: SPDX identifier, as known here; what the model card states is compared with it.
        credit: who made it, for the bundle's attributions.
        contains: credits and licences of other works that its weights hold.
        files: needed from the repository.
        one_of: rows of names; of each row the first that the repository has is fetched, and no other.
        optional: fetched where the repository has them.
        size: of the download, for a person; empty where nobody knows it.
        note: what a person should know before fetching it.
        parts: names of the other entries without which it cannot be used.
        revision: branch, tag or commit that is fetched unless another is asked for.
        sha256: file → what it must hash to at that revision.
        address: of the folder that holds the files of a release; empty for a repository on the hub.
        vocabulary_size: entries of a tokenizer.
        by_hand: where it is published, of what is on no hub and whose hashes nobody has seen here: it is not fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    about: str
    repo: str
    license: str
    credit: str
    contains: tuple[str, ...] = ()
    files: tuple[str, ...]
    one_of: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()
    size: str = ""
    note: str = ""
    parts: dict[Role, str] = {}
    revision: str = "main"
    sha256: dict[str, str] = {}
    address: str = ""
    vocabulary_size: int | None = None
    by_hand: str = ""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every file that may be fetched; those first that are preferred."""
        return (*self.files, *(name for row in self.one_of for name in row), *self.optional)

    @model_validator(mode="after")
    def _whole(self) -> Source:
        for name in self.candidates:
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"{name!r} is no path inside a repository")
        for name, digest in self.sha256.items():
            if name not in self.candidates or not SHA256.fullmatch(digest):
                raise ValueError(f"the pin of {name!r} names no file of this entry or is no SHA-256")
        if self.address and set(self.files) != set(self.sha256):
            raise ValueError("a release has no hashes of its own: pin the SHA-256 of each of its files")
        if self.by_hand and (self.sha256 or self.address):
            raise ValueError("what has hashes or an address is fetched, not left to a person")
        if set(self.parts) != (wanted := PARTS.get(self.kind, set())):
            raise ValueError(f"a {self.kind} has the parts {', '.join(sorted(wanted)) or 'none'}")
        return self


class Registry:
    """Name → source."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources

    def source(self, name: str) -> Source:
        """The entry of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.sources:
            raise UsageError(f"nothing is known as {name!r}: use one of {', '.join(self.sources)}")
        return self.sources[name]

    def parts(self, source: Source) -> dict[Role, Source]:
        """The entries that a source is completed by; empty where it stands alone."""
        return {role: self.sources[name] for role, name in source.parts.items()}


def load_registry(path: Path | None = None) -> Registry:
    """Read a registry; by default the one that comes with the package.

    Raises:
        InputMissingError: there is no such file.
        ConfigError: it is not TOML, an entry is incomplete, or a part is no entry of the right kind.
    """
    shipped = resources.files("quantize") / "hub" / "registry.toml"
    try:
        _, table = parse_toml((path or shipped).read_bytes())
        sources = TypeAdapter(dict[str, Source]).validate_python(table)
    except OSError as error:
        raise InputMissingError(f"the registry {path or shipped} cannot be read: {error}") from error
    except TomlError as error:
        raise ConfigError(f"the registry {path or shipped} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"the registry {path or shipped}: {first_complaint(error)}") from error
    for name, source in sources.items():
        for role, part in source.parts.items():
            if part not in sources or sources[part].kind != PART_KINDS[role]:
                raise ConfigError(f"the registry: {part!r}, part of {name}, is no entry of kind {PART_KINDS[role]}")
    return Registry(sources)
