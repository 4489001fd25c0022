"""No sound is named of which the encoder is not sure enough, and something can be said all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.bundle.manifest import MANIFEST, DecodingMethod, DecodingRules
from edge_aac.bundle.store import open_bundle
from edge_aac.bundle.sureness import SurenessRule
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description, not_cancelled
from edge_aac.models.decoding import find_candidates
from edge_aac.models.ensemble import Ensemble
from edge_aac.models.opening import open_captioning
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.models.sureness import Sureness
from edge_aac.models.tokens import token_of
from tests.edge_aac.bundle.bundle_folder import one_sentence
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models import tiny_bundle as tiny
from tests.edge_aac.models.ensemble_bundles import descriptions, scores
from tests.edge_aac.models.piece_words import RandomSteps
from tests.edge_aac.models.sure_bundles import FREE, NAMES, NAMING, ORDER, SURE, allowed, between, noises, sure_bundle
from tests.edge_aac.models.tiny_bundle import VOCABULARY, WORDS, Tiny, captioner_table, write

ONE_THREAD = EngineOptions("onnxruntime", 1)
METHODS: tuple[DecodingMethod, ...] = ("nucleus", "greedy", "beam")
_RULE = SurenessRule(threshold=0.5, names=list(ORDER), words=list(FREE))
_CONFIDENCE = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0, width=32))


def _open(folder: str, threshold: float | None = None, **choices: Any) -> Captioner:
    return Captioner.open(folder, ONE_THREAD, None, Choices(min_confidence=threshold, fluency_check=False, **choices))


def _told(model: Captioner, number: int) -> dict[str, float]:
    """Confidences of one of the windows of :func:`noises`, as the encoder gives them."""
    sounds = model.encode([noises(number + 1)[number]], not_cancelled).sounds
    assert sounds is not None
    return dict(zip(ORDER, sounds[0].tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(st.tuples(*[_CONFIDENCE] * len(ORDER)), _CONFIDENCE)
def test_a_word_is_withheld_where_all_that_it_names_is_unsure(told: tuple[float, ...], threshold: float) -> None:
    tokenizer = word_tokenizer(WORDS)
    sureness = Sureness.of(_RULE, NAMES, tokenizer, VOCABULARY).with_threshold(threshold)
    raised = sureness.raised(np.array([told], np.float32))[0]
    held = sureness.sayable(raised)
    free = set(range(VOCABULARY)) if held is None else set(np.flatnonzero(~between(held)).tolist())
    words = {word for word in WORDS if token_of(tokenizer, word) in free}
    confidences = dict(zip(ORDER, np.float32(told).tolist(), strict=True))
    assert words == allowed(confidences, threshold)
    assert {0, 1, 2, 3} <= free, "special tokens name nothing"
    assert (held is None) == (words == set(WORDS)), "or decoding would not be the same, bit for bit"


@settings(max_examples=100, deadline=None)
@given(st.tuples(*[_CONFIDENCE] * len(ORDER)))
def test_a_coarser_sound_is_as_sure_as_its_surest_example(told: tuple[float, ...]) -> None:
    sureness = Sureness.of(_RULE, NAMES, word_tokenizer(WORDS), VOCABULARY)
    given_ = dict(zip(ORDER, np.float32(told).tolist(), strict=True))
    raised = dict(zip(ORDER, sureness.raised(np.array([told], np.float32))[0].tolist(), strict=True))
    assert raised == {**given_, "animal": max(given_[name] for name in ("animal", "dog", "birds"))}


def test_what_is_no_number_is_not_sure() -> None:
    sureness = Sureness.of(_RULE, NAMES, word_tokenizer(WORDS), VOCABULARY)
    raised = sureness.raised(np.array([[0.9, np.nan, np.nan, 0.1, 0.2]], np.float32))
    assert raised[0].tolist() == pytest.approx([0.9, 0.0, 0.2, 0.1, 0.2])


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(st.tuples(*[_CONFIDENCE] * len(ORDER)), _CONFIDENCE, st.integers(0, 2**32), st.integers(1, 9))
def test_a_caption_of_any_length_can_be_finished(
    method: DecodingMethod, told: tuple[float, ...], threshold: float, seed: int, min_length: int
) -> None:
    sureness = Sureness.of(_RULE, NAMES, word_tokenizer(WORDS), VOCABULARY).with_threshold(threshold)
    held = sureness.sayable(sureness.raised(np.array([told], np.float32))[0])
    rules = DecodingRules(method=method, candidates=3, beams=3, min_length=min_length, max_length=12, no_repeat_ngram=3)
    (found,) = find_candidates(RandomSteps(seed, VOCABULARY), rules, [np.random.default_rng(seed)], held=[held])
    assert isinstance(found, list)
    for candidate in found:
        assert min_length <= 1 + len(candidate.token_ids) < rules.max_length
        assert held is None or not between(held)[list(candidate.token_ids)].any()
        assert np.isfinite(candidate.log_likelihood)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("words", [FREE, ("a",)], ids=["three", "one"])
def test_withheld_words_are_never_said_over_many_seeds(
    method: DecodingMethod, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Over many sounds and seeds, down to windows of whose sounds none is sure and a single free word."""
    model = _open(sure_bundle(tmp_path, words=words, decoding={"no_repeat_ngram": 2, "beams": 4}), 0.6, method=method)
    said: set[str] = set()
    kept: set[str] = set()
    for number, window in enumerate(noises(12)):
        told = _told(model, number)
        may = allowed(told, 0.6, words)
        kept |= set(WORDS) - may
        for seed in range(4 if method == "nucleus" else 1):
            (found,) = model.describe([window], [window_rng(seed, number)])
            assert isinstance(found, Description)
            for caption in found.ranked:
                spoken = caption.text.split()
                assert set(spoken) <= may, (told, caption.text)
                said |= set(spoken)
    assert said & NAMING, "or nothing could ever be named"
    assert kept >= NAMING, "or nothing was ever withheld"


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_sure_nothing_familiar_is_heard(method: DecodingMethod, tmp_path: Path) -> None:
    model = _open(sure_bundle(tmp_path), 1.0, method=method)
    for found in descriptions(model, noises(4)):
        assert not found.familiar and found.sounds == {}
        assert not {word for caption in found.ranked for word in caption.text.split()} & NAMING
    assert all(found.familiar for found in descriptions(_open(model.bundle.opened_as, 0.0), noises(4)))


