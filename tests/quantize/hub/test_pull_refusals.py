"""A hub that is not there, does not answer, or refuses; no network; and no room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("huggingface_hub", reason="pull needs huggingface_hub: pip install 'edge-aac[train]'")

from edge_aac.errors import ConfigError, DataError, DeviceError, EdgeAacError, InputMissingError, UsageError  # noqa: E402
from quantize.hub import download, space  # noqa: E402
from quantize.hub.listing import Hub  # noqa: E402
from quantize.hub.pull import pull  # noqa: E402
from tests.quantize.hub.pull_cases import (  # noqa: E402
    CONFIG,
    PIECE,
    WEIGHTS,
    Puller,
    closed_port,
    is_one_sentence,
    no_waiting,
    puller_beside,
)


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[Puller]:
    with puller_beside(tmp_path) as puller:
        yield puller


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (401, "RepoNotFound", InputMissingError, "or it is private: set HF_TOKEN"),
        (404, "RevisionNotFound", InputMissingError, "no such revision: correct --revision"),
        (404, "", InputMissingError, "does not have"),
        (401, "", InputMissingError, "set HF_TOKEN"),
        (403, "GatedRepo", InputMissingError, "ask for access on its page and set HF_TOKEN"),
        (429, "", DeviceError, "asked too often"),
        (503, "", DeviceError, "set HF_ENDPOINT to a mirror; nothing was written"),
        (400, "", DeviceError, "refuses to give somebody/thing"),
    ],
)
def test_refusals_before_the_first_file(
    pulling: Puller, status: int, code: str, kind: type[EdgeAacError], words: str
) -> None:
    served = pulling.served
    served.status, served.error_code = status, code
    with pytest.raises(kind, match=words) as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert not pulling.hub.cache.exists()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "EntryNotFound", InputMissingError),
        (401, "", InputMissingError),
        (403, "", InputMissingError),
        (403, "GatedRepo", InputMissingError),
        (503, "", DeviceError),
    ],
)
def test_refusals_of_one_file(
    pulling: Puller, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[EdgeAacError]
) -> None:
    no_waiting(monkeypatch)
    file = pulling.served_weights
    file.status, file.error_code = status, code
    with pytest.raises(kind) as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert pulling.whole() == ["config.json"]


def test_an_unknown_revision(pulling: Puller) -> None:
    with pytest.raises(InputMissingError, match="no such revision"):
        pulling(revision="v9")


@pytest.mark.parametrize("revision", ["../blobs/x", "/etc", "a/../b", " ", "-x"])
@pytest.mark.parametrize("offline", [False, True])
def test_what_is_no_revision(pulling: Puller, monkeypatch: pytest.MonkeyPatch, revision: str, offline: bool) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(UsageError, match="--revision"):
        pulling(revision=revision)
    assert not pulling.server.requests


def test_a_repository_that_lacks_a_needed_file(pulling: Puller) -> None:
    pulling.server.add("somebody/thing", {"config.json": CONFIG, "tf_model.h5": WEIGHTS})
    with pytest.raises(InputMissingError, match=r"somebody/thing lacks pytorch_model\.bin"):
        pulling()


@pytest.mark.parametrize(
    "body", [b"<html>please log in</html>", b'{"error": "none"}', b"[]", b'{"id": "x", "sha": "y"}']
)
def test_a_login_page_is_no_hub(pulling: Puller, body: bytes) -> None:
    pulling.served.body = body
    with pytest.raises((DeviceError, DataError, InputMissingError)) as caught:
        pulling()
    assert is_one_sentence(caught.value)


def test_a_server_that_says_nothing(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    pulling.server.silent = True
    with pytest.raises(DeviceError, match=r"stopped answering.*nothing was written"):
        pulling()


def test_a_server_that_goes_away_between_two_files(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)
    closed = closed_port()

    def then_gone(line: str) -> None:
        if line.startswith("verified config.json"):
            object.__setattr__(pulling.hub, "endpoint", closed)

    with pytest.raises(DeviceError, match=r"refuses connections.*goes on where this one stopped") as caught:
        pull("thing", pulling.registry, pulling.hub, then_gone, download_only=True)
    assert is_one_sentence(caught.value)
    assert pulling.whole() == ["config.json"]


@pytest.mark.parametrize(
    ("endpoint", "kind", "words"),
    [
        ("http://nobody.invalid", DeviceError, "cannot be resolved|route|refuses"),
        ("http://me:secret@127.0.0.1:9", DeviceError, "hub at http://127.0.0.1:9 .it refuses connections"),
        ("nonsense", ConfigError, "no address of a hub"),
    ],
)
def test_wrong_endpoints(pulling: Puller, endpoint: str, kind: type[EdgeAacError], words: str) -> None:
    pulling.hub = Hub(endpoint, pulling.hub.cache)
    with pytest.raises(kind, match=words) as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert "secret" not in str(caught.value)
    assert not pulling.hub.cache.exists()


# Without a network, and without room


def test_offline_takes_what_is_whole_and_verifies_it(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = pulling()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert pulling() == fetched
    assert not pulling.server.requests
    (fetched / "pytorch_model.bin").resolve().write_bytes(WEIGHTS[::-1])
    with pytest.raises(DataError, match="its hash differs"):
        pulling()
    with pytest.raises(DeviceError, match="HF_HUB_OFFLINE forbids fetching it") as caught:
        pulling()
    assert is_one_sentence(caught.value)


def test_offline_the_card_is_read_from_the_cache(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    card = b"---\nlicense: cc-by-nc-4.0\n---\n# A thing\n"
    pulling.server.add(
        "somebody/thing", {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS, "README.md": card}, "mit"
    )
    fetched = pulling()
    assert "its model card states: mit" in pulling.log_text
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pulling()
    assert "its model card states: cc-by-nc-4.0" in pulling.log_text
    (fetched / "README.md").resolve().write_bytes(b"---\n[\n---\n")
    with pytest.raises(DataError, match="its hash differs"):
        pulling()


def test_offline_with_nothing(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DeviceError, match="unset it, or give --cache"):
        pulling()
    assert not pulling.hub.cache.exists()


def test_a_cache_without_links_cannot_be_verified_offline(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = pulling() / "pytorch_model.bin"
    weights.unlink()
    weights.write_bytes(WEIGHTS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DeviceError, match="cannot be verified without the hub"):
        pulling()


def free_bytes(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: SimpleNamespace(free=count))


def test_too_little_room_is_reported_before_the_first_byte(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes(monkeypatch, len(WEIGHTS) - 1)
    with pytest.raises(
        DeviceError, match=r"1\.31 MB are needed in .*, but 1\.31 MB are free there: .*--cache"
    ) as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert not pulling.server.bodies()
    assert not pulling.hub.cache.exists()


def test_room_is_needed_for_what_is_missing_only(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    pulling.partial().parent.mkdir(parents=True)
    pulling.partial().write_bytes(WEIGHTS[: 4 * PIECE])
    free_bytes(monkeypatch, 2 * PIECE)
    pulling()
    free_bytes(monkeypatch, 0)
    pulling()


def test_a_bundle_needs_room_beside_the_download(
    pulling: Puller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free_bytes(monkeypatch, len(WEIGHTS) + 10_000)
    with pytest.raises(DeviceError, match=r"2\.62 MB are needed in .* and .*--cache or --output"):
        pulling(download_only=False, output=tmp_path / "bundle")
    assert not pulling.server.bodies()


def test_a_cache_that_is_a_file(pulling: Puller) -> None:
    pulling.hub.cache.write_text("mine", encoding="utf-8")
    with pytest.raises(DeviceError, match="cannot be written: give another folder with --cache"):
        pulling()


def test_a_disk_that_fills_up_meanwhile(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "hf_hub_download", full)
    with pytest.raises(DeviceError, match="no room is left in .* --cache"):
        pulling()
