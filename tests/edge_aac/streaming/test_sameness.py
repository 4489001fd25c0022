"""Sound that goes on as it was is not decoded again; a sound that begins always is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.simulated_time import SimulatedTime, SteppedSource, repeated
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, Latency, ScoredCaption, Undecoded, Wanted, not_cancelled
from edge_aac.records import Event, Health
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate, SameGate, ScoreGate, SoundMemory
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming.session_cases import noise

HOP, WINDOW, BLOCK = 3_200, 16_000, 1_600
GATE = SameGate(min_similarity=0.9, max_difference_db=100.0, settle_samples=0, refresh_samples=100 * HOP)
RAIN, DOG = scored("rain"), scored("dog", direction=90.0)


def _pointing(degrees: float) -> npt.NDArray[np.float32]:
    """An audio embedding of some length."""
    return 3 * np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], np.float32)


class Hearing(FakeModel):
    """A model whose audio embedding and caption depend on where a window starts, in hops.

    Args:
        embedding: gives the angle of the audio embedding in degrees.
        caption: gives the caption.
    """

    def __init__(
        self, embedding: Callable[[int], float], caption: Callable[[int], ScoredCaption | DataError] = lambda _: RAIN
    ) -> None:
        super().__init__()
        self._embedding_of = embedding
        self._caption_of = caption
        self.decoded: list[int] = []

    def describe(
        self, windows: Sequence[Window], rngs: Sequence[np.random.Generator], cancelled: Any = not_cancelled
    ) -> list[Description | DataError]:
        found = self.describe_wanted(windows, rngs, lambda _number, _embedding: True, cancelled)
        return [each for each in found if not isinstance(each, Undecoded)]

    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        outcomes: list[Description | DataError | Undecoded] = []
        for number, window in enumerate(windows):
            place = window.start // HOP
            embedding = _pointing(self._embedding_of(place))
            if not wanted(number, embedding):
                outcomes.append(Undecoded(embedding, Latency(1.0, 0.0, 0.0)))
                continue
            self.decoded.append(place)
            caption = self._caption_of(place)
            if isinstance(caption, DataError):
                outcomes.append(caption)
            else:
                outcomes.append(Description([caption], embedding, 3, Latency(1.0, 2.0, 0.5)))
        return outcomes


def heard(
    model: FakeModel,
    sources: Callable[[SimulatedTime], Sequence[Any]],
    *,
    gate: SameGate | None = GATE,
    every_window: bool = False,
    score_gate: ScoreGate | None = None,
) -> tuple[list[Counters], FakeSink]:
    """What became of the windows of live sources."""
    time, sink, stop = SimulatedTime(), FakeSink(), threading.Event()
    made = Session(
        model=model,
        hub=Hub([Outlet("fake", sink, ("caption", "event", "health"), 100_000, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=1_000.0,
        clocks=time.clocks,
    )
    settings = ChannelSettings(EnergyGate(-70.0), score_gate or ScoreGate(), 0, every_window, gate)
    for source in sources(time):
        made.add(source, WindowSlicer(WINDOW, HOP), settings)
    made.run()
    return [channel.counters for channel in made.channels], sink


def one_microphone(windows: int, silent: Sequence[int] = ()) -> Callable[[SimulatedTime], list[SteppedSource]]:
    """A microphone that gives so many windows; the blocks in ``silent`` are zeros."""
    pieces = [noise(BLOCK, seed) for seed in range(5)]
    blocks = (WINDOW + (windows - 1) * HOP) // BLOCK

    def block(number: int) -> npt.NDArray[np.float32] | None:
        if number in silent:
            return np.zeros(BLOCK, np.float32)
        return pieces[number % 5] if number < blocks else None

    return lambda time: [SteppedSource(time, "mic0", block)]


def test_steady_sound_is_decoded_once_and_its_event_goes_on() -> None:
    model = Hearing(lambda place: 0.3 * place)
    (counters,), sink = heard(model, one_microphone(20))
    assert model.decoded == [0]
    assert (counters.windows, counters.described, counters.same, counters.captions) == (20, 1, 19, 1)
    events = [record for record in sink.records if isinstance(record, Event)]
    assert [event.state for event in events] == ["start", *["update"] * 19, "end"]
    assert events[-1].windows == 20
    (health,) = [record for record in sink.records if isinstance(record, Health)]
    assert (health.described, health.same) == (1, 19)
    assert "19 same as before" in health.sentence()


def test_a_sound_that_begins_is_told() -> None:
    model = Hearing(lambda place: 90.0 if 8 <= place < 12 else 0.0, lambda place: DOG if 8 <= place < 12 else RAIN)
    (counters,), sink = heard(model, one_microphone(20))
    assert model.decoded == [0, 8, 12]
    assert [record.caption for record in sink.captions][:2] == ["rain", "dog"]
    assert counters.same == 17


def test_sound_that_drifts_is_decoded_when_it_has_gone_far() -> None:
    """Each window is like the one before; compared with the last decoded one, it goes its way."""
    model = Hearing(lambda place: 5.0 * place)
    heard(model, one_microphone(21))
    assert model.decoded == [0, 6, 12, 18], "the cosine of 25 degrees is above 0.9, that of 30 below"


def test_a_change_is_decoded_until_it_fills_a_window() -> None:
    gate = SameGate(0.9, 100.0, WINDOW, 100 * HOP)
    model = Hearing(lambda place: 90.0 if place >= 8 else 0.0)
    heard(model, one_microphone(20), gate=gate)
    assert model.decoded == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]


def test_what_does_not_change_is_decoded_again_in_time() -> None:
    gate = SameGate(0.9, 100.0, 0, 7 * HOP)
    model = Hearing(lambda _: 0.0)
    heard(model, one_microphone(20), gate=gate)
    assert model.decoded == [0, 7, 14]


def test_sound_after_silence_is_decoded() -> None:
    model = Hearing(lambda _: 0.0)
    # Blocks of half a hop: two seconds of silence, after which windows 0 to 7 have passed.
    (counters,), _ = heard(model, one_microphone(40, silent=range(20, 40)))
    assert counters.silent > 0
    assert len(model.decoded) == 2


def test_a_louder_sound_is_decoded_however_alike() -> None:
    pieces = [noise(BLOCK, seed) for seed in range(5)]
    blocks = [piece * (4.0 if 20 <= number < 30 else 1.0) for number in range(60) for piece in [pieces[number % 5]]]
    model = Hearing(lambda _: 0.0)
    gate = SameGate(0.9, 2.0, 0, 100 * HOP)
    heard(model, lambda time: [SteppedSource(time, "mic0", lambda n: blocks[n] if n < 60 else None)], gate=gate)
    assert model.decoded == [0, 6, 15]


def test_an_unsure_window_goes_on_as_unsure() -> None:
    model = Hearing(lambda _: 0.0, lambda _: scored("rain", hybrid=0.1))
    (counters,), sink = heard(model, one_microphone(10), score_gate=ScoreGate(0.3))
    assert (counters.unsure, counters.same, counters.captions) == (1, 9, 0)
    assert not [record for record in sink.records if isinstance(record, Event)]


def test_what_went_unsure_is_not_taken_for_what_was_heard_before() -> None:
    """Rain, then something that nobody is sure of, which goes on: the rain's event does not."""
    model = Hearing(
        lambda place: 90.0 if place >= 6 else 0.0, lambda place: scored("dog", hybrid=0.1) if place >= 6 else RAIN
    )
    (counters,), sink = heard(model, one_microphone(20), score_gate=ScoreGate(0.3))
    assert model.decoded == [0, 6]
    assert (counters.unsure, counters.same) == (1, 18)
    (end,) = [record for record in sink.records if isinstance(record, Event) and record.state == "end"]
    assert end.windows == 6


