"""`edge-aac convert`: whole bundles of small models, their tokenizers, and what it leaves as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from edge_aac.bundle.store import open_bundle
from edge_aac.cli import main
from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from quantize.bundles.convert import Provenance, card_licence, convert_published, provenance_of
from quantize.bundles.staging import staged_bundle
from quantize.models.decoder_tokenizer import NUMBERED, decoder_tokenizer_of, numbered_tokenizer
from tests.quantize.models.published_layout import (
    DENSE_TABLE,
    SMALL,
    TEXTS,
    byte_tokenizer,
    refused,
    write_captioner,
    write_instructor,
    write_json,
)
from tests.system.command import CAPTION_FIELDS, FILE_TIMES, noise, records, run_edge_aac, write_wav

CARD = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- audio\n---\n\n# A captioner\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner with its tokenizer, the INSTRUCTOR it was trained with, and another one."""
    folder = tmp_path_factory.mktemp("models")
    captioner = write_captioner(folder / "captioner")
    (captioner / "README.md").write_text(CARD, encoding="utf-8")
    byte_tokenizer(60).save(str(captioner / "tokenizer.json"))
    write_instructor(folder / "instructor", None, DENSE_TABLE, {"linear.weight": torch.randn(6, 16)})
    write_instructor(folder / "other")
    return folder


def _convert(models: Path, instructor: str, output: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(models / "captioner"), "--instructor", str(models / instructor), "--output", str(output)])
    assert not ended.value.code


