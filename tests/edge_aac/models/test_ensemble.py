"""The weighted ensemble: of a bundle with itself, with others, and what of it depends on what."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.windows import Window, file_windows
from edge_aac.bundle.manifest import MANIFEST, DecodingMethod, Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.choices import Choices
from edge_aac.models.contract import CancelledError, Description, NamingModel, Undecoded, shared_work
from edge_aac.models.ensemble import Ensemble, SharedByMembers
from edge_aac.models.opening import open_captioning
from edge_aac.models.sampling import log_softmax
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.models.sound_table import sounds_table
from edge_aac.timebase import SAMPLE_RATE
from tests.edge_aac.fakes import FakeSharedWork
from tests.edge_aac.models.ensemble_bundles import (
    descriptions,
    largest_difference,
    scores,
    sister_of_built_in,
    sounds,
    tiny_member,
)
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, entry, write

ONE_THREAD = EngineOptions("onnxruntime", 1)
METHODS: tuple[DecodingMethod, ...] = ("nucleus", "greedy", "beam")
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def sister(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As another seed would be, whose own weights of the two scores are others."""
    folder = tmp_path_factory.mktemp("bundles") / "sister"
    return sister_of_built_in(DEFAULT_BUNDLE, folder, 5, rerank={"log_likelihood": 0.6, "similarity": 0.4})


@pytest.fixture(scope="module")
def windows() -> list[Window]:
    return sounds(5)


@cache
def _alone(name: str, method: DecodingMethod = "nucleus") -> Captioner:
    """The built-in bundle or its sister, loaded once; both have the same rules of decoding."""
    return Captioner(open_bundle(name), ONE_THREAD, choices=Choices(method=method, fluency_check=False))


def _together(names: Sequence[str], weights: Sequence[float], method: DecodingMethod = "nucleus") -> Ensemble:
    return Ensemble([_alone(name, method) for name in names], weights)


def _opened(names: Sequence[str], weights: Sequence[float]) -> Ensemble:
    choices = Choices(fluency_check=False)
    model = open_captioning(",".join(names), weights, ONE_THREAD, choices=choices)
    assert isinstance(model, Ensemble)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_of_a_bundle_with_itself_it_is_the_bundle(method: DecodingMethod, windows: list[Window]) -> None:
    alone = Captioner(open_bundle(DEFAULT_BUNDLE), ONE_THREAD, choices=Choices(method=method))
    model = open_captioning(f"{DEFAULT_BUNDLE}, {DEFAULT_BUNDLE}", [0.6, 0.4], ONE_THREAD, None, Choices(method=method))
    expected, found = descriptions(alone, windows), descriptions(model, windows)
    assert len({description.best.hybrid for description in expected}) > 1, "or any would do"
    assert largest_difference(expected, found) <= TOLERANCE
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.audio_embedding, other.audio_embedding)
        assert (one.candidates, one.familiar) == (other.candidates, other.familiar)
        assert one.familiarity == pytest.approx(other.familiarity, abs=1e-5)
        assert [caption.errors for caption in one.ranked] == [caption.errors for caption in other.ranked]


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_near_nothing_leaves_the_other_bundle(
    method: DecodingMethod, sister: str, windows: list[Window]
) -> None:
    expected = descriptions(_alone(DEFAULT_BUNDLE, method), windows)
    nearly = descriptions(_together([DEFAULT_BUNDLE, sister], [1.0, 1e-8], method), windows)
    assert largest_difference(expected, nearly) <= TOLERANCE
    half = descriptions(_together([DEFAULT_BUNDLE, sister], [1.0, 1.0], method), windows)
    assert largest_difference(expected, half) > 1e-3, "or the other one would not count at all"


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_members_does_not_matter(method: DecodingMethod, sister: str, windows: list[Window]) -> None:
    one = descriptions(_together([DEFAULT_BUNDLE, sister], [0.7, 0.3], method), windows)
    other = descriptions(_together([sister, DEFAULT_BUNDLE], [0.3, 0.7], method), windows)
    assert largest_difference(one, other) <= TOLERANCE


def test_weights_count_by_their_ratio(sister: str, windows: list[Window]) -> None:
    one, other = (_together([DEFAULT_BUNDLE, sister], weights) for weights in ([0.6, 0.4], [30.0, 20.0]))
    assert one.shares == pytest.approx(other.shares)
    assert largest_difference(descriptions(one, windows), descriptions(other, windows)) <= TOLERANCE


