"""Questions that are asked of a stream: when, of what, and what becomes of answers that cannot or may not be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError, Description, Latency, PromptAnswer, ScoredCaption, Undecoded
from edge_aac.records import Caption, Event, Record, TimeSpan
from edge_aac.records.answer import Answer
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel_time import ChannelTime
from edge_aac.streaming.counters import Counters, LatencyLog
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import ScoreGate
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.privacy import PrivacyGate
from edge_aac.streaming.publishing import DescriptionPublisher
from edge_aac.streaming.wording import WordPatterns
from tests.edge_aac.fakes import MODEL, FakeModel, scored

RATE = 16_000
RAIN, DOG = scored("rain"), scored("dog", direction=90)
LATENCY = Latency(1.0, 2.0, 0.0)


class _Stream:
    """A live source's publisher, with a model that is asked about each window."""

    def __init__(self, every_window: bool, privacy: PrivacyGate | None = None, min_windows: int = 1) -> None:
        self.records: list[Record] = []
        self.number = self.asked = 0
        self.publisher = DescriptionPublisher(
            builder=RecordBuilder("kitchen", "mic0", MODEL),
            tracker=EventTracker(0.8, FakeModel().embed, EventRules(min_windows=min_windows)),
            score_gate=ScoreGate(),
            time_of=ChannelTime(_span, lambda position: position / RATE, lambda: 0, lambda: 1000.0),
            counters=Counters(),
            latencies=LatencyLog(),
            publish=self._publish,
            live=True,
            every_window=False,
            privacy=privacy,
            asks_every_window=every_window,
        )

    def _publish(self, delivery: Delivery) -> None:
        self.records.append(delivery.record)

    def hear(self, caption: ScoredCaption, ask: Callable[[], Sequence[PromptAnswer]] | None = None) -> None:
        """The next window, 2 s behind the one before."""
        description = Description([caption], np.ones(2, np.float32), 1, LATENCY, ask=ask or self._answers)
        self._settle(description)

    def hear_the_same(self) -> None:
        """A window that sounds as the one before."""
        self._settle(Undecoded(np.ones(2, np.float32), LATENCY))

    def _settle(self, found: Description | Undecoded) -> None:
        frames = np.zeros((998, 128), np.float32)
        window = Window(2 * RATE * self.number, 10 * RATE, frames, -20.0, -3.0, -20.0)
        self.number += 1
        self.publisher.settle(window, found)

    def _answers(self) -> list[PromptAnswer]:
        self.asked += 1
        return [PromptAnswer("is it wet?", "question", ("yes ", "no "), (-0.2, -1.5), LATENCY, MODEL)]

    @property
    def answers(self) -> list[Answer]:
        return [record for record in self.records if isinstance(record, Answer)]


def _span(start: int, end: int) -> TimeSpan:
    return TimeSpan(start=f"{start / RATE:g}", end=f"{end / RATE:g}")


def test_every_window_that_is_described_is_asked_about() -> None:
    stream = _Stream(every_window=True)
    for caption in (RAIN, RAIN, DOG):
        stream.hear(caption)
    stream.hear_the_same()
    assert [(one.start, one.end, one.event) for one in stream.answers] == [
        ("0", "10", None),
        ("2", "12", None),
        ("4", "14", None),
    ]
    first = stream.answers[0]
    assert (first.answer, first.prompt, first.task) == ("yes", "is it wet?", "question")
    assert [(one.text, one.log_likelihood) for one in first.answers] == [("yes", -0.2), ("no", -1.5)]
    assert first.model == MODEL and first.latency_ms.queue is not None and first.latency_ms.decode == 2.0


def test_a_sentence_says_what_was_asked() -> None:
    """Beside other answers, or in a message of its own, "no" alone says nothing."""
    stream = _Stream(every_window=True)
    stream.hear(RAIN)
    (record,) = stream.answers
    assert record.sentence() == "is it wet? yes"
    assert record.model_copy(update={"prompt": "is\nit  wet?", "answer": ""}).sentence() == "is it wet? [no answer]"
    for prompt in ("this is a sound of", None):
        assert record.model_copy(update={"prompt": prompt}).sentence() == "yes"


def test_each_event_is_asked_about_once_behind_its_start() -> None:
    stream = _Stream(every_window=False)
    for caption in (RAIN, RAIN, DOG, DOG):
        stream.hear(caption)
    assert [(one.start, one.event) for one in stream.answers] == [("0", 0), ("4", 1)]
    assert stream.asked == 2, "no other window costs anything"
    kinds = [type(record) for record in stream.records[:3]]
    assert kinds == [Caption, Event, Answer]


def test_an_event_that_time_starts_is_asked_about_by_its_newest_window() -> None:
    stream = _Stream(every_window=False, min_windows=2)
    stream.hear(RAIN)
    assert not stream.answers
    stream.publisher.finish()
    assert [(one.start, one.event) for one in stream.answers] == [("0", 0)]


def test_a_model_that_is_replaced_is_asked_nothing_any_more() -> None:
    """An event that waited for a second window starts as it ends; the questions are those of other settings now."""
    stream = _Stream(every_window=False, min_windows=2)
    stream.hear(RAIN)
    stream.publisher.use(RecordBuilder("kitchen", "mic0", MODEL), 0.8, FakeModel().embed, lambda text: (text,))
    assert [record.state for record in stream.records if isinstance(record, Event)] == ["start", "end"]
    assert stream.asked == 0 and not stream.answers


def test_what_may_not_be_told_is_not_answered() -> None:
    for words in ("yes", "wet"):  # of the answer, and of the question that it answers
        stream = _Stream(every_window=True, privacy=PrivacyGate(suppressed=WordPatterns((words,))))
        stream.hear(RAIN)
        assert stream.answers == [] and stream.asked == 1
    told = _Stream(every_window=True, privacy=PrivacyGate(suppressed=WordPatterns(("rain",))))
    told.hear(RAIN)
    assert told.asked == 0, "of what is private nothing is asked"


def test_answers_about_a_window_that_is_marked_are_marked() -> None:
    """People may talk in it, whatever the question is about; and where only the answer tells of it."""
    told = {}
    for words in ("rain", "yes"):
        stream = _Stream(every_window=True, privacy=PrivacyGate("mark", WordPatterns((words,)).matches))
        stream.hear(RAIN)
        stream.hear(DOG)
        told[words] = [answer.speech for answer in stream.answers]
    assert told == {"rain": [True, None], "yes": [True, True]}


def test_an_answer_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> list[PromptAnswer]:
        raise DataError("the decoder gave no numbers")

    def stopped() -> list[PromptAnswer]:
        raise CancelledError

    stream = _Stream(every_window=True)
    for ask in (fails, stopped, fails, None):
        stream.hear(RAIN, ask)
    assert len(stream.answers) == 1
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in told] == ["mic0: not answered: the decoder gave no numbers"]


def test_a_model_that_is_asked_nothing_publishes_no_answer() -> None:
    stream = _Stream(every_window=True)
    stream.publisher.settle(
        Window(0, 10 * RATE, np.zeros((998, 128), np.float32), -20.0, -3.0, -20.0),
        Description([RAIN], np.ones(2, np.float32), 1, LATENCY),
    )
    assert stream.answers == [] and len(stream.records) == 2
