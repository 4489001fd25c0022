"""Follows a live source's windows and events, and gives the sound of the events to the writer of clips.

Sound goes to the writer when all windows that hold it were judged, so that none of a window whose sound must not be
kept is ever written: not into a temporary file either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.records import TimeSpan, as_text, rfc3339
from edge_aac.records.clip import Clip as ClipRecord
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.clips.spans import Spans
from edge_aac.streaming.clips.writer import Clip, ClipFacts, ClipWriter
from edge_aac.streaming.event_changes import EventChange
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.wording import WordPatterns
from edge_aac.timebase import SAMPLE_RATE

MAX_OPEN_CLIPS = 4
"""Of a source: sounds that go on at the same time."""

History = Callable[[int, int], tuple[int, npt.NDArray[np.float32]]]
"""See :meth:`edge_aac.audio.ring.SampleRing.history`."""

Cut = Literal["long", "lost", "busy", "private", "stop"]


@dataclass
class _Recording:
    """The clip of one event while it is recorded; positions are samples.

    Attributes:
        clip: what the writer knows it by.
        start: first sample.
        written: sample after the last one that the writer has.
        limit: the clip reaches no farther.
        limit_cut: why not.
        change: the newest of the event.
        span: times that the event's newest record was given.
        began_s: Unix time of the first sample.
        builder: whose node, source and model described it.
    """

    clip: Clip
    start: int
    written: int
    limit: int
    limit_cut: Cut
    change: EventChange
    span: TimeSpan
    began_s: float
    builder: RecordBuilder


class ClipRecorder:
    """Records clips of one source's events. The scheduler's thread alone uses it.

    Args:
        settings: which events, and how much of them.
        writer: writes the clips.
        builder: whose node, source and model the clips name.
        history: gives sound that was heard.
        span: gives the time span from one position in samples to another.
        publish: takes the records of clips that were saved; called from the writer's thread.
        guarded: whether sound that no window was described of, or that is silent, may hold what must not be kept.
    """

    def __init__(  # noqa: PLR0913 - what it works between
        self,
        settings: ClipSettings,
        writer: ClipWriter,
        *,
        builder: RecordBuilder,
        history: History,
        span: Callable[[int, int], TimeSpan],
        publish: Callable[[Delivery], None],
        guarded: bool,
    ) -> None:
        self._settings = settings
        self._patterns = WordPatterns(settings.match)
        self._pre_samples = round(settings.pre_roll_s * SAMPLE_RATE)
        self._post_samples = round(settings.post_roll_s * SAMPLE_RATE)
        self._max_samples = round(settings.max_clip_s * SAMPLE_RATE)
        self._writer = writer
        self.builder = builder
        self._history = history
        self._span = span
        self._publish = publish
        self.guarded = guarded
        self._judged = Spans()
        self._withheld = Spans()
        self._recordings: dict[int, _Recording] = {}
        self._over: set[int] = set()
        """Open events that have no clip any more, or none at all."""

    @property
    def recording(self) -> bool:
        """Whether any clip is being recorded."""
        return bool(self._recordings)

    def window(self, start: int, end: int, *, kept: bool) -> None:
        """Take in a window that was judged: samples ``start`` to ``end``, and whether its sound may be kept."""
        self._judged.add(start, end)
        if kept:
            return
        self._withheld.add(start, end)
        for recording in list(self._recordings.values()):
            self._spare_withheld(recording)

    def event(self, change: EventChange, span: TimeSpan) -> None:
        """Take in a change of an event, and the times that its record was given."""
        number = change.number
        recording = self._recordings.get(number)
        if recording is not None:
            recording.change, recording.span = change, span
            self._spare_withheld(recording)
        elif change.state != "end" and number not in self._over and self._wanted(change):
            self._begin(change, span)
        if change.state == "end":
            self._over.discard(number)

    def advance(self, judged_to: int) -> None:
        """Give the writer what it may have by now.

        Args:
            judged_to: sample before which no window will come any more.
        """
        for recording in list(self._recordings.values()):
            if self.guarded and (known := self._judged.end_of(recording.change.start)) < judged_to:
                self._limit(recording, known)
            end = self._planned_end(recording)
            if not self._give(recording, min(end, judged_to)):
                continue
            if recording.written >= end and (recording.change.state == "end" or end == recording.limit):
                self._complete(recording, recording.limit_cut if end == recording.limit else None)

    def change_rules(self, *, guarded: bool) -> None:
        """Take in that windows are judged by other rules from now on.

        Where these keep something private, no sound is written that only the rules before let pass: clips that are
        being recorded are given up, and no later one reaches back to the windows that were judged by them.

        Args:
            guarded: see the class.
        """
        self.guarded = guarded
        if not guarded:
            return
        for recording in list(self._recordings.values()):
            self._forget(recording)
            self._writer.discard(recording.clip, private=True)
        self._withheld.fill(self._judged.end)

    def finish(self, passed: int | None = None) -> None:
        """Complete clips with what sound there is: no more will come, or not soon.

        Args:
            passed: sample that time has passed, though no sound came: only those are completed whose event is over and
                that reach no farther. None for all.
        """
        for recording in list(self._recordings.values()):
            end = self._planned_end(recording)
            if passed is not None and (recording.change.state != "end" or passed < end):
                continue
            known = self._judged.end_of(recording.change.start) if self.guarded else end
            if self._give(recording, min(end, known)):
                self._complete(recording, "stop" if recording.written < end else None)

    def _wanted(self, change: EventChange) -> bool:
        least = self._settings.min_score
        if least is not None and not change.caption.hybrid >= least:
            return False
        return not self._patterns or self._patterns.matches(change.caption.text)

    def _begin(self, change: EventChange, span: TimeSpan) -> None:
        start = max(0, change.start - self._pre_samples, self._withheld.end_before(change.start))
        if self.guarded:
            start = max(start, self._judged.start_of(change.start))
        limit = start + self._max_samples
        if self._withheld.overlaps(change.start, min(change.end, limit)):
            self._over.add(change.number)
            self._writer.count_private()
            return
        if len(self._recordings) >= MAX_OPEN_CLIPS:
            self._over.add(change.number)
            self._writer.count_dropped()
            return
        clip = self._writer.begin()
        if clip is None:
            self._over.add(change.number)
            return
        began_s = _unix_time(self._span(start, change.end))
        recording = _Recording(clip, start, start, limit, "long", change, span, began_s, self.builder)
        self._recordings[change.number] = recording
        self._spare_withheld(recording)

    def _spare_withheld(self, recording: _Recording) -> None:
        """Give a clip up whose event lies in what must not be kept; end one before it that has its event already."""
        start = recording.change.start
        if self._withheld.overlaps(start, min(recording.change.end, recording.limit)):
            self._forget(recording)
            self._writer.discard(recording.clip, private=True)
            return
        nearest = self._withheld.start_after(recording.change.end)
        if nearest is not None:
            self._limit(recording, nearest)

    @staticmethod
    def _limit(recording: _Recording, position: int) -> None:
        """Let a clip reach no farther: what comes there must not be kept, or nothing is known of it."""
        if position < recording.limit:
            recording.limit, recording.limit_cut = position, "private"

    def _planned_end(self, recording: _Recording) -> int:
        return min(recording.change.end + self._post_samples, recording.limit)

    def _give(self, recording: _Recording, until: int) -> bool:
        """Give the writer the sound up to ``until``; False where that ended the clip."""
        if until <= recording.written:
            return True
        position, samples = self._history(recording.written, until)
        if position > recording.written:
            # Sound from before the event may be gone already; sound within the clip must not have a hole.
            if recording.written > recording.start or not len(samples):
                self._complete(recording, "lost")
                return False
            recording.began_s += (position - recording.start) / SAMPLE_RATE
            recording.start = recording.written = position
        if not len(samples):
            return True
        if not self._writer.append(recording.clip, as_int16(samples)):
            self._complete(recording, "busy")
            return False
        recording.written = position + len(samples)
        return True

    def _complete(self, recording: _Recording, cut: Cut | None) -> None:
        self._forget(recording)
        if recording.written == recording.start:
            self._writer.discard(recording.clip, private=False)
            return
        seconds = (recording.written - recording.start) / SAMPLE_RATE
        caption = as_text(recording.change.caption.text)
        span = TimeSpan(start=rfc3339(recording.began_s), end=rfc3339(recording.began_s + seconds))

        def saved(path: Path) -> None:
            record = ClipRecord(
                node=self.builder.node,
                source=self.builder.source,
                **span.model_dump(),
                event=recording.change.number,
                caption=caption,
                path=as_text(str(path)),
                seconds=round(seconds, 3),
                cut=cut,
            )
            self._publish(Delivery(record))

        facts = ClipFacts(
            recording.began_s, self.builder.source, caption, self._tags(recording, caption, span, cut), saved
        )
        self._writer.finish(recording.clip, facts)

    def _tags(self, recording: _Recording, caption: str, span: TimeSpan, cut: Cut | None) -> Mapping[str, str]:
        """Vorbis comments; players show the first ones."""
        model = recording.builder.model
        tags = {
            "TITLE": caption,
            "DATE": span.start,
            "SOURCE": self.builder.source,
            "NODE": self.builder.node,
            "START": span.start,
            "END": span.end,
            "EVENT": str(recording.change.number),
            "EVENT_START": recording.span.start,
            "EVENT_END": recording.span.end,
            "SCORE": f"{recording.change.caption.hybrid:.4f}",
            "MODEL": f"{model.bundle} {model.version}",
            "CUT": cut,
        }
        return {name: value for name, value in tags.items() if value is not None}

    def _forget(self, recording: _Recording) -> None:
        number = recording.change.number
        self._recordings.pop(number, None)
        if recording.change.state != "end":
            self._over.add(number)


def as_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Samples in ±1 as 16 bits, shape (n,): those of a 16-bit source as they were, louder ones at the limit."""
    whole = np.rint(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0) * 32_768.0)
    limited: npt.NDArray[np.int16] = np.clip(whole, -32_768, 32_767).astype(np.int16)
    return limited


def _unix_time(span: TimeSpan) -> float:
    if span.start is None:
        raise AssertionError("clips are of live sources, whose sound has a time")
    return datetime.fromisoformat(span.start.replace("Z", "+00:00")).timestamp()