@pytest.mark.parametrize("method", METHODS)
def test_a_window_s_captions_do_not_depend_on_the_others(
    method: DecodingMethod, sister: str, windows: list[Window]
) -> None:
    model = _together([DEFAULT_BUNDLE, sister], [0.5, 0.5], method)
    together = descriptions(model, windows)
    alone = [descriptions(model, [window])[0] for window in windows]
    for one, other in zip(together, alone, strict=True):
        assert [caption.log_likelihood for caption in one.ranked] == [c.log_likelihood for c in other.ranked]
    # The text embedder's padding may show in the last bits of a similarity.
    assert largest_difference(together, alone) <= TOLERANCE
    assert largest_difference(together[::-1], descriptions(model, windows[::-1])) <= TOLERANCE


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_formula(method: DecodingMethod, sister: str, windows: list[Window]) -> None:
    """Each caption is read by each member anew, one token after the other, without any beam or candidate beside it."""
    weights = np.array([0.7, 0.3])
    model = _together([DEFAULT_BUNDLE, sister], weights.tolist(), method)
    members = [_alone(name) for name in (DEFAULT_BUNDLE, sister)]
    one_row = members[0].rules.model_copy(update={"candidates": 1})
    for window in windows[:2]:
        encoded = [member.encode([window], lambda: False) for member in members]
        (description,) = descriptions(model, [window])
        for text, (hybrid, log_likelihood, similarity) in scores(description).items():
            ids = members[0].tokenizer.encode(text).ids
            ids = ids[1:] if ids[0] == model.rules.start_token_id else ids
            ids = ids if ids[-1] == model.rules.eos_token_id else [*ids, model.rules.eos_token_id]
            opened = [
                member.decoder.open_steps(of_one.memory, one_row)[0]
                for member, of_one in zip(members, encoded, strict=True)
            ]
            total, fed = 0.0, model.rules.start_token_id
            for position, token in enumerate(ids):
                logits = [steps.step(np.array([[fed]]), position).astype(np.float64) for steps in opened]
                probability = sum(
                    w * math.exp(log_softmax(of)[0, token]) for w, of in zip(weights, logits, strict=True)
                )
                total, fed = total + math.log(probability), token
            assert log_likelihood == pytest.approx(total / len(ids), abs=1e-5)
            cosines = []
            for member, of_one in zip(members, encoded, strict=True):
                audio = of_one.audio_embeddings[0]
                cosines.append(float(member.embed([text])[0] @ audio / np.linalg.norm(audio)))
            own = [0.3 * log_likelihood + 0.7 * cosines[0], 0.6 * log_likelihood + 0.4 * cosines[1]]
            assert hybrid == pytest.approx(float(weights @ own), abs=1e-5)
            by = weights * [0.7, 0.4]
            assert similarity == pytest.approx(float(by @ cosines / by.sum()), abs=1e-5)


def test_the_user_s_weights_of_the_scores_go_before_all_bundles(sister: str, windows: list[Window]) -> None:
    choices = Choices(likelihood_weight=1.0, similarity_weight=0.0)
    model = open_captioning(f"{DEFAULT_BUNDLE},{sister}", None, ONE_THREAD, 4, choices)
    for caption in descriptions(model, windows[:1])[0].ranked:
        assert caption.similarity is None
        assert caption.hybrid == pytest.approx(caption.log_likelihood)
    assert model.rules.candidates == 4


def test_a_member_that_compares_nothing_does_not_count_for_the_similarity(
    tmp_path: Path, windows: list[Window]
) -> None:
    """Its dimensions may even be others."""
    one = tiny_member(tmp_path / "one", 1)
    other = tiny_member(tmp_path / "two", 2, Tiny(text_embedding=4), rerank={"log_likelihood": 1.0, "similarity": 0.0})
    model, alone = _opened([one, other], [1.0, 3.0]), Captioner.open(one, ONE_THREAD)
    (found,) = descriptions(model, windows[:1])
    audio = found.audio_embedding / np.linalg.norm(found.audio_embedding)
    texts = sorted(scores(found))
    cosines = dict(zip(texts, alone.embed(texts) @ audio, strict=True))
    for caption in found.ranked:
        assert caption.similarity is not None and caption.log_likelihood is not None
        assert caption.similarity == pytest.approx(float(cosines[caption.text]), abs=1e-5)
        own = 0.3 * caption.log_likelihood + 0.7 * caption.similarity
        assert caption.hybrid == pytest.approx(0.25 * own + 0.75 * caption.log_likelihood, abs=1e-5)


