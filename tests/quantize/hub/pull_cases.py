"""A registry of small things, a hub that serves them, and what the tests of `edge-aac pull` share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_aac.errors import EdgeAacError
from quantize.hub.download import PIECE_BYTES
from quantize.hub.listing import Hub
from quantize.hub.pull import pull
from quantize.hub.registry import Registry, load_registry
from tests.quantize.hub.hub_server import HubServer, ServedFile, ServedRepository, hub_server, sha256

PIECE = PIECE_BYTES
WEIGHTS = np.random.default_rng(0).bytes(5 * PIECE + 1234)
CONFIG = b'{"a": 1}\n'

REGISTRY = """
[thing]
kind = "captioner"
about = "a thing for tests"
repo = "somebody/thing"
license = "Apache-2.0"
credit = "Somebody, A Thing, 2024"
files = ["config.json"]
one_of = [["model.safetensors", "pytorch_model.bin"]]
optional = ["README.md"]
parts = { text_embedder = "words", tokenizer = "pieces" }

[words]
kind = "text-embedder"
about = "words"
repo = "somebody/words"
license = "Apache-2.0"
credit = "Somebody, Words, 2023"
files = ["config.json"]
one_of = [["model.safetensors", "pytorch_model.bin"]]
optional = [
  "modules.json",
  "1_Pooling/config.json",
  "2_Dense/config.json",
  "2_Dense/pytorch_model.bin",
  "tokenizer.json",
]

[pieces]
kind = "tokenizer"
about = "pieces"
repo = "somebody/pieces"
license = "MIT"
credit = "Somebody, Pieces, 2020"
files = ["vocab.json", "merges.txt"]
optional = ["tokenizer.json"]
vocabulary_size = 97
"""


class Puller:
    """Pulls from the server into a cache of its own."""

    def __init__(self, server: HubServer, registry: Registry, cache: Path) -> None:
        self.server, self.registry = server, registry
        self.hub = Hub(server.url, cache, waits_s=(0.0, 0.0))
        self.lines: list[str] = []

    def __call__(self, name: str = "thing", **options: Any) -> Path:
        self.server.forget()
        self.lines.clear()
        return pull(name, self.registry, self.hub, self.lines.append, **{"download_only": True, **options})

    @property
    def served(self) -> ServedRepository:
        """The repository of the thing."""
        return self.server.repositories["somebody/thing"]

    @property
    def served_weights(self) -> ServedFile:
        return self.served.files["pytorch_model.bin"]

    @property
    def log_text(self) -> str:
        return "\n".join(self.lines)

    def weights(self) -> list[tuple[str | None, int]]:
        """What was asked for and sent of the weights: (range, bytes)."""
        return [(get.range, get.sent) for get in self.server.bodies() if "thing/pytorch_model" in get.path]

    def partial(self) -> Path:
        return self.hub.folder("somebody/thing") / "blobs" / f"{sha256(WEIGHTS)}.incomplete"

    def whole(self) -> list[str]:
        """Names of the files that look whole to whoever reads the cache."""
        folder = self.hub.folder("somebody/thing") / "snapshots"
        return sorted(path.name for path in folder.glob("*/*") if path.exists())


@contextmanager
def puller_beside(tmp_path: Path, registry: str = REGISTRY) -> Iterator[Puller]:
    """A puller whose hub serves what the registry names."""
    path = tmp_path / "registry.toml"
    path.write_text(registry, encoding="utf-8")
    with hub_server() as hub:
        hub.add("somebody/thing", {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS})
        hub.add("somebody/words", {"config.json": CONFIG, "pytorch_model.bin": b"none"})
        hub.add("somebody/pieces", {"vocab.json": b"{}", "merges.txt": b"#\n"}, "mit")
        yield Puller(hub, load_registry(path), tmp_path / "cache")


def is_one_sentence(error: EdgeAacError) -> bool:
    return "\n" not in str(error) and "Traceback" not in str(error) and ": " in str(error)


def closed_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library waits half a minute in all before it gives a server up."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
