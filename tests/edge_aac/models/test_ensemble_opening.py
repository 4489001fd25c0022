"""Bundles that cannot write one caption together are refused before anything is heard, each in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, EdgeAacError, InputMissingError
from edge_aac.models.ensemble import Ensemble
from edge_aac.models.opening import open_captioning, open_named
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models.ensemble_bundles import descriptions, sounds, tiny_member
from tests.edge_aac.models.tiny_bundle import VOCABULARY, WORDS, Tiny, dual_encoder_table, entry, write

ONE_THREAD = EngineOptions("onnxruntime", 1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_member(tmp_path_factory.mktemp("bundles") / "plain", 1)


def _refused(
    error: type[EdgeAacError], names: Sequence[str], weights: Sequence[float] | None = None, **choices: Any
) -> str:
    with pytest.raises(error) as caught:
        open_named(",".join(names), weights, ONE_THREAD, choices)
    assert type(caught.value) is error
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.count(": ") >= 1, "what is wrong, and what mends it"
    return sentence


def test_what_fits_is_opened(plain: str, tmp_path: Path) -> None:
    other = tiny_member(tmp_path / "other", 2, decoding={"candidates": 5, "temperature": 1.0, "max_positions": 20})
    model = open_named(f" {plain} ,{other}", None, ONE_THREAD, {"max_length": 9, "candidates": None, "labels": None})
    assert isinstance(model, Ensemble)
    assert model.shares == (0.5, 0.5)
    assert (model.rules.max_length, model.rules.candidates, model.rules.temperature) == (9, 3, 0.5)
    assert [member.rules.max_positions for member in model.members] == [24, 20]
    assert model.members[1].rules.candidates == 3
    assert descriptions(model, sounds(1))[0].candidates == 3
    three = open_captioning(f"{plain},{other},{plain}", [1, 2, 5])
    assert isinstance(three, Ensemble)
    assert three.shares == (0.125, 0.25, 0.625)


def test_one_bundle_is_no_ensemble(plain: str) -> None:
    assert isinstance(open_named(plain, None, ONE_THREAD, {}), Captioner)
    assert isinstance(open_captioning(plain, [2.0]), Captioner)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.3, 0.2]])
def test_each_bundle_needs_a_weight(plain: str, weights: list[float]) -> None:
    sentence = _refused(ConfigError, [plain, plain], weights)
    assert f"{len(weights)} weights" in sentence and "2 bundles" in sentence
    with pytest.raises(ConfigError, match="for 1 bundles"):
        open_captioning(plain, [0.5, 0.5])


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0]])
def test_members_weigh_something(plain: str, weights: list[float]) -> None:
    member = Captioner.open(plain, ONE_THREAD)
    with pytest.raises(ValueError, match="2 members"):
        Ensemble([member, member], weights)


def test_another_language(plain: str, tmp_path: Path) -> None:
    other = tiny_member(tmp_path / "deutsch", 2, language="de")
    sentence = _refused(DataError, [plain, other])
    assert all(word in sentence for word in (repr(plain), repr(other), "'en'", "'de'", "one language"))
    assert isinstance(open_captioning(f"{plain},{tiny_member(tmp_path / 'loud', 2, language='EN')}"), Ensemble)


def test_another_size_of_the_vocabulary(plain: str, tmp_path: Path) -> None:
    other = tiny_member(tmp_path / "padded", 2, Tiny(vocabulary=VOCABULARY + 6))
    sentence = _refused(DataError, [plain, other])
    assert f"{VOCABULARY} and {VOCABULARY + 6} tokens" in sentence


def test_another_special_token(plain: str, tmp_path: Path) -> None:
    other = tiny_member(tmp_path / "ends", 2, decoding={"pad_token_id": 0})
    assert "1 and 0 for decoding.pad_token_id" in _refused(DataError, [plain, other])


def test_words_in_another_order(plain: str, tmp_path: Path) -> None:
    """As many tokens, and the same words: only their numbers tell."""
    folder = tmp_path / "reordered"
    tiny_member(folder, 2)
    words = [WORDS[1], WORDS[0], *WORDS[2:]]
    word_tokenizer(words).save(str(folder / "tokenizer.json"))
    other = tiny_member_with(folder, entry(folder / "tokenizer.json"))
    sentence = _refused(DataError, [plain, other])
    assert "the token 'falls' is number" in sentence and "one vocabulary" in sentence


def tiny_member_with(folder: Path, tokenizer: dict[str, Any]) -> str:
    """The bundle in a folder with another entry for its decoder's tokenizer."""
    import json

    table = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    table["tokenizers"]["decoder"] = tokenizer
    return write(folder, table)


def test_another_kind_of_model(plain: str, tmp_path: Path) -> None:
    other = write(tmp_path / "dual", dual_encoder_table(tmp_path / "dual"))
    for names in ([plain, other], [other, plain]):
        assert "'dual_encoder', where one of the kind 'seq2seq' is needed" in _refused(DataError, names)


def test_choices_that_mean_nothing(plain: str) -> None:
    assert "labels means nothing" in _refused(ConfigError, [plain, plain], None, labels=("rain",))
    assert "cannot tell how familiar" in _refused(ConfigError, [plain, plain], None, min_familiarity=0.0)


def test_captions_longer_than_one_of_them_can_count(plain: str, tmp_path: Path) -> None:
    other = tiny_member(tmp_path / "short", 2, Tiny(positions=10), decoding={"max_length": 8})
    sentence = _refused(ConfigError, [plain, other])
    assert "max_length 12 exceeds" in sentence and repr(other) in sentence
    model = open_named(f"{plain},{other}", None, ONE_THREAD, {"max_length": 10})
    assert descriptions(model, sounds(1))
    assert isinstance(open_named(f"{other},{plain}", None, ONE_THREAD, {}), Ensemble), "the first one's rules count"


def test_no_common_words_for_unfamiliar_sounds(tmp_path: Path) -> None:
    names = [
        tiny_member(tmp_path / word, seed, familiarity={"threshold": 0.0, "words": [word]})
        for seed, word in enumerate(("rain", "dog"))
    ]
    assert "no word for unfamiliar sounds in common" in _refused(DataError, names)


def test_one_of_them_is_not_there(plain: str) -> None:
    assert "no bundle 'nowhere'" in _refused(InputMissingError, [plain, "nowhere"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (DEFAULT_BUNDLE, (DEFAULT_BUNDLE,)),
        ("a,b", ("a", "b")),
        (" a , b,c", ("a", "b", "c")),
        ("a,a", ("a", "a")),
        ("./here", ("./here",)),
        ("x" * 5000 + ",y", ("x" * 5000, "y")),
    ],
)
def test_names_in_a_list(text: str, names: tuple[str, ...]) -> None:
    assert bundle_names(text) == names


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", "a, ,b"])
def test_a_comma_with_nothing_beside_it(text: str) -> None:
    with pytest.raises(ConfigError, match="a comma with no name beside it"):
        bundle_names(text)


def test_a_folder_whose_name_has_a_comma_is_one_bundle(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "one,two"
    shutil.copytree(plain, folder)
    assert bundle_names(str(folder)) == (str(folder),)
    assert isinstance(open_captioning(str(folder)), Captioner)
    pulled = tmp_path / "share" / "edge-aac" / "bundles" / "left,right"
    shutil.copytree(plain, pulled)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert bundle_names("left,right") == ("left,right",)


def test_what_takes_one_bundle_says_so(plain: str) -> None:
    with pytest.raises(InputMissingError, match="one bundle is wanted here, not a list"):
        Captioner.open(f"{plain},{plain}")
