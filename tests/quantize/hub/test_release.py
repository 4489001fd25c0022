"""`edge-aac pull` of files that a project publishes with a release, from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="pull needs huggingface_hub: pip install 'edge-aac[train]'")

import torch  # noqa: E402

from edge_aac.errors import ConfigError, DataError, DeviceError, InputMissingError, UsageError  # noqa: E402
from quantize.hub.listing import Hub  # noqa: E402
from quantize.hub.pull import pull  # noqa: E402
from quantize.hub.registry import Registry, load_registry  # noqa: E402
from quantize.models.efficientat import EfficientAt  # noqa: E402
from tests.quantize.hub.hub_server import HubServer, hub_server, sha256  # noqa: E402
from tests.quantize.hub.pull_cases import closed_port, is_one_sentence  # noqa: E402

TABLE = """
[ears]
kind = "tagger"
about = "names sounds"
repo = "somebody/ears"
license = "MIT"
credit = "Somebody, Ears, 2022"
address = "{address}"
revision = "v1"
files = ["ears.pt"]
sha256 = {{ "ears.pt" = "{digest}" }}
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "ears.pt"
    torch.save(EfficientAt(0.1).state_dict(), path)
    return path.read_bytes()


@pytest.fixture
def server(weights: bytes) -> Iterator[HubServer]:
    with hub_server() as hub:
        hub.add("somebody/ears", {"ears.pt": weights})
        yield hub


def registry(folder: Path, address: str, digest: str) -> Registry:
    path = folder / "registry.toml"
    path.write_text(TABLE.format(address=address, digest=digest), encoding="utf-8")
    return load_registry(path)


def fetched(folder: Path, server: HubServer, weights: bytes, **options: object) -> tuple[Path, list[str]]:
    lines: list[str] = []
    known = registry(folder, f"{server.url}/large/somebody/ears", sha256(weights))
    hub = Hub(server.url, folder / "cache", waits_s=(0.0, 0.0))
    return pull("ears", known, hub, lines.append, **options), lines  # type: ignore[arg-type]


def test_a_release_is_fetched_once_verified_and_tried(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    path, lines = fetched(tmp_path, server, weights)
    assert path.read_bytes() == weights
    assert "it loads" in lines
    assert any("licence MIT" in line for line in lines)
    server.forget()
    again, _ = fetched(tmp_path, server, weights)
    assert again == path
    assert not server.requests


def test_a_broken_download_is_gone_on_with(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    file = server.repositories["somebody/ears"].files["ears.pt"]
    file.cuts = [100_000, 100_000, 200_000]
    path, _ = fetched(tmp_path, server, weights)
    assert path.read_bytes() == weights
    ranges = [request.range for request in server.bodies()]
    assert ranges[0] is None
    assert all(range_ is not None for range_ in ranges[1:])


def test_another_file_than_the_pinned_one_is_removed(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    changed = bytearray(weights)
    changed[len(changed) // 2] ^= 1
    server.repositories["somebody/ears"].files["ears.pt"].delivered = bytes(changed)
    with pytest.raises(DataError, match="pins and was removed") as caught:
        fetched(tmp_path, server, weights)
    assert is_one_sentence(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_pinned_file_that_is_no_tagger(tmp_path: Path, server: HubServer) -> None:
    server.add("somebody/ears", {"ears.pt": b"no weights"})
    with pytest.raises(DataError, match="no file of weights"):
        fetched(tmp_path, server, b"no weights")


def test_a_file_that_is_gone(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    known = registry(tmp_path, f"{server.url}/elsewhere", sha256(weights))
    with pytest.raises(InputMissingError, match="not there any more"):
        pull("ears", known, Hub(server.url, tmp_path / "cache", waits_s=()), lambda _: None)


def test_a_server_that_is_not_there(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    known = registry(tmp_path, closed_port(), sha256(weights))
    with pytest.raises(DeviceError, match="check the network") as caught:
        pull("ears", known, Hub(server.url, tmp_path / "cache", waits_s=(0.0,)), lambda _: None)
    assert is_one_sentence(caught.value)


def test_there_is_one_release(tmp_path: Path, server: HubServer, weights: bytes) -> None:
    with pytest.raises(UsageError, match="leave --revision out"):
        fetched(tmp_path, server, weights, revision="v2")


def test_a_release_without_a_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    text = TABLE.format(address="https://example.org", digest="0" * 64)
    path.write_text(text.replace('"ears.pt" = ', '"other.pt" = '), encoding="utf-8")
    with pytest.raises(ConfigError, match="ears"):
        load_registry(path)