def test_after_a_window_that_failed_the_next_is_decoded() -> None:
    model = Hearing(lambda _: 0.0, lambda place: DataError("the decoder gave NaN") if place == 0 else RAIN)
    (counters,), _ = heard(model, one_microphone(10))
    assert model.decoded == [0, 1]
    assert (counters.failed, counters.described, counters.same) == (1, 1, 8)


def test_each_source_is_compared_with_itself() -> None:
    """Two microphones in one batch, one of which changes; a file beside them is always decoded."""
    model = Hearing(lambda place: 0.0)

    def sources(time: SimulatedTime) -> list[Any]:
        pieces = [noise(BLOCK, seed) for seed in range(5)]
        live = [SteppedSource(time, f"mic{number}", repeated(pieces, 40)) for number in range(2)]
        return [*live, FakeSource([noise(40 * BLOCK)], label="garden.wav")]

    counted, _ = heard(model, sources)
    windows = (40 * BLOCK - WINDOW) // HOP + 1
    assert [(one.described, one.same) for one in counted] == [(1, windows - 1), (1, windows - 1), (windows, 0)]


@pytest.mark.parametrize(("gate", "every_window"), [(None, False), (GATE, True)])
def test_without_the_gate_or_where_every_window_is_published_all_are_decoded(
    gate: SameGate | None, every_window: bool
) -> None:
    model = Hearing(lambda _: 0.0)
    (counters,), _ = heard(model, one_microphone(10), gate=gate, every_window=every_window)
    assert (counters.described, counters.same) == (10, 0)


def test_a_model_that_cannot_leave_windows_undecoded_describes_them_all() -> None:
    (counters,), _ = heard(FakeModel(), one_microphone(10))
    assert (counters.described, counters.same) == (10, 0)


def _window(start: int, audible_dbfs: float = -30.0) -> Window:
    return Window(start, WINDOW, np.zeros((1, 1), np.float32), -30.0, -10.0, audible_dbfs)


def test_nothing_is_like_what_is_no_number() -> None:
    memory = SoundMemory(GATE)
    nothing = np.full(2, np.nan, np.float32)
    description = Description([RAIN], _pointing(0.0), 1, Latency(1.0, 1.0, 1.0))
    assert not memory.is_same(_window(0), _pointing(0.0))
    memory.settle(_window(0), description)
    assert memory.is_same(_window(HOP), _pointing(0.0))
    assert not memory.is_same(_window(HOP), nothing)
    assert not memory.is_same(_window(HOP), np.zeros(2, np.float32))
    assert not memory.is_same(_window(HOP, float("nan")), _pointing(0.0))
    assert not memory.is_same(_window(WINDOW), _pointing(0.0)), "it does not overlap what was heard"
