"""Kinds of model: registered by name, also by a package outside; and manifests that their own graphs contradict."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, EdgeAacError
from edge_aac.models.registry import open_model
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.bundle.bundle_folder import manifest_table, one_sentence, write_bundle

_PACKAGE = """
from typing import ClassVar, Literal
from edge_aac.bundle.manifest import Manifest

class ParrotManifest(Manifest):
    roles: ClassVar[frozenset[str]] = frozenset({"ear"})
    kind: Literal["parrot"] = "parrot"
    says: str

class Parrot:
    def __init__(self, bundle, options, choices):
        self.says = choices.get("says", bundle.manifest_of(ParrotManifest).says)

class ParrotKind:
    manifest = ParrotManifest
    choices = frozenset({"says"})
    open = Parrot
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers kinds of its own, installed in a folder on the path."""
    site = tmp_path / "site"
    info = site / "parrots-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "outside_parrots.py").write_text(_PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edge_aac.models]\nparrot = outside_parrots:ParrotKind\nbroken = outside_parrots:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()


def _parrot(**changes: Any) -> dict[str, Any]:
    table = manifest_table()
    for name in ("decoding", "rerank", "tokenizers", "embedding_size", "vocabulary_size"):
        del table[name]
    return {**table, "kind": "parrot", "says": "hello", "graphs": {"ear": table["graphs"]["encoder"]}, **changes}


@pytest.mark.usefixtures("outside")
def test_a_kind_from_a_package_outside(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "polly", _parrot()))
    assert (bundle.manifest.kind, type(bundle.manifest).__name__) == ("parrot", "ParrotManifest")
    assert vars(open_model(bundle, EngineOptions(), {"says": None})) == {"says": "hello"}
    assert vars(open_model(bundle, EngineOptions(), {"says": "rain", "candidates": None})) == {"says": "rain"}
    with pytest.raises(ConfigError, match="candidates means nothing to the bundle tiny"):
        open_model(bundle, EngineOptions(), {"candidates": 2})
    with pytest.raises(DataError, match="'parrot', where one of the kind 'seq2seq' is needed") as caught:
        bundle.manifest_of(Seq2SeqManifest)
    one_sentence(caught)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("table", "match"),
    [
        (_parrot(kind="vocoder"), "'vocoder', this edge-aac runs broken, dual_encoder, parrot, prompted, seq2seq"),
        (_parrot(kind=3), "'3', this edge-aac runs"),
        (_parrot(kind="broken"), "cannot be loaded"),
        (_parrot(says=3), "says"),
        (_parrot(graphs=manifest_table()["graphs"]), "has no decoder graph, but ear"),
    ],
)
def test_a_kind_that_cannot_be_run(tmp_path: Path, table: dict[str, Any], match: str) -> None:
    with pytest.raises(EdgeAacError, match=match) as caught:
        open_bundle(write_bundle(tmp_path / "polly", table))
    one_sentence(caught)


def test_bundles_from_before_there_were_kinds_are_captioners() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    assert (bundle.manifest.kind, bundle.manifest.language) == ("seq2seq", "en")
    model = open_model(bundle, EngineOptions(threads=1), {"candidates": 3, "method": None, "max_length": 20})
    assert isinstance(model, Captioner)
    assert (model.rules.candidates, model.rules.max_length, model.rules.method) == (3, 20, "nucleus")


def _shaped(role: str, name: str, size: int, **changes: Any) -> dict[str, Any]:
    table = {**manifest_table(), **changes}
    table["graphs"][role][0]["shapes"][name] = ["rows", size]
    return table


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (_shaped("encoder", "audio_embedding", 3), "audio_embedding of size 3, but embedding_size is 2"),
        (_shaped("decoder", "logits", 10), "logits of size 10, but vocabulary_size is 9"),
        (_shaped("text_embedder", "embedding", 3), "embedding of size 3, but embedding_size is 2"),
        ({**manifest_table(), "decoding": {"eos_token_id": 9}}, "eos_token_id is no token of a vocabulary of 9"),
        ({**manifest_table(), "decoding": {"pad_token_id": -1}}, "pad_token_id"),
        ({**manifest_table(), "decoding": {"max_length": 200}}, "5 to 200 tokens from a decoder of 128"),
        ({**manifest_table(), "decoding": {"min_length": 30}}, "30 to 30 tokens"),
        ({**manifest_table(), "familiarity": {"threshold": 0.0, "words": ["a"]}}, "does not score it"),
        ({**manifest_table(), "familiarity": {"words": ["a"]}}, "threshold"),
        ({**manifest_table(), "language": "English!"}, "language"),
    ],
)
def test_a_manifest_that_its_graphs_contradict(tmp_path: Path, table: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        open_bundle(write_bundle(tmp_path / "tiny", table))
    one_sentence(caught)


@pytest.mark.parametrize("key", ["threshold", "least"])
def test_the_threshold_of_familiarity_by_its_name_and_by_its_former_one(tmp_path: Path, key: str) -> None:
    table = _shaped("encoder", "familiarity", 1, familiarity={key: -4.0, "words": ["a"]})
    table["graphs"]["encoder"][0]["shapes"]["familiarity"] = ["windows"]
    rule = open_bundle(write_bundle(tmp_path / "tiny", table)).manifest_of(Seq2SeqManifest).familiarity
    assert rule is not None and rule.threshold == -4.0
    assert rule.model_dump() == {"threshold": -4.0, "words": ["a"]}, "what is written has the new name"


def test_embedders_that_are_not_compared_may_differ(tmp_path: Path) -> None:
    table = _shaped("text_embedder", "embedding", 3, rerank={"similarity": 0.0})
    assert open_bundle(write_bundle(tmp_path / "tiny", table)).manifest.kind == "seq2seq"
