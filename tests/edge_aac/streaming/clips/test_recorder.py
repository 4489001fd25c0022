"""Clips of a source's events: which sound they hold, and which they never hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.records import Record, TimeSpan, rfc3339
from edge_aac.records.clip import Clip
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.clips.flac import read_tags
from edge_aac.streaming.clips.folder import ClipFolder, Limits
from edge_aac.streaming.clips.recorder import MAX_OPEN_CLIPS, ClipRecorder, as_int16
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.clips.writer import ClipWriter
from edge_aac.streaming.event_changes import EventChange, State
from edge_aac.streaming.hub import Delivery
from tests.edge_aac.fakes import MODEL, scored

S = 16_000
WINDOW, HOP = 10 * S, 2 * S
BEGAN_S = 1_777_629_600.0
WAIT_S = 60.0

# Every sample tells where it is: what a clip holds can be read from it.
SOUND = np.random.default_rng(0).integers(-500, 500, 200 * S).astype(np.int16)


def _position(samples: np.ndarray) -> int:
    """Where in :data:`SOUND` samples are from."""
    for first in np.flatnonzero(samples[0] == SOUND):
        if np.array_equal(SOUND[first : first + len(samples)], samples):
            return int(first)
    raise AssertionError("a clip holds what was never heard so")


@dataclass
class HandMadeSource:
    """A source whose windows and events are given by hand; its ring holds 30 s."""

    folder: Path
    rules: dict[str, Any] = field(default_factory=dict)
    guarded: bool = True
    written: int = 0
    lost_before: int = 0
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = ClipWriter(ClipFolder(self.folder, Limits(10**9)))
        self.recorder = ClipRecorder(
            ClipSettings(enabled=True, **{"pre_roll_s": 3.0, "post_roll_s": 2.0, **self.rules}),
            self.writer,
            builder=RecordBuilder("kitchen", "mic0", MODEL),
            history=self.history,
            span=self.span,
            publish=self.publish,
            guarded=self.guarded,
        )

    def history(self, start: int, end: int) -> tuple[int, np.ndarray]:
        end = min(end, self.written)
        start = min(max(start, self.written - 30 * S, self.lost_before), end)
        return start, SOUND[start:end].astype(np.float32) / 32_768

    def span(self, start: int, end: int) -> TimeSpan:
        return TimeSpan(start=rfc3339(BEGAN_S + start / S), end=rfc3339(BEGAN_S + end / S))

    def publish(self, delivery: Delivery) -> None:
        self.records.append(delivery.record)

    def window(self, start_s: float, *, kept: bool = True) -> tuple[int, int]:
        """A window that was cut and described at once."""
        start = round(start_s * S)
        self.written = max(self.written, start + WINDOW)
        self.recorder.window(start, start + WINDOW, kept=kept)
        return start, start + WINDOW

    def event(self, state: State, start_s: float, end_s: float, caption: str = "a dog barks", number: int = 0) -> None:
        change = EventChange(number, state, round(start_s * S), round(end_s * S), scored(caption), 1)
        self.recorder.event(change, self.span(change.start, change.end))

    def advance(self) -> None:
        self.recorder.advance(self.written - WINDOW)

    def run(self, seconds: int, event: tuple[int, int] = (4, 12), private: Sequence[int] = ()) -> None:
        """Windows every 2 s; those that start in ``event`` have the event, those of ``private`` must not be kept."""
        open_until = None
        for start in range(0, seconds - 9, 2):
            if open_until is not None and open_until <= start:
                self.event("end", event[0], open_until)
                open_until = None
            self.window(start, kept=start not in private)
            if event[0] <= start < event[1] and start not in private:
                self.event("start" if open_until is None else "update", event[0], start + 10)
                open_until = start + 10
            self.advance()
        if open_until is not None:
            self.event("end", event[0], open_until)

    def clips(self) -> list[tuple[float, float]]:
        """From where to where each clip goes, in seconds; the writer is closed."""
        self.writer.close(WAIT_S)
        found = []
        for path in sorted(self.folder.iterdir()):
            samples, _ = soundfile.read(path, dtype="int16")
            first = _position(samples)
            assert read_tags(path)["START"] == rfc3339(BEGAN_S + first / S), "it is where its name and tags say"
            found.append((first / S, (first + len(samples)) / S))
        return found


def test_what_comes_before_and_after_is_in_it(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(60, event=(4, 12))
    assert source.clips() == [(1.0, 22.0)]
    (record,) = source.records
    assert isinstance(record, Clip) and record.cut is None and record.seconds == 21.0 and record.event == 0
    (path,) = tmp_path.iterdir()
    assert record.path == str(path) and record.sentence() == f"[clip] a dog barks, 21.0 s: {path}"
    assert path.name == "edge-aac_20260501T100001.000Z_mic0_a-dog-barks.flac"
    assert read_tags(path) == {
        "TITLE": "a dog barks",
        "DATE": "2026-05-01T10:00:01.000Z",
        "SOURCE": "mic0",
        "NODE": "kitchen",
        "START": "2026-05-01T10:00:01.000Z",
        "END": "2026-05-01T10:00:22.000Z",
        "EVENT": "0",
        "EVENT_START": "2026-05-01T10:00:04.000Z",
        "EVENT_END": "2026-05-01T10:00:20.000Z",
        "SCORE": "0.5000",
        "MODEL": "fake 1",
    }


def test_a_clip_begins_with_the_stream_where_that_is_younger(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(60, event=(0, 2))
    assert source.clips() == [(0.0, 12.0)]


def test_of_a_long_event_the_beginning_is_kept(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, {"max_clip_s": 45.0})
    source.run(150, event=(20, 120))
    assert source.clips() == [(17.0, 62.0)], "longer than the ring"
    (record,) = source.records
    assert isinstance(record, Clip) and record.cut == "long"


def test_the_end_of_the_run_completes_it_with_what_there_is(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(30, event=(10, 100))
    source.recorder.finish()
    assert source.clips() == [(7.0, 30.0)]
    (record,) = source.records
    assert isinstance(record, Clip) and record.cut == "stop"


def test_a_source_that_goes_quiet_completes_clips_of_events_that_are_over(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=False)
    source.run(30, event=(10, 100))
    source.event("start", 20, 30, "rain", number=1)
    # What is late may come yet: the 2 s after the event end at 32 s.
    source.recorder.finish(passed=31 * S)
    assert source.recorder.recording and not source.records
    source.recorder.finish(passed=32 * S)
    assert source.clips() == [(7.0, 30.0)]


@pytest.mark.parametrize(
    ("rules", "saved"),
    [
        ({"match": ("dog*",)}, 1),
        ({"match": ("cat", "dog bark*")}, 1),
        ({"match": ("cat",)}, 0),
        ({"min_score": 0.4}, 1),
        ({"min_score": 0.6}, 0),
    ],
)
def test_which_events_have_a_clip(rules: dict[str, Any], saved: int, tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, rules)
    source.run(60)
    assert len(source.clips()) == saved == len(source.records)


def test_a_caption_that_matches_later_has_the_event_from_its_beginning(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, {"match": ("dog*",)})
    source.window(0)
    source.event("start", 0, 10, "an unknown sound")
    source.advance()
    source.window(2)
    source.event("update", 0, 12, "a dog barks")
    for start in range(4, 30, 2):
        source.window(start)
        if start == 12:
            source.event("end", 0, 12)
        source.advance()
    assert source.clips() == [(0.0, 14.0)]


def test_so_many_at_once(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    for number in range(MAX_OPEN_CLIPS + 2):
        source.window(2 * number)
        source.event("start", 2 * number, 2 * number + 10, f"sound {number}", number)
        source.advance()
    source.recorder.finish()
    assert len(source.clips()) == MAX_OPEN_CLIPS and source.writer.health.dropped == 2


def test_sound_that_was_lost_before_an_event_is_not_in_it(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=False)
    source.lost_before = round(2.5 * S)
    source.run(60, event=(4, 12))
    assert source.clips() == [(2.5, 22.0)]


def test_a_clip_ends_where_sound_was_lost(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=False)
    source.run(30, event=(4, 100))
    source.lost_before = 27 * S
    source.run(40, event=(100, 101))
    ((begin, end),) = source.clips()
    assert begin == 1.0 and end <= 27.0
    (record,) = source.records
    assert isinstance(record, Clip) and record.cut == "lost"


# What must not be kept.


def test_an_event_that_begins_in_what_must_not_be_kept_has_no_clip(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(60, event=(4, 12), private=[2])
    assert source.clips() == [] and source.writer.health.private == 1


def test_a_later_window_gives_the_clip_up(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(60, event=(4, 20), private=[8])
    assert source.clips() == [] and source.writer.health.private == 1 and source.records == []


def test_what_comes_before_is_cut_at_what_must_not_be_kept(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.run(60, event=(14, 16), private=[2])
    assert source.clips() == [(12.0, 26.0)]


def test_what_comes_after_is_cut_at_what_must_not_be_kept(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, {"post_roll_s": 20.0})
    source.run(60, event=(4, 6), private=[18])
    assert source.clips() == [(1.0, 18.0)]
    (record,) = source.records
    assert isinstance(record, Clip) and record.cut == "private"


def test_nothing_of_it_is_written_not_even_for_a_moment(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    given: list[int] = []
    append = source.writer.append

    def noted(clip: Any, samples: np.ndarray) -> bool:
        given.append(_position(samples) + len(samples))
        return append(clip, samples)

    source.writer.append = noted  # type: ignore[method-assign]
    source.run(60, event=(4, 30), private=[22])
    assert given and max(given) <= 22 * S
    assert source.clips() == []


def test_sound_of_which_nothing_is_known_is_not_kept_where_something_is_private(tmp_path: Path) -> None:
    for guarded, expected in ((True, (4.0, 14.0)), (False, (1.0, 16.0))):
        folder = tmp_path / str(guarded)
        source = HandMadeSource(folder, guarded=guarded)
        source.written = 4 * S
        source.window(4)
        source.event("start", 4, 14)
        source.advance()
        # The windows between could not be described.
        for start in range(16, 40, 2):
            source.window(start)
            if start == 16:
                source.event("end", 4, 14)
            source.advance()
        assert source.clips() == [expected]


def test_samples_of_sixteen_bits_stay_as_they_were() -> None:
    every = np.arange(-32_768, 32_768).astype(np.int16)
    assert np.array_equal(as_int16(every.astype(np.float32) / 32_768), every)
    assert as_int16(np.array([2.0, -2.0, np.nan, np.inf, -np.inf], np.float32)).tolist() == [
        *(32_767, -32_768, 0, 32_767, -32_768)
    ]