@pytest.mark.parametrize("method", METHODS)
def test_a_threshold_of_0_changes_nothing(method: DecodingMethod, tmp_path: Path) -> None:
    plain = _open(write(tmp_path / "a", captioner_table(tmp_path / "a", Tiny())), method=method)
    sure = _open(sure_bundle(tmp_path / "b"), 0.0, method=method)
    for one, other in zip(descriptions(plain, noises(6)), descriptions(sure, noises(6)), strict=True):
        assert scores(one) == scores(other)
        assert np.array_equal(one.audio_embedding, other.audio_embedding)
        assert (one.familiar, one.familiarity, one.sounds) == (True, None, None)
        assert (other.familiar, other.familiarity) == (True, None) and other.sounds is not None


def test_a_window_does_not_depend_on_the_others(tmp_path: Path) -> None:
    model = _open(sure_bundle(tmp_path), 0.6)
    together = descriptions(model, noises(6))
    alone = [descriptions(model, [window])[0] for window in noises(6)]
    for one, other in zip(together, alone, strict=True):
        assert {c.text: (c.log_likelihood, c.sounds) for c in one.ranked} == {
            c.text: (c.log_likelihood, c.sounds) for c in other.ranked
        }


def test_a_description_tells_how_sure_what_it_names_is(tmp_path: Path) -> None:
    model = _open(sure_bundle(tmp_path), 0.0)
    named: set[str] = set()
    for number, found in enumerate(descriptions(model, noises(8))):
        told = _told(model, number)
        told["animal"] = max(told[name] for name in ("animal", "dog", "birds"))
        for caption in found.ranked:
            assert caption.sounds == pytest.approx({name: told[name] for name in NAMES.named(caption.text)})
            named |= set(NAMES.named(caption.text))
        assert found.sounds == found.best.sounds
    assert len(named) > 2


def test_both_rules_hold_where_there_are_two(tmp_path: Path) -> None:
    familiarity = {"threshold": 1e6, "words": ["rain", "thunder", "on"]}
    model = _open(sure_bundle(tmp_path, familiarity=familiarity, decoding={"no_repeat_ngram": 2}), 0.6)
    said = set()
    for number, found in enumerate(descriptions(model, noises(8))):
        words = {word for caption in found.ranked for word in caption.text.split()}
        assert not found.familiar
        assert words <= {"rain", "thunder", "on"} & (allowed(_told(model, number), 0.6) | {"on"})
        said |= words
    assert len(said) > 1


def test_two_rules_that_leave_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing could be said"):
        _open(sure_bundle(tmp_path, familiarity={"threshold": 0.0, "words": ["rain", "thunder"]}))


