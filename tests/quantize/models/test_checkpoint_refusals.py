"""Weights that cannot be used: one sentence with what is wrong, the right exit code, and no code is ever run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edge_aac.cli import main
from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from quantize.models.checkpoint import load_beats, load_captioner_weights
from tests.quantize.hub.pull_cases import is_one_sentence
from tests.quantize.models.published_layout import (
    DENSE_TABLE,
    refused,
    small_captioner,
    write_captioner,
    write_instructor,
    write_json,
)
from tests.system.command import run_edge_aac

State = dict[str, Tensor]
Spoil = Callable[[Path], Any]

BIN, SAFE = "pytorch_model.bin", "model.safetensors"


@pytest.fixture
def state() -> State:
    return dict(small_captioner().state_dict())


@pytest.fixture
def folder(tmp_path: Path, state: State) -> Path:
    return write_captioner(tmp_path / "captioner", state)


def _refused(folder: Path, kind: type[EdgeAacError], *words: str) -> EdgeAacError:
    return refused(lambda: load_captioner_weights(folder), kind, *words)


class Opening:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


class Calling(Opening):
    """The same through the shell."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def _in_a_zip(content: Any, path: Path) -> None:
    torch.save(content, path)
    assert zipfile.is_zipfile(path)


def _in_an_old_file(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)


