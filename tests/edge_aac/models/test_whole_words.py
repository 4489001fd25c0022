"""Captions are made of whole words, whatever the decoder wants and whatever is withheld."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordPiece

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import play_programme
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import DecodingMethod, DecodingRules
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import not_cancelled
from edge_aac.models.decoding import find_candidates
from edge_aac.models.mixture import MixtureSteps
from edge_aac.models.opening import open_captioning
from edge_aac.models.sampling import constrain
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.models.tokens import to_text, ways_to_say
from edge_aac.models.whole_words import Held, RowWords, Sayable, WholeWords
from edge_aac.timebase import SAMPLE_RATE
from tests.edge_aac.fakes import SPECIAL_TOKENS
from tests.edge_aac.models import sure_bundles
from tests.edge_aac.models.ensemble_bundles import descriptions
from tests.edge_aac.models.piece_words import KINDS, KNOWN, ORDER, RandomSteps, may_be_said, sureness_of, tokenizer_of
from tests.edge_aac.models.tiny_bundle import VOCABULARY, entry

METHODS: tuple[DecodingMethod, ...] = ("nucleus", "greedy", "beam")
END = 2
_CONFIDENCES = st.tuples(*[st.sampled_from([0.0, 1.0])] * len(ORDER))
_UNSURE = (0.0,) * len(ORDER)


def _rules(**changes: object) -> DecodingRules:
    return DecodingRules(candidates=3, beams=3, min_length=1, max_length=12).model_copy(update=changes)


def _held(kind: str, told: Sequence[float]) -> Held:
    sureness = sureness_of(kind)
    return sureness.sayable(sureness.raised(np.array([told], np.float32))[0])


def _sayable(kind: str, told: Sequence[float] = _UNSURE) -> Sayable:
    held = _held(kind, told)
    assert isinstance(held, Sayable)
    return held


@pytest.mark.parametrize("kind", KINDS)
def test_the_cases_are_worth_something(kind: str) -> None:
    """Words of several tokens that others begin with, and that begin alike."""
    tokenizer, tree = tokenizer_of(kind), sureness_of(kind).tree
    said = {word: ways_to_say(tokenizer, word)[1] for word in KNOWN}
    assert all(said.values())
    assert said["more"][0] == said["mouse"][0] == said["motorcycle"][0] and len(said["more"]) > 1
    assert said["motorcycle"][: len(said["motor"])] == said["motor"] and len(said["dogs"]) > 1
    assert (tree.start != 0) == (kind == KINDS[2])
    assert tree.longest >= 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    _CONFIDENCES,
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.integers(6, 14),
    st.integers(0, 4),
    st.sampled_from([0.5, 20.0]),
)
def test_captions_hold_known_words_alone(
    kind: str,
    method: DecodingMethod,
    told: tuple[float, ...],
    seed: int,
    min_length: int,
    max_length: int,
    no_repeat_ngram: int,
    spread: float,
) -> None:
    tokenizer = tokenizer_of(kind)
    held = [_held(kind, told), _held(kind, _UNSURE)]
    rules = _rules(method=method, min_length=min_length, max_length=max_length, no_repeat_ngram=no_repeat_ngram)
    steps = RandomSteps(seed, tokenizer.get_vocab_size(), spread)
    found = find_candidates(steps, rules, [np.random.default_rng(seed + n) for n in range(2)], held=held)
    allowed = may_be_said(dict(zip(ORDER, told, strict=True))), may_be_said(dict.fromkeys(ORDER, 0.0))
    for window, (candidates, may) in enumerate(zip(found, allowed, strict=True)):
        assert isinstance(candidates, list)
        for candidate in candidates if held[window] is not None else ():
            assert set(to_text(tokenizer, candidate.token_ids).split()) <= may
            assert len(candidate.token_ids) < rules.max_length - 1
            assert np.isfinite(candidate.log_likelihood)


def _spelt_out(forms: Sequence[tuple[int, ...]], tail: Sequence[int], room: int) -> tuple[set[int], bool]:
    """Tokens that may follow the tail of a caption that is no whole word yet, or could be a longer one; and whether it
    may end there."""
    depth = len(tail)
    may = {form[depth] for form in forms if form[:depth] == tuple(tail) and depth < len(form) <= depth + room}
    whole = not tail or tuple(tail) in forms
    return (may | {form[0] for form in forms if len(form) <= room} if whole else may), whole


@pytest.mark.parametrize("kind", KINDS[:2])
@settings(max_examples=60, deadline=None)
@given(_CONFIDENCES, st.randoms(use_true_random=False), st.integers(4, 12))
def test_what_may_follow_spelt_out(kind: str, told: tuple[float, ...], random: object, max_length: int) -> None:
    held = _held(kind, told)
    if held is None:
        return
    tokenizer = tokenizer_of(kind)
    words = may_be_said(dict(zip(ORDER, told, strict=True)))
    forms = [ways_to_say(tokenizer, word)[1] for word in words]
    rows = RowWords([held], 1, END, max_length)
    tail: list[int] = []
    for length in range(1, max_length - 1):
        masks = rows.withheld(length)[0]
        may, whole = _spelt_out(forms, tail, max_length - 1 - length)
        assert set(np.flatnonzero(~masks).tolist()) - {0, 1, 2, 3} == may
        assert masks[END] != whole
        if not may:
            break
        token = random.choice(sorted(may))  # type: ignore[attr-defined]
        rows.follow(np.array([token]))
        goes_on = any(form[: len(tail) + 1] == (*tail, token) for form in forms)
        tail = [*tail, token] if goes_on else [token]
        if tuple(tail) in forms and not any(form[: len(tail)] == tuple(tail) != form for form in forms):
            tail = []


class _Wanting:
    """A decoder that wants some tokens in turn, whatever it was given; then the end, and less and less the others."""

    def __init__(self, wanted: Sequence[int], vocabulary: int) -> None:
        self._logits = np.zeros((len(wanted) + 40, vocabulary), np.float32)
        self._logits[: len(wanted), END] = -30.0
        for place, token in enumerate([*wanted, *[END] * 40]):
            self._logits[place, token] += 30.0

    def step(self, token_ids: np.ndarray, step: int) -> np.ndarray:
        return np.repeat(self._logits[step : step + 1], len(token_ids), axis=0)

    def reorder(self, parents: np.ndarray, length: int) -> None:
        pass


def _said(kind: str, wanted: Sequence[int], method: DecodingMethod, held: Held, **changes: object) -> str:
    tokenizer = tokenizer_of(kind)
    rules = _rules(method=method, **changes)
    steps = _Wanting(wanted, tokenizer.get_vocab_size())
    (found,) = find_candidates(steps, rules, [np.random.default_rng(0)], held=[held])
    assert isinstance(found, list)
    return to_text(tokenizer, found[0].token_ids)


def _tokens(kind: str, *words: str) -> list[int]:
    tokenizer = tokenizer_of(kind)
    return [*ways_to_say(tokenizer, words[0])[0], *(t for word in words[1:] for t in ways_to_say(tokenizer, word)[1])]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_beginning_of_a_word_is_no_word(kind: str, method: DecodingMethod) -> None:
    """A decoder that wants a motorcycle, of which nothing is sure, is not left with "a mo"."""
    wanted = _tokens(kind, "a", "motorcycle", "and", "a", "dog")
    assert set(_said(kind, wanted, method, _sayable(kind)).split()) <= may_be_said(dict.fromkeys(ORDER, 0.0))
    sure = _held(kind, tuple(float(name == "motorcycle") for name in ORDER))
    assert _said(kind, wanted[:-1], method, sure).startswith("a motorcycle and a")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_said_is_said_as_ever(kind: str, method: DecodingMethod) -> None:
    """Words that may be longer, and those that begin as withheld ones do."""
    sure = _held(kind, tuple(float(name == "dog") for name in ORDER))
    for text in ("a dog and the dogs", "dogged dogs and a dog", "more and moved", "the dog moves a dogs' bark"):
        wanted = _tokens(kind, *text.split())
        assert _said(kind, wanted, method, sure, max_length=40, no_repeat_ngram=0) == text


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_word_that_comes_again_is_finished(kind: str, method: DecodingMethod) -> None:
    """Its tokens are an n-gram that the caption holds already; half of it is no word."""
    sure = _held(kind, tuple(float(name == "motorcycle") for name in ORDER))
    text = "a motorcycle and the motorcycle"
    said = _said(kind, _tokens(kind, *text.split()), method, sure, max_length=30).split()
    assert set(said) <= KNOWN and said[:4] == text.split()[:4] and len(said) > 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("max_length", range(3, 12))
@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_begun_that_cannot_be_finished(kind: str, max_length: int, method: DecodingMethod) -> None:
    sure = _held(kind, tuple(float(name == "motorcycle") for name in ORDER))
    said = _said(kind, _tokens(kind, "a", "motorcycle", "revs"), method, sure, max_length=max_length).split()
    assert set(said) <= KNOWN
    whole = len(_tokens(kind, "a", "motorcycle"))
    assert ("motorcycle" in said) == (max_length >= whole + 2), said


def test_a_row_in_a_word_may_repeat_itself_and_any_other_ends() -> None:
    withheld = np.ones((3, 9), bool)
    withheld[0, [5, 6]] = withheld[1, [5, END]] = withheld[2, [7, 8]] = False
    prefixes = np.array([[4, 5, 4], [4, 5, 4], [4, 5, 4]])
    logits = np.arange(27, dtype=np.float32).reshape(3, 9)
    logits[0, 6] = -np.inf
    logits[2, [7, 8]] = -np.inf
    scores = constrain(logits, prefixes, _rules(no_repeat_ngram=2, min_length=5), withheld)
    assert np.isfinite(scores[0]).nonzero()[0].tolist() == [5], "only the n-gram is in its way"
    assert scores[0, 5] == logits[0, 5]
    assert np.isfinite(scores[1]).nonzero()[0].tolist() == [END]
    assert scores[2].tolist() == [-np.inf] * 7 + [0.0, 0.0], "the model itself forbids it: either"
    assert np.isfinite(constrain(logits, prefixes, _rules(), np.ones(9, bool))[0]).nonzero()[0].tolist() == [END]


@pytest.mark.parametrize("method", METHODS)
def test_windows_know_nothing_of_each_other(method: DecodingMethod) -> None:
    """One that may say all, one held by tokens and several held by words, side by side and alone."""
    kind = KINDS[1]
    size = tokenizer_of(kind).get_vocab_size()
    mask = np.ones(size, bool)
    mask[[END, *_tokens(kind, "more", "a")]] = False
    held: list[Held] = [None, mask, *(_sayable(kind, np.eye(len(ORDER))[n].tolist()) for n in range(3))]
    logits = np.random.default_rng(5).normal(0.0, 4.0, (12, len(held), size)).astype(np.float32)

    class _Alike:
        def __init__(self, numbers: Sequence[int]) -> None:
            self._numbers = numbers

        def step(self, token_ids: np.ndarray, step: int) -> np.ndarray:
            rows = len(token_ids) // len(self._numbers)
            return np.repeat(logits[step, list(self._numbers)], rows, axis=0)

        def reorder(self, parents: np.ndarray, length: int) -> None:
            pass

    def found(*numbers: int) -> list[object]:
        rngs = [np.random.default_rng(number) for number in numbers]
        return list(find_candidates(_Alike(numbers), _rules(method=method), rngs, held=[held[n] for n in numbers]))

    assert found(*range(len(held))) == [found(number)[0] for number in range(len(held))]


def test_a_word_is_withheld_and_not_its_tokens() -> None:
    """What may be said behind a whole word, with word pieces that are shared."""
    pieces = ["[UNK]", "a", "the", "bark", "##s", "##ed", "bird", "roll", "dog", "thunder", "tim", "##es"]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    words = ("a", "rolled", "rolls", "times", "dog", "dogs", "stone")
    tree = WholeWords.of([ways_to_say(tokenizer, word) for word in words], tokenizer, len(pieces))

    def may(node: int, *said: str, withheld: Sequence[str] = ()) -> set[str]:
        mask = np.isin(np.arange(len(pieces)), [pieces.index(piece) for piece in withheld])
        sayable = tree.sayable(np.array([word in said for word in words]), mask if withheld else None)
        return {pieces[n] for n in np.flatnonzero(~sayable.withheld(node, sayable.between))}

    roll, dog = (tree.after(0, pieces.index(piece)) for piece in ("roll", "dog"))
    assert may(0, *words) == {"a", "roll", "tim", "dog"}
    assert may(0, "rolled") == {"roll"} and may(roll, "rolled", "a") == {"##ed"}
    assert may(roll, "rolls", "rolled") == {"##s", "##ed"}
    assert may(dog, "dog", "dogs", "a") == {"##s", "dog", "a"}
    assert may(dog, "dog", "a") == {"dog", "a"} and may(dog, "dogs", "a") == {"##s"}
    assert may(0, *words, withheld=["##s"]) == {"a", "roll", "tim", "dog"}
    assert may(roll, *words, withheld=["##s"]) == {"##ed"}
    assert may(0, "dogs", "a", withheld=["##s"]) == {"a"}
    assert not tree.sayable(np.array([word == "stone" for word in words])).anything, "it has no tokens"


_BUNDLE_PIECES = (
    *("a", "on", "the", "and", "while", "rain", "fall", "##s", "dog", "bark", "bird", "sing", "ro", "##of"),
)


def _piece_bundle(folder: Path, threshold: float = 0.6) -> str:
    """A tiny bundle whose words are pieces: "falls", "barks", "birds", "roof" are two each."""
    folder.mkdir()
    vocabulary = {piece: number for number, piece in enumerate((*SPECIAL_TOKENS, *_BUNDLE_PIECES))}
    assert len(vocabulary) == VOCABULARY
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(folder / "pieces.json"))
    decoder = {"decoder": entry(folder / "pieces.json")}
    return sure_bundles.sure_bundle(folder, threshold, tokenizers=decoder, decoding={"no_repeat_ngram": 2, "beams": 3})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("members", [1, 2], ids=["alone", "ensemble"])
def test_captioners_and_ensembles_say_whole_words(members: int, method: DecodingMethod, tmp_path: Path) -> None:
    folders = [_piece_bundle(tmp_path / str(number)) for number in range(members)]
    choices = Choices(method=method, fluency_check=False)
    model = open_captioning(",".join(folders), [1.0] * members, EngineOptions("onnxruntime", 1), choices=choices)
    windows = sure_bundles.noises(12)
    said: set[str] = set()
    for window in windows:
        told = model.encode([window], not_cancelled).sounds
        assert told is not None
        confidences = dict(zip(sure_bundles.ORDER, told[0].tolist(), strict=True))
        may = sure_bundles.allowed(confidences, 0.6)
        may |= {"sings"} if max(confidences[name] for name in ("animal", "dog", "birds")) >= 0.6 else set()
        for found in model.describe([window] * 2, [window_rng(seed, window.start) for seed in range(2)]):
            assert not isinstance(found, DataError)
            words = {word for caption in found.ranked for word in caption.text.split()}
            assert words <= may
            said |= words
    assert said & {"falls", "barks", "birds", "roof", "sings"}, "or no word of two tokens was said"


def test_mixtures_say_whole_words() -> None:
    kind = KINDS[0]
    tokenizer = tokenizer_of(kind)
    size = tokenizer.get_vocab_size()
    for seed in range(30):
        steps = MixtureSteps([RandomSteps(seed, size), RandomSteps(seed + 99, size)], np.log([0.3, 0.7]).astype("f4"))
        (found,) = find_candidates(steps, _rules(), [np.random.default_rng(seed)], held=[_sayable(kind)])
        assert isinstance(found, list)
        for candidate in found:
            assert set(to_text(tokenizer, candidate.token_ids).split()) <= may_be_said(dict.fromkeys(ORDER, 0.0))


def test_nothing_is_held_where_no_window_is() -> None:
    with pytest.raises(ValueError, match="no window is held"):
        RowWords([None, None], 2, END, 9)


@pytest.mark.one_python
def test_captions_of_the_demo_are_whole_words() -> None:
    """In these windows, with these seeds, captions were "the sound of a mo more" and "the sound of a mon"."""
    model = Captioner.open(DEFAULT_BUNDLE, EngineOptions("onnxruntime", 1))
    assert model.sureness is not None
    scene = play_programme(60.0)
    for seed, start in ((0, 28 * SAMPLE_RATE), (2, 36 * SAMPLE_RATE)):
        fbank = filter_bank(scene[start : start + WINDOW_SAMPLES])
        (found,) = descriptions(model, [Window(start, WINDOW_SAMPLES, fbank, -20.0, -3.0, -20.0)], seed)
        for caption in found.ranked:
            assert set(caption.text.split()) <= set(model.sureness.words)
