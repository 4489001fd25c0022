"""What `edge-aac pull` fetches, how it goes on after a broken connection, and what it does with a wrong file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("huggingface_hub", reason="pull needs huggingface_hub: pip install 'edge-aac[train]'")

from edge_aac import __version__  # noqa: E402
from edge_aac.errors import DataError, DeviceError  # noqa: E402
from quantize.hub import download, listing  # noqa: E402
from quantize.hub.pull import attributions  # noqa: E402
from tests.quantize.hub.hub_server import git_sha1, sha256  # noqa: E402
from tests.quantize.hub.pull_cases import (  # noqa: E402
    CONFIG,
    PIECE,
    REGISTRY,
    WEIGHTS,
    Puller,
    is_one_sentence,
    puller_beside,
)


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[Puller]:
    with puller_beside(tmp_path) as puller:
        yield puller


def test_everything_is_fetched_verified_and_shown(pulling: Puller) -> None:
    folder = pulling()
    commit = pulling.served.commit
    assert folder == pulling.hub.folder("somebody/thing") / "snapshots" / commit
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG
    for words in (commit, "Apache-2.0", "Somebody, A Thing", "pytorch_model.bin (1.31 MB)", sha256(WEIGHTS)):
        assert words in pulling.log_text
    assert "1.31 MB in all, 1.31 MB of them still to fetch" in pulling.log_text
    assert "warning" not in pulling.log_text
    assert {request.headers["user-agent"] for request in pulling.server.requests} == {f"edge-aac/{__version__}"}


def test_what_is_there_is_not_fetched_again(pulling: Puller) -> None:
    first = pulling()
    assert pulling() == first
    assert not pulling.server.bodies()
    assert "0 bytes of them still to fetch" in pulling.log_text
    assert f"verified pytorch_model.bin: 1.31 MB, sha256 {sha256(WEIGHTS)}" in pulling.log_text


def test_safetensors_are_preferred_and_no_other_framework_is_fetched(pulling: Puller) -> None:
    others = {"model.safetensors": WEIGHTS[::-1], "tf_model.h5": b"t", "flax_model.msgpack": b"f", "other.onnx": b"o"}
    pulling.server.add("somebody/thing", {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS, **others})
    folder = pulling()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_revision_is_that_of_the_name_and_not_of_its_parts(pulling: Puller) -> None:
    commit = pulling.served.commit
    assert pulling(revision=commit).name == commit
    requested = [request.path for request in pulling.server.requests if "/api/" in request.path]
    assert [path.split("?")[0].split("/")[-1] for path in requested] == [commit, "main", "main"]


def test_another_licence_on_the_card_is_reported(pulling: Puller) -> None:
    pulling.served.license = "cc-by-nc-4.0"
    pulling()
    assert "licence Apache-2.0 (its model card states: cc-by-nc-4.0)" in pulling.log_text
    assert "warning: the model card states another licence" in pulling.log_text


# Broken connections


def test_a_cut_download_goes_on_where_it_stopped(pulling: Puller) -> None:
    pulling.served_weights.cuts = [2 * PIECE, 2 * PIECE]
    folder = pulling()
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert pulling.weights() == [
        (None, 2 * PIECE),
        (f"bytes={2 * PIECE}-", 2 * PIECE),
        (f"bytes={4 * PIECE}-", len(WEIGHTS) - 4 * PIECE),
    ]
    assert sum(sent for _, sent in pulling.weights()) == len(WEIGHTS), "a byte was sent twice"
    assert "the connection broke at 524 kB of pytorch_model.bin" in pulling.log_text


def test_a_cut_loses_less_than_a_piece(pulling: Puller) -> None:
    pulling.served_weights.cuts = [PIECE + 77] * 3
    pulling()
    assert [requested for requested, _ in pulling.weights()] == [None, *(f"bytes={n * PIECE}-" for n in (1, 2, 3))]


def test_a_connection_that_is_always_cut_is_given_up_and_gone_on_with_later(pulling: Puller) -> None:
    pulling.served_weights.cuts = [PIECE] * 3 + [0] * 1000
    with pytest.raises(DeviceError, match="the same command goes on where this one stopped") as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert pulling.partial().stat().st_size == 3 * PIECE
    assert pulling.whole() == ["config.json"]
    pulling.served_weights.cuts = []
    pulling()
    assert "(1.31 MB, 786 kB are here)" in pulling.log_text
    assert pulling.weights() == [(f"bytes={3 * PIECE}-", len(WEIGHTS) - 3 * PIECE)]


def test_a_server_that_falls_silent_is_left_and_asked_again(pulling: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))
    file = pulling.served_weights
    file.silent_after = 3 * PIECE
    folder = pulling()
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert [requested for requested, _ in pulling.weights()][-1] == f"bytes={3 * PIECE}-"


# Wrong files


@pytest.mark.parametrize("name", ["pytorch_model.bin", "config.json"])
def test_a_corrupted_file_is_removed_and_fetched_anew(pulling: Puller, name: str) -> None:
    file = pulling.served.files[name]
    file.delivered = file.content[:-1] + b"\0"
    with pytest.raises(DataError, match=f"{name} of somebody/thing is not what the hub lists") as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert name not in pulling.whole()
    assert not list(pulling.hub.folder("somebody/thing").glob(f"blobs/{file.digest}*"))
    file.delivered = None
    assert (pulling() / name).read_bytes() == file.content


def test_a_file_that_was_changed_in_the_cache_is_noticed(pulling: Puller) -> None:
    weights = pulling() / "pytorch_model.bin"
    weights.resolve().write_bytes(WEIGHTS[::-1])
    with pytest.raises(DataError, match="its hash differs"):
        pulling()
    assert pulling.whole() == ["config.json"]
    assert (pulling() / "pytorch_model.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize("delivered", [WEIGHTS[:-7], WEIGHTS + b"and more"])
def test_a_file_of_the_wrong_size_is_removed(pulling: Puller, delivered: bytes) -> None:
    file = pulling.served_weights
    file.delivered = delivered
    with pytest.raises(DataError, match="another size than the hub lists") as caught:
        pulling()
    assert is_one_sentence(caught.value)
    assert not pulling.partial().exists()
    file.delivered = None
    assert (pulling() / "pytorch_model.bin").read_bytes() == WEIGHTS


def test_a_part_that_is_longer_than_the_file_is_removed(pulling: Puller) -> None:
    pulling.partial().parent.mkdir(parents=True)
    pulling.partial().write_bytes(WEIGHTS + b"and more")
    with pytest.raises(DataError, match="another size"):
        pulling()
    assert (pulling() / "pytorch_model.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["pytorch_model.bin", "config.json"])
def test_a_file_other_than_the_pinned_one_is_refused(tmp_path: Path, name: str) -> None:
    pins = {"config.json": sha256(CONFIG), "pytorch_model.bin": sha256(WEIGHTS), name: "0" * 64}
    table = "\n".join(["[thing.sha256]", *(f'"{file}" = "{digest}"' for file, digest in pins.items()), "", "[words]"])
    with puller_beside(tmp_path, REGISTRY.replace("[words]", table)) as pulling:
        with pytest.raises(DataError, match="that edge-aac pins"):
            pulling()
        assert name not in pulling.whole()
        # The pins are those of the registry's revision.
        assert pulling(revision=pulling.served.commit)


def test_a_hub_that_gives_no_hashes_is_not_believed(pulling: Puller) -> None:
    pulling.served.hashless = True
    with pytest.raises(DataError, match="gives no hash of config.json"):
        pulling()


def test_constants_of_the_library_are_left_as_they_were(pulling: Puller) -> None:
    from huggingface_hub import constants

    before = dict(vars(constants))
    pulling()
    assert dict(vars(constants)) == before


def test_amounts() -> None:
    amounts = [download.amount(size) for size in (0, 999, 1000, 999_600, 870_000_000, 4_970_000_000)]
    assert amounts == ["0 bytes", "999 bytes", "1 kB", "1 MB", "870 MB", "4.97 GB"]


def test_attributions_say_what_it_was_made_of(pulling: Puller) -> None:
    main = listing.list_files(pulling.hub, pulling.registry.source("thing"))
    lines = attributions({"main": download.fetch(pulling.hub, main, print)})
    assert lines[0] == f"Somebody, A Thing, 2024: somebody/thing at {main.commit}, Apache-2.0"
    assert lines[1:] == (
        f"somebody/thing/config.json: sha256 {sha256(CONFIG)}",
        f"somebody/thing/pytorch_model.bin: sha256 {sha256(WEIGHTS)}",
    )
    assert main.files[0].digest == git_sha1(CONFIG)