def _as_a_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def _as_an_old_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("code", [Opening, Calling])
@pytest.mark.parametrize("save", [_in_a_zip, _in_an_old_file, _as_a_pickle, _as_an_old_pickle])
def test_code_in_a_pickle_is_not_run(
    save: Callable[[Any, Path], None], code: type[Opening], folder: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "was-here"
    save({"weight": [1.0], "config": code(mark)}, folder / BIN)
    _refused(folder, DataError, str(folder / BIN), "holds code", "safetensors")
    with pytest.raises(DataError, match="holds code"):
        load_beats(folder / BIN)
    assert not mark.exists()
    # The file is as dangerous as it looks.
    if save in {_as_a_pickle, _as_an_old_pickle}:
        pickle.loads((folder / BIN).read_bytes())
    else:
        torch.load(folder / BIN, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("save", [_in_a_zip, _in_an_old_file])
@pytest.mark.parametrize("kept", [0, 1, 2, 40, 1000, 0.1, 0.5, 0.9, -200, -64, -1])
def test_a_cut_bin_is_damaged(save: Callable[[Any, Path], None], kept: float, folder: Path, state: State) -> None:
    path = folder / BIN
    save(state, path)
    whole = path.read_bytes()
    length = round(kept * len(whole)) if isinstance(kept, float) else kept if kept >= 0 else len(whole) + kept
    path.write_bytes(whole[:length])
    _refused(folder, DataError, str(path), "damaged")


def _safetensors(folder: Path) -> Path:
    (folder / BIN).unlink(missing_ok=True)
    save_file({"weight": torch.zeros(100)}, folder / SAFE)
    return folder / SAFE


def _cut(length: int) -> Spoil:
    return lambda folder: (path := _safetensors(folder)).write_bytes(path.read_bytes()[:length])


def _scribbled(folder: Path) -> None:
    path = _safetensors(folder)
    path.write_bytes(path.read_bytes().replace(b'"dtype"', b'"dtxpe"'))


def _saved(content: Any) -> Spoil:
    return lambda folder: torch.save(content, folder / BIN)


def _written(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def _gone(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def _listed(weight_map: Any) -> Spoil:
    return lambda folder: write_json(folder / f"{BIN}.index.json", {"weight_map": weight_map})


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        *((_cut(length), DataError, (SAFE, "damaged")) for length in (0, 1, 7, 8, 40, 200, -1)),
        (_scribbled, DataError, (SAFE, "damaged")),
        (_written(BIN, b"<html>404 not found</html>"), DataError, (BIN, "damaged")),
        (_written(BIN, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), DataError, (BIN, "damaged")),
        (_saved([torch.zeros(1)]), DataError, (BIN, "no table of tensors")),
        (_saved(torch.zeros(1)), DataError, (BIN, "no table of tensors")),
        (
            _saved({"epoch": 3, "weight": torch.zeros(1), "state": {}}),
            DataError,
            (BIN, "plain tensor (epoch, state)"),
        ),
        (_gone(BIN), InputMissingError, ("captioner has no ", SAFE, BIN)),
        (_gone("config.json"), InputMissingError, ("captioner has no config.json",)),
        (_written("config.json", b"{"), DataError, ("config.json", "not JSON")),
        (_written("config.json", b"\xff\xfe{}"), DataError, ("config.json", "not JSON")),
        (_written("config.json", b"[1]"), DataError, ("config.json", "list")),
        (_written("beats_config.json", b"null"), DataError, ("beats_config.json", "NoneType")),
        (_written("conformer_config.json", b""), DataError, ("conformer_config.json", "not JSON")),
        (_listed(None), DataError, (f"{BIN}.index.json", "no list")),
        (_listed({"a": "../pytorch_model.bin"}), DataError, (f"{BIN}.index.json", "no list")),
        (_listed({"a": ["part.bin"]}), DataError, (f"{BIN}.index.json", "no list")),
        (_listed({"a": "part.bin"}), InputMissingError, ("lacks its weight file part.bin",)),
    ],
)
def test_damaged_and_missing_files(
    spoil: Spoil, kind: type[EdgeAacError], words: tuple[str, ...], folder: Path
) -> None:
    spoil(folder)
    _refused(folder, kind, *words)


def test_no_such_folder(tmp_path: Path) -> None:
    _refused(tmp_path / "none", InputMissingError, "none", "config.json")
    with pytest.raises(InputMissingError, match="no file"):
        load_beats(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [{"model": {}}, {"cfg": {}}, {"cfg": 1, "model": {}}, {"weight": torch.zeros(1)}])
def test_no_beats_checkpoint(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "beats.pt")
    with pytest.raises(DataError, match=r"beats\.pt is no BEATs checkpoint") as caught:
        load_beats(tmp_path / "beats.pt")
    assert is_one_sentence(caught.value)


@pytest.fixture
def convert_arguments(folder: Path, tmp_path: Path) -> list[str]:
    weights = {"linear.weight": torch.rand(6, 16)}
    instructor = write_instructor(tmp_path / "instructor", None, DENSE_TABLE, weights)
    output = tmp_path / "bundle"
    return ["convert", str(folder), "--instructor", str(instructor), "--tokenizer", "numbered", "--output", str(output)]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_gone("config.json"), 66),
        (_written(BIN, b"PK"), 65),
        (_written("config.json", b'{"use_weighted_encoder_repr": true}'), 78),
        (_written("../instructor/config.json", b'{"model_type": "bert"}'), 78),
        (_saved({"weight": Opening(Path("/nonexistent"))}), 65),
        (_saved({"weight": torch.zeros(1)}), 65),
    ],
)
def test_convert_ends_with_the_exit_code_and_leaves_nothing(
    spoil: Spoil,
    code: int,
    convert_arguments: list[str],
    folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoil(folder)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(convert_arguments)
    assert ended.value.code == code
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("edge-aac: ")
    assert sorted(tmp_path.iterdir()) == before


def test_convert_says_nothing_but_its_sentence(convert_arguments: list[str], folder: Path, tmp_path: Path) -> None:
    """As a program of its own, where warnings would be seen too."""
    _as_a_pickle({"weight": [1.0], "config": Calling(tmp_path / "was-here")}, folder / BIN)
    done = run_edge_aac(*convert_arguments)
    assert (done.returncode, done.stdout) == (65, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "holds code" in done.stderr
    assert not (tmp_path / "was-here").exists()
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "changed",
    [
        lambda state: {**state, "lm_head.weight": state["lm_head.weight"].long()},
        lambda state: {**state, "downsample_conv.bias": state["downsample_conv.bias"] > 0},
        lambda state: {**state, "downsample_conv.bias": state["downsample_conv.bias"].to(torch.complex64)},
        lambda state: {**state, "downsample_conv.bias": state["downsample_conv.bias"].to_sparse()},
        lambda state: {**state, 3: torch.zeros(2)},
    ],
)
def test_tensors_that_are_no_float_weights_are_refused(changed: Any, tmp_path: Path) -> None:
    state = dict(small_captioner().state_dict())
    state["decoder.embed_tokens.weight"] = state["lm_head.weight"].clone()
    given = changed(state)
    if not given["lm_head.weight"].is_floating_point():
        del given["decoder.embed_tokens.weight"]
    refused(lambda: load_captioner_weights(write_captioner(tmp_path, given)), DataError)