def test_what_it_says_of_itself(sister: str) -> None:
    model, first = _together([sister, DEFAULT_BUNDLE], [1.0, 2.0]), _alone(sister)
    version = model.members[1].identity.version
    assert model.identity.model_dump() == {
        "bundle": f"sister,{DEFAULT_BUNDLE}",
        "version": f"7,{version}",
        "backend": "onnxruntime",
        "precision": "fp32",
    }
    assert (model.language, model.same_similarity) == (first.language, first.same_similarity)
    assert np.array_equal(model.embed(["rain falls"]), first.embed(["rain falls"]))
    assert [bundle.manifest.name for bundle in model.bundles] == ["sister", DEFAULT_BUNDLE]
    assert (shared_work(model) is None) == (first.bundle.manifest.patches is None)


def test_only_what_is_wanted_is_encoded_by_the_others(
    sister: str, windows: list[Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _together([DEFAULT_BUNDLE, sister], [0.5, 0.5])
    whole = descriptions(model, windows)
    encoded: list[list[int]] = []
    encode = Captioner.encode

    def watched(self: Captioner, windows: Sequence[Window], *rest: object) -> object:
        encoded.append([window.start for window in windows])
        return encode(self, windows, *rest)

    monkeypatch.setattr(Captioner, "encode", watched)
    rngs = [window_rng(0, window.start) for window in windows]
    found = model.describe_wanted(windows, rngs, lambda number, _: number in {1, 3})
    assert encoded == [[window.start for window in windows], [windows[1].start, windows[3].start]]
    assert [isinstance(each, Undecoded) for each in found] == [True, False, True, False, True]
    kept = [each for each in found if isinstance(each, Description)]
    assert largest_difference([whole[1], whole[3]], kept) <= TOLERANCE
    assert kept[0].latency_ms.encode > found[0].latency_ms.encode  # type: ignore[union-attr]
    assert [rng.random() for rng in rngs[::2]] == [window_rng(0, w.start).random() for w in windows[::2]]


def test_a_window_without_numbers_is_told_and_spoils_no_other(sister: str) -> None:
    model = _together([DEFAULT_BUNDLE, sister], [0.5, 0.5])
    windows = sounds(3)
    expected = descriptions(model, windows[:1])
    windows[1].fbank[5, 7] = math.nan
    found = model.describe(windows, [window_rng(0, window.start) for window in windows])
    assert isinstance(found[1], DataError) and isinstance(found[2], Description)
    assert isinstance(found[0], Description) and largest_difference(expected, [found[0]]) <= TOLERANCE
    assert largest_difference(expected, descriptions(model, windows[:1])) <= TOLERANCE


def test_it_is_given_up_on_request(sister: str, windows: list[Window]) -> None:
    model, checks = _together([DEFAULT_BUNDLE, sister], [0.5, 0.5]), []

    def cancelled(after: int) -> bool:
        checks.append(0)
        return len(checks) > after

    for after in (0, 3, 6):  # before the first encoder, the second, and a step of both decoders
        checks.clear()
        with pytest.raises(CancelledError):
            model.describe(windows[:2], [window_rng(0, 0)] * 2, lambda after=after: cancelled(after))  # type: ignore[misc]
        assert len(checks) == after + 1


def _scoring(folder: Path, seed: int, threshold: float | None, words: Sequence[str] = ("rain", "falls", "a")) -> str:
    rule = {} if threshold is None else {"familiarity": {"threshold": threshold, "words": list(words)}}
    return tiny_member(folder, seed, **rule)


def test_familiarity_is_the_mean_of_those_that_score_it(tmp_path: Path, windows: list[Window]) -> None:
    names = [_scoring(tmp_path / "a", 1, -1e3, ("rain", "falls", "a", "dog")), _scoring(tmp_path / "b", 2, 500.0)]
    names.append(_scoring(tmp_path / "c", 3, None))
    own = [descriptions(Captioner.open(name, ONE_THREAD), windows[:1])[0] for name in names]
    assert [one.familiar for one in own] == [True, False, True]
    model = _opened(names, [1.0, 3.0, 9.0])
    assert model.familiarity is not None
    assert model.familiarity.threshold == pytest.approx(0.25 * -1e3 + 0.75 * 500.0)
    assert model.familiarity.words == ["rain", "falls", "a"]
    (found,) = descriptions(model, windows[:1])
    assert own[0].familiarity is not None and own[1].familiarity is not None
    assert found.familiarity == pytest.approx(0.25 * own[0].familiarity + 0.75 * own[1].familiarity, abs=1e-4)
    assert not found.familiar
    assert {word for caption in found.ranked for word in caption.text.split()} <= {"rain", "falls", "a"}
    (found,) = descriptions(_opened(names, [3.0, 1.0, 9.0]), windows[:1])
    assert found.familiar


def test_a_threshold_is_for_those_that_score(tmp_path: Path, windows: list[Window]) -> None:
    names = f"{_scoring(tmp_path / 'a', 1, 1e3)},{_scoring(tmp_path / 'b', 2, None)}"
    strict, open_minded = (
        open_captioning(names, None, ONE_THREAD, None, Choices(min_familiarity=threshold)) for threshold in (None, -1e3)
    )
    assert [descriptions(model, windows[:1])[0].familiar for model in (strict, open_minded)] == [False, True]


def test_members_share_patches_each_its_own(tmp_path: Path) -> None:
    tinies = [Tiny(patches=(98, 50)), Tiny(patches=(98, 30)), Tiny()]
    names = []
    for number, tiny in enumerate(tinies):
        folder = tmp_path / str(number)
        names.append(write(folder, captioner_table(folder, tiny)))
    model = _opened(names, [1.0, 1.0, 1.0])
    work = shared_work(model)
    assert work is not None
    assert work.hop_samples == 150 * 160
    sound = np.random.default_rng(0).normal(0.0, 0.1, 13 * SAMPLE_RATE).astype(np.float32)
    windows = list(file_windows([sound], work.hop_samples))
    assert len(windows) == 3
    before = work.computed
    together = descriptions(model, windows)
    assert (work.computed - before, work.reused) == (19 + 31 + 2 * (3 + 5), 2 * (16 + 26))
    single = [descriptions(_opened(names, [1.0, 1.0, 1.0]), [window])[0] for window in windows]
    for one, other in zip(together, single, strict=True):
        assert {c.text: c.log_likelihood for c in one.ranked} == {c.text: c.log_likelihood for c in other.ranked}
    assert shared_work(_opened(names[1:], [1.0, 1.0])).hop_samples == 30 * 160  # type: ignore[union-attr]


def test_sounds_are_those_of_the_first_bundle_that_lists_any(tmp_path: Path) -> None:
    tiny_member(tmp_path / "a", 1)
    names = SoundNames({"rain": SoundWords((), (Say(("rain",), ("falls",)),), ())}, ("and",))
    (tmp_path / "a" / "sounds.json").write_text(json.dumps(sounds_table(names)), encoding="utf-8")
    table = json.loads((tmp_path / "a" / MANIFEST).read_text(encoding="utf-8"))
    listing = write(tmp_path / "a", {**table, "sounds": entry(tmp_path / "a" / "sounds.json")})
    plain = tiny_member(tmp_path / "b", 2)
    for members in ([listing, plain], [plain, listing]):
        model = _opened(members, [1.0, 1.0])
        assert isinstance(model, NamingModel)
        assert model.sound_names is not None and list(model.sound_names.sounds) == ["rain"]
    assert _opened([plain, plain], [1.0, 1.0]).sound_names is None


def test_shared_work_is_summed() -> None:
    works = [FakeSharedWork(), FakeSharedWork()]
    both = SharedByMembers(works)
    assert both.computed == sum(work.computed for work in works)
    assert both.reused == sum(work.reused for work in works)


def test_each_member_has_its_own_rules_but_for_decoding(sister: str) -> None:
    model = _together([sister, DEFAULT_BUNDLE], [1.0, 1.0])
    assert model.members[1].rules == model.rules
    manifests = [bundle.manifest_of(Seq2SeqManifest) for bundle in model.bundles]
    assert [manifest.rerank.similarity for manifest in manifests] == [0.4, 0.7]