def _ensemble(folders: list[str], weights: list[float], threshold: float | None = None) -> Ensemble:
    choices = Choices(min_confidence=threshold, fluency_check=False)
    model = open_captioning(",".join(folders), weights, ONE_THREAD, choices=choices)
    assert isinstance(model, Ensemble)
    return model


def test_members_tell_together_how_sure_they_are(tmp_path: Path) -> None:
    folders = [sure_bundle(tmp_path / "a", 0.2), sure_bundle(tmp_path / "b", 0.8)]
    folders.append(write(tmp_path / "c", captioner_table(tmp_path / "c", Tiny())))
    ensemble = _ensemble(folders, [1.0, 3.0, 9.0])
    assert ensemble.sureness is not None
    assert ensemble.sureness.rule.threshold == pytest.approx(0.25 * 0.2 + 0.75 * 0.8)
    window, members = noises(1), [_open(folder) for folder in folders[:2]]
    encoded = ensemble.complete(ensemble.encode(window, not_cancelled), window, [0], not_cancelled)
    own = [list(_told(member, 0).values()) for member in members]
    assert encoded.sounds is not None
    assert encoded.sounds[0] == pytest.approx(np.average(own, axis=0, weights=[1.0, 3.0]), abs=1e-6)
    strict = _ensemble(folders, [1.0, 3.0, 9.0], 1.0)
    for found in descriptions(strict, noises(3)):
        assert not found.familiar and not set(found.best.text.split()) & NAMING


def test_members_of_other_sounds_do_not_caption_together(tmp_path: Path) -> None:
    changed = {name: words for name, words in NAMES.sounds.items()}
    changed["dog"] = changed["birds"]
    other = sure_bundle(tmp_path / "b", names=type(NAMES)(changed, NAMES.connectives))
    with pytest.raises(DataError) as caught:
        _ensemble([sure_bundle(tmp_path / "a"), other], [1.0, 1.0])
    assert "list different sounds" in one_sentence(caught)


def test_a_bundle_that_cannot_tell_has_no_threshold(tmp_path: Path) -> None:
    plain = write(tmp_path, captioner_table(tmp_path))
    with pytest.raises(ConfigError, match="cannot tell how sure it is of a sound"):
        _open(plain, 0.5)
    with pytest.raises(ConfigError, match="threshold"):
        _open(sure_bundle(tmp_path / "sure"), 1.5)


def _names(*names: str) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["sureness"].update(names=list(names))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_names(*ORDER[:-1]), "gives sounds of size 5, but the number of sureness.names is 4"),
        (_names(*ORDER[:-1], "cat"), "sureness.names has 'cat', for which no words are listed"),
        (_names(*ORDER[:-1], "rain"), "the sound 'rain' stands twice"),
        (lambda table: table["sureness"].update(threshold=1.5), "threshold"),
        (lambda table: table["sureness"].update(words=["stone"]), "none of sureness.words can be said"),
        (lambda table: table.pop("sounds"), "no list of the sounds with their words"),
        (lambda table: table["graphs"]["encoder"][0]["shapes"].pop("sounds"), "does not tell how sure it is"),
    ],
)
def test_a_manifest_that_does_not_fit_its_sounds(
    change: Callable[[dict[str, Any]], object], named: str, tmp_path: Path
) -> None:
    folder = sure_bundle(tmp_path)
    table = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    change(table)
    write(tmp_path, table)
    with pytest.raises(DataError) as caught:
        Captioner(open_bundle(folder), ONE_THREAD).try_out()
    assert named in one_sentence(caught)


def test_more_sounds_are_listed_than_the_encoder_tells(tmp_path: Path) -> None:
    more = {**NAMES.sounds, "snow": NAMES.sounds["rain"]}
    folder = sure_bundle(tmp_path, names=type(NAMES)(more, NAMES.connectives))
    with pytest.raises(DataError) as caught:
        _open(folder)
    assert "6 sounds are listed, 5 are in sureness.names: 'snow' is not among them" in one_sentence(caught)


def test_what_an_encoder_gives_is_tried_out(tmp_path: Path) -> None:
    folder = sure_bundle(tmp_path)
    table = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    model = tiny.encoder(SURE)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type = "Identity"
    tiny.onnx.save(model, str(tmp_path / "encoder.onnx"))
    table["graphs"]["encoder"] = [tiny.graph_entry(tmp_path / "encoder.onnx")]
    write(tmp_path, table)
    with pytest.raises(DataError) as caught:
        _open(folder)
    assert "gives sounds that are no confidences" in one_sentence(caught)
