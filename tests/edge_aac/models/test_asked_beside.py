"""A bundle that is asked beside the captioner: the captions stay as they were, and nothing is heard unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.asked_beside import asked_beside
from edge_aac.models.contract import (
    Description,
    Latency,
    NamingModel,
    PromptAnswer,
    SelectiveModel,
    SharingModel,
    Undecoded,
    hears_sound,
    shared_work,
)
from edge_aac.models.opening import open_captioning, takes_choice
from edge_aac.models.prompted import Prompted
from tests.edge_aac.fakes import MODEL, FakeModel
from tests.edge_aac.models.ensemble_bundles import sounds

ASKED = records.Model(bundle="answers", version="1", backend="onnxruntime", precision="fp32")


class _Asked:
    """Answers with the start of the window."""

    identity = ASKED

    def __init__(self, language: str) -> None:
        self.language, self.heard = language, list[int]()

    def answers(self, window: Window, cancelled: Callable[[], bool]) -> list[PromptAnswer]:
        del cancelled
        self.heard.append(window.start)
        return [PromptAnswer("when?", None, (str(window.start),), (-1.0,), Latency(1.0, 1.0, 0.0), ASKED)]


class _Selective(FakeModel):
    """Describes what is wanted; every third window cannot be described."""

    def describe_wanted(self, windows: Sequence[Window], rngs: Any, wanted: Any, cancelled: Any = None) -> list[Any]:
        del rngs, cancelled
        one, vector = Latency(1.0, 1.0, 0.0), np.ones(2, np.float32)
        found: list[Any] = []
        for number, _ in enumerate(windows):
            keep = wanted(number, vector)
            described = Description([], vector, 1, one) if keep else Undecoded(vector, one)
            found.append(DataError("no") if number % 3 == 2 else described)
        return found


def _beside(captioner: Any, asked: _Asked) -> Any:
    return asked_beside(captioner, cast(Prompted, asked))


def test_only_what_is_described_can_be_asked_about_and_is_heard_when_it_is() -> None:
    asked, windows = _Asked(FakeModel.language), sounds(4)
    model = _beside(_Selective(), asked)
    assert hears_sound(model) and isinstance(model, SelectiveModel)
    found: list[Any] = model.describe_wanted(windows, [np.random.default_rng()] * 4, lambda number, _: number != 1)
    assert [type(each) for each in found] == [Description, Undecoded, DataError, Description]
    assert asked.heard == [], "nobody has asked"
    (answer,) = found[3].ask()
    assert (answer.texts, answer.model, asked.heard) == ((str(windows[3].start),), ASKED, [windows[3].start])


def test_beside_the_shipped_captioner_nothing_else_is_changed() -> None:
    captioner: Any = open_captioning(DEFAULT_BUNDLE, None, EngineOptions("onnxruntime", 1))
    model, windows = _beside(captioner, _Asked("EN")), sounds(2)
    assert all(isinstance(model, kind) for kind in (SharingModel, NamingModel, SelectiveModel))
    assert shared_work(model) is captioner.shared_work and model.sound_names is captioner.sound_names
    assert (model.identity, model.language, model.same_similarity) == (
        captioner.identity,
        captioner.language,
        captioner.same_similarity,
    )
    np.testing.assert_array_equal(model.embed(["a dog barks"]), captioner.embed(["a dog barks"]))
    of_both = [each.describe(windows, [np.random.default_rng(0)] * 2) for each in (model, captioner)]
    told = [[(each.best.text, each.best.hybrid) for each in found] for found in of_both]
    assert told[0] == told[1]
    assert [each.ask is None for each in (*of_both[0], *of_both[1])] == [False, False, True, True]


def test_a_model_that_does_not_select_is_taken_as_it_is() -> None:
    model = _beside(FakeModel(), _Asked(FakeModel.language))
    assert not isinstance(model, SelectiveModel) and model.sound_names is None and shared_work(model) is None
    assert model.identity == MODEL


def test_two_languages_are_refused() -> None:
    with pytest.raises(ConfigError, match="fake captions in 'und', answers answers in 'de': give an ask_bundle"):
        _beside(FakeModel(), _Asked("de"))


def test_an_ensemble_takes_no_questions() -> None:
    assert not takes_choice(DEFAULT_BUNDLE, "ask") and takes_choice(DEFAULT_BUNDLE, "candidates")
    assert takes_choice("everyday-ask", "ask") and not takes_choice("everyday-ask,everyday-ask", "ask")