@pytest.fixture(scope="module")
def bundle(models: Path) -> Path:
    """Of the captioner and its own INSTRUCTOR, made by the installed command."""
    done = run_edge_aac(
        *("convert", models / "captioner", "--instructor", models / "instructor"),
        *("--output", models / "bundle", "--name", "small"),
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    starts = ["encoder: ", "decoder: ", "text_embedder: ", "bundle written to "]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 4, done.stderr
    return models / "bundle"


def test_what_the_bundle_says_of_itself(bundle: Path) -> None:
    manifest = open_bundle(str(bundle)).manifest
    assert (manifest.name, manifest.license) == ("small", "apache-2.0")
    assert manifest.attributions == ["captioner: captioner (apache-2.0)", "text embedder: instructor"]
    assert (manifest.embedding_size, manifest.vocabulary_size) == (6, 60)
    assert (manifest.rerank.log_likelihood, manifest.rerank.similarity) == (0.3, 0.7)
    assert manifest.instruction == "Represent the audio caption: "
    assert (manifest.decoding.max_length, manifest.decoding.max_positions) == (30, 32)
    for forms in manifest.graphs.values():
        assert all(graph.max_abs_difference <= 1e-3 for graph in forms)
    card = (bundle / "README.md").read_text(encoding="utf-8")
    for wanted in ("# small", "apache-2.0", "captioner: captioner", '"similarity": 0.7', "| text_embedder |"):
        assert wanted in card


def test_embeddings_of_one_size_are_compared(bundle: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(5))
    done = run_edge_aac("caption", sound, "--bundle", bundle, "--candidates", "6")
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = records(done.stdout)
    assert set(record) == CAPTION_FIELDS | FILE_TIMES
    score = record["score"]
    assert -1.0001 <= score["similarity"] <= 1.0001
    assert score["hybrid"] == pytest.approx(0.3 * score["log_likelihood"] + 0.7 * score["similarity"], abs=1e-4)
    # The captioner's own tokenizer spoke, not token numbers.
    assert "token" not in record["caption"]


def test_embeddings_of_two_sizes_are_not(models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _convert(models, "other", tmp_path / "bundle")
    printed = capfd.readouterr().err
    (line,) = [line for line in printed.splitlines() if "another INSTRUCTOR" in line]
    for wanted in (str(models / "other"), "in 16 dimensions", "sounds in 6", "likelihood alone"):
        assert wanted in line
    weights = open_bundle(str(tmp_path / "bundle")).manifest.rerank
    assert (weights.log_likelihood, weights.similarity) == (0.3, 0.0)
    sound = write_wav(tmp_path / "noise.wav", noise(5))
    done = run_edge_aac("caption", sound, "--bundle", tmp_path / "bundle", "--candidates", "6")
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = records(done.stdout)
    assert set(record["score"]) == {"hybrid", "log_likelihood"}
    assert record["score"]["hybrid"] == pytest.approx(0.3 * record["score"]["log_likelihood"], abs=1e-4)


def _whole(folder: Path) -> None:
    byte_tokenizer(60).save(str(folder / "tokenizer.json"))


def _pair(folder: Path) -> None:
    byte_tokenizer(60).model.save(str(folder))


def _same_tokenizer(got: Tokenizer) -> None:
    want = byte_tokenizer(60)
    for text in (*TEXTS, "<s>a dog</s>", " a roof<pad>"):
        ids = want.encode(text).ids
        assert got.encode(text).ids == ids
        assert got.decode(ids, skip_special_tokens=True) == want.decode(ids, skip_special_tokens=True)
    assert got.decode([0, 1, 2, 3, 4], skip_special_tokens=True) == ""
    assert got.get_vocab() == want.get_vocab()


@pytest.mark.parametrize(
    ("write", "given"),
    [(_whole, ""), (_whole, "tokenizer.json"), (_whole, None), (_pair, ""), (_pair, "vocab.json"), (_pair, None)],
)
def test_tokenizers_in_every_form(write: Callable[[Path], None], given: str | None, tmp_path: Path) -> None:
    write(tmp_path)
    lines: list[str] = []
    path = None if given is None else tmp_path / given
    _same_tokenizer(decoder_tokenizer_of(path, tmp_path, SMALL, lines.append))
    assert lines == []


def test_tokenizer_neither_pads_nor_cuts(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(60)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    _same_tokenizer(decoder_tokenizer_of(tmp_path, tmp_path, SMALL, print))


def _shorter(folder: Path) -> None:
    byte_tokenizer(50).save(str(folder / "tokenizer.json"))


def _without_merges(folder: Path) -> None:
    _pair(folder)
    (folder / "merges.txt").unlink()


def _broken_merges(folder: Path) -> None:
    _pair(folder)
    (folder / "merges.txt").write_text("#version: 0.2\nq qq q\n", encoding="utf-8")


def _json(content: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "tokenizer.json", content)


@pytest.mark.parametrize(
    ("write", "given", "kind", "words"),
    [
        (_shorter, "", DataError, ("has 50 tokens", "the decoder 60")),
        (_without_merges, "", InputMissingError, ("merges.txt", "--tokenizer")),
        (_broken_merges, "", DataError, ("cannot read the tokenizer",)),
        (_json({}), "", DataError, ("cannot read the tokenizer",)),
        (_json([]), "tokenizer.json", DataError, ("cannot read the tokenizer",)),
        (_whole, "other.json", InputMissingError, ("other.json", "--tokenizer")),
        (_whole, "none", InputMissingError, ("none", "--tokenizer")),
        (_pair, "typo.json", InputMissingError, ("typo.json", "--tokenizer")),
    ],
)
def test_tokenizers_that_cannot_be_used(
    write: Callable[[Path], None], given: str, kind: type[EdgeAacError], words: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path)
    refused(lambda: decoder_tokenizer_of(tmp_path / given, tmp_path, SMALL, print), kind, *words)


def test_bart_without_its_tokenizer_says_where_it_is(tmp_path: Path) -> None:
    config = replace(SMALL, decoder=replace(SMALL.decoder, vocab_size=50265))
    words = ("facebook/bart-base", "edge-aac pull bart-base", "--tokenizer", str(tmp_path))
    refused(lambda: decoder_tokenizer_of(None, tmp_path, config, print), InputMissingError, *words)


def test_unknown_words_become_numbers(tmp_path: Path) -> None:
    lines: list[str] = []
    for given in (None, NUMBERED):
        tokenizer = decoder_tokenizer_of(given, tmp_path, SMALL, lines.append)
        assert tokenizer.get_vocab_size() == 60
        assert tokenizer.decode([2, 17, 59, 1, 0], skip_special_tokens=True) == "token17 token59"
        assert tokenizer.encode("token17 token59").ids == [17, 59]
    (line,) = lines  # told where it was not asked for
    assert "60 tokens" in line and "--tokenizer" in line
    assert numbered_tokenizer(5, {4}).decode([1, 2, 3, 4]) == "token1 token2 token3"


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (CARD, "apache-2.0"),
        ('---\nlicense: "cc-by-4.0"\n---\n', "cc-by-4.0"),
        ("---\nlicense: 'mit'\n---\ntext", "mit"),
        ("# A model\n\nlicense: mit\n", None),
        ("---\ntags: [x]\n---\nlicense: mit\n---\n", None),
        ("---\nmodel_license: mit\n---\n", None),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("", None),
        (None, None),
    ],
)
def test_licence_of_a_model_card(card: str | None, licence: str | None, tmp_path: Path) -> None:
    if card is not None:
        (tmp_path / "README.md").write_bytes(card.encode())
    assert card_licence(tmp_path) == licence
    provenance = provenance_of(tmp_path, tmp_path, "x")
    assert provenance.license.startswith(licence or "unknown")
    assert all((f"({licence})" in line) == bool(licence) for line in provenance.attributions)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _converted(models: Path, output: Path) -> None:
    provenance = Provenance("new", "1", "CC0-1.0", ())
    convert_published(models / "captioner", models / "instructor", None, output, provenance, lambda line: None)


def test_what_is_no_bundle_is_not_touched(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "photos"
    output.mkdir()
    (output / "cat.jpg").write_bytes(b"cat")
    refused(lambda: _converted(models, output), DataError, str(output), "no bundle")
    assert _contents(tmp_path) == {"photos/cat.jpg": b"cat"}
    refused(lambda: _converted(models, output / "cat.jpg"), DataError, "is a file")
    assert _contents(tmp_path) == {"photos/cat.jpg": b"cat"}


def test_a_failing_gate_leaves_the_old_bundle(
    bundle: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "bundle"
    shutil.copytree(bundle, output)
    before = _contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("quantize.bundles.verify.MAX_ABS_DIFFERENCE", 1e-12)
        refused(lambda: _converted(models, output), DataError, "encoder differs from torch", "nothing was written")
    assert _contents(tmp_path) == before
    # Without the fault the same call replaces it.
    _converted(models, output)
    assert open_bundle(str(output)).manifest.name == "new"
    assert _contents(tmp_path).keys() == before.keys()


def test_an_output_that_is_a_link_stays_one(bundle: Path, models: Path, tmp_path: Path) -> None:
    """Somebody moved the folder of the bundles to a larger disk."""
    (tmp_path / "large").mkdir()
    link = tmp_path / "bundle"
    link.symlink_to(tmp_path / "large")
    with staged_bundle(link) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
    assert link.is_symlink() and open_bundle(str(link)).manifest.name == "small"
    _converted(models, link)
    assert link.is_symlink()
    assert open_bundle(str(link)).manifest.name == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "large"]
