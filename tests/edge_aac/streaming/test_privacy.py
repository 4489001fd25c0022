"""Privacy: what people say in a room is told nowhere, kept nowhere, and counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import ConfigError, DataError
from edge_aac.fluency.english.speech import tells_of_speech
from edge_aac.models.contract import Description, Latency, ScoredCaption
from edge_aac.records import Caption, Event, Health
from edge_aac.records.clip import Clip
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.clips.saving import ClipSaving, open_clips
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.privacy import PrivacyGate
from edge_aac.streaming.privacy_settings import PrivacySettings, SpeechRule
from edge_aac.streaming.session import Session
from edge_aac.streaming.wording import WordPatterns
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming.session_cases import DOG, HOP, RAIN, WINDOW, AttendedSource, attend, noise, running
from tests.waiting import PATIENCE_S, until

TALK = scored("a man speaks", direction=180)


def _description(*texts: str | ScoredCaption, familiar: bool = True) -> Description:
    ranked = [scored(text, 0.5 - 0.01 * place) if isinstance(text, str) else text for place, text in enumerate(texts)]
    return Description(ranked, np.ones(2, np.float32), len(ranked), Latency(1.0, 1.0, 1.0), familiar=familiar)


def _label(text: str, similarity: float) -> ScoredCaption:
    return ScoredCaption(text, similarity, None, similarity)


def _gate(speech: SpeechRule = "suppress", *suppressed: str) -> PrivacyGate:
    return PrivacyGate(speech, tells_of_speech, WordPatterns(suppressed))


def test_all_is_told_unless_it_is_switched_on() -> None:
    verdict = PrivacyGate().judge(_description("a man speaks", familiar=False))
    assert verdict.published and verdict.kept and not verdict.speech and not PrivacyGate().withholds


@pytest.mark.parametrize("texts", [("a man speaks",), ("rain falls", "a dog barks", "a man speaks while rain falls")])
def test_one_candidate_that_tells_of_speech_is_enough(texts: Sequence[str]) -> None:
    verdict = _gate().judge(_description(*texts))
    assert not verdict.published and not verdict.kept and verdict.speech
    verdict = _gate("mark").judge(_description(*texts))
    assert verdict.published and not verdict.kept and verdict.speech


def test_labels_that_are_far_from_the_best_say_nothing() -> None:
    near = _description(_label("rain", 0.4), _label("speech", 0.31))
    far = _description(_label("rain", 0.4), _label("speech", 0.29))
    assert not _gate().judge(near).published
    assert _gate().judge(far).published and _gate().judge(far).kept


def test_what_is_not_familiar_is_told_and_not_kept() -> None:
    verdict = _gate().judge(_description("an unknown sound is heard", familiar=False))
    assert verdict.published and not verdict.kept and not verdict.speech
    by_words = PrivacyGate(suppressed=WordPatterns(["radio"]))
    assert by_words.judge(_description("an unknown sound is heard", familiar=False)).kept


def test_words_of_the_users_own() -> None:
    gate = PrivacyGate(suppressed=WordPatterns(["radio*"]))
    assert gate.withholds
    verdict = gate.judge(_description("rain", "Radios play"))
    assert not verdict.published and not verdict.kept and not verdict.speech
    assert gate.judge(_description("a man speaks")).published


def test_a_language_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="'fr'"):
        PrivacyGate.of(PrivacySettings(speech="mark"), lambda: "fr")
    with pytest.raises(ValueError, match="check"):
        PrivacyGate("suppress")
    assert PrivacyGate.of(PrivacySettings(speech="suppress"), lambda: "en-GB").withholds
    # Where nothing depends on it, nobody asks for the language.
    assert not PrivacyGate.of(PrivacySettings(), lambda: pytest.fail("asked")).withholds


@dataclass
class _Run:
    """What a session over one source published, and its counters."""

    sink: FakeSink
    session: Session

    def __getitem__(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.sink.records if isinstance(record, kind)]


def _run(  # noqa: PLR0913 - the parts of a session
    script: Sequence[ScoredCaption | DataError],
    gate: PrivacyGate,
    *,
    live: bool = False,
    clips: ClipSaving | None = None,
    score_gate: ScoreGate | None = None,
    every_window: bool = True,
    count: int = 0,
    model: FakeModel | None = None,
) -> _Run:
    sink = FakeSink()
    stop = threading.Event()
    session = Session(
        model=model or FakeModel(script, by_position=HOP),
        hub=Hub([Outlet("fake", sink, ("caption", "event", "health", "clip"), 256, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=3600.0,
        clips=clips,
    )
    given = [noise(HOP, seed) for seed in range((count or len(script)) + 1)]
    source = AttendedSource(given, live=live)
    settings = ChannelSettings(EnergyGate(-70.0), score_gate or ScoreGate(), 0, every_window, privacy=gate)
    channel = session.add(source, WindowSlicer(WINDOW, HOP), settings)
    if live:
        attend(session, source, channel)
    session.run()
    return _Run(sink, session)


def test_speech_is_suppressed_counted_and_in_no_record_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run = _run([RAIN, TALK, TALK, DOG], _gate())
    (channel,) = run.session.channels
    assert channel.counters.private == 2 and channel.counters.captions == 2
    assert "2 private" in channel.counters.sentence()
    assert sum(record.private for record in run[Health]) == 2 and "2 private" in run[Health][-1].sentence()
    told = "".join(record.to_json() for record in run.sink.records) + caplog.text
    assert "speaks" not in told and "rain" in told
    assert {record.caption for record in run[Event]} == {"rain", "dog"}
    assert [record.seq for record in run[Caption]] == [0, 1]
    assert all(record.speech is None for record in [*run[Caption], *run[Event]])


def test_nothing_private_is_told_of_what_is_unsure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run = _run([replace(TALK, hybrid=0.1), replace(DOG, hybrid=0.1)], _gate(), score_gate=ScoreGate(0.2))
    (channel,) = run.session.channels
    assert (channel.counters.private, channel.counters.unsure) == (1, 1)
    assert "speaks" not in caplog.text


def test_speech_is_marked_in_captions_and_events() -> None:
    run = _run([RAIN, TALK, DOG], _gate("mark"))
    assert [(record.caption, record.speech) for record in run[Caption]] == [
        *(("rain", None), ("a man speaks", True), ("dog", None))
    ]
    assert {(record.caption, record.speech) for record in run[Event]} == {
        *(("rain", None), ("a man speaks", True), ("dog", None))
    }
    assert '"speech":true' in run[Caption][1].to_json() and "speech" not in run[Caption][0].to_json()


def _clips(folder: Path, **rules: Any) -> ClipSaving:
    settings = {"pre_roll_s": 0.1, "post_roll_s": 0.0, "min_free_mb": 0.0, **rules}
    saving = open_clips(ClipSettings(enabled=True, folder=folder, **settings))
    assert saving is not None
    return saving


def test_a_clip_of_a_live_source_and_its_record(tmp_path: Path) -> None:
    run = _run([RAIN] * 4 + [DOG] * 4 + [RAIN] * 8, PrivacyGate(), live=True, clips=_clips(tmp_path))
    clips = run[Clip]
    assert {clip.caption for clip in clips} == {"rain", "dog"}
    assert sorted(clip.path for clip in clips) == sorted(str(path) for path in tmp_path.iterdir())
    heard = np.concatenate([noise(HOP, seed) for seed in range(17)])
    for clip in clips:
        samples, rate = soundfile.read(clip.path, dtype="int16")
        assert rate == 16_000 and len(samples) == round(clip.seconds * 16_000)
        whole = np.clip(np.rint(heard * 32_768), -32_768, 32_767)
        begin = np.flatnonzero(np.convolve(whole[: len(whole)] == samples[0], [1]) > 0)
        assert any(np.array_equal(whole[at : at + len(samples)], samples) for at in begin)
    (dog,) = [clip for clip in clips if clip.caption == "dog"]
    # Of windows 4 to 7, and 0.1 s before them.
    assert WINDOW / 16_000 + 0.1 <= dog.seconds <= (3 * HOP + WINDOW) / 16_000 + 0.1
    assert run[Health][-1].clips is not None and run[Health][-1].clips.saved == len(clips)


def test_no_clip_of_speech_and_none_that_speech_comes_into(tmp_path: Path) -> None:
    script = [TALK] * 4 + [RAIN] * 4 + [TALK] * 4 + [RAIN] * 4
    talked: list[int] = []

    class _Noting(FakeModel):
        def _describe(self, window: Window, rng: np.random.Generator) -> Description | DataError:
            described = super()._describe(window, rng)
            if isinstance(described, Description) and described.best is TALK:
                talked.append(window.start)
            return described

    heard = np.rint(np.concatenate([noise(HOP, seed) for seed in range(17)]) * 32_768)
    gates: tuple[SpeechRule, ...] = ("suppress", "mark")
    for speech in gates:
        talked.clear()
        clips = _clips(tmp_path / speech, pre_roll_s=1.0, post_roll_s=1.0)
        run = _run(script, _gate(speech), live=True, clips=clips, model=_Noting(script, by_position=HOP))
        assert talked
        for path in (tmp_path / speech).iterdir():
            samples = soundfile.read(path, dtype="int16")[0]
            (first,) = [at for at in np.flatnonzero(heard == samples[0]) if (heard[at : at + 50] == samples[:50]).all()]
            assert not [at for at in talked if at < first + len(samples) and first < at + WINDOW]
        health = run[Health][-1].clips
        assert health is not None and health.private >= 1
        assert all("speaks" not in clip.caption for clip in run[Clip])


def test_a_file_has_no_clips_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = _run([RAIN] * 6, PrivacyGate(), clips=_clips(tmp_path))
    assert run[Caption] and run[Clip] == [] and list(tmp_path.iterdir()) == []
    assert "garden.wav: no clips are saved of it" in caplog.text


def test_a_stream_that_is_stopped_completes_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The event is one, though a block may be late.
    monkeypatch.setattr("edge_aac.streaming.channel.SILENT_WAIT_S", PATIENCE_S)
    stopping = threading.Event()

    class _Stopping(FakeModel):
        def _describe(self, window: Window, rng: np.random.Generator) -> Description | DataError:
            if window.start >= 10 * HOP:
                stopping.set()
            return super()._describe(window, rng)

    sink = FakeSink()
    session = Session(
        model=_Stopping([RAIN]),
        hub=Hub([Outlet("fake", sink, ("clip",), 256, stopping)]),
        node="kitchen",
        stop=stopping,
        clips=_clips(tmp_path),
    )
    source = AttendedSource([noise(HOP, seed) for seed in range(100)], live=True, endless=True)
    attend(session, source, session.add(source, WindowSlicer(WINDOW, HOP), ChannelSettings(EnergyGate(-70.0))))
    session.run()
    (clip,) = sink.records
    assert isinstance(clip, Clip) and clip.seconds >= (10 * HOP + WINDOW) / 16_000
    assert len(soundfile.read(clip.path)[0]) == round(clip.seconds * 16_000)
    assert [str(path) for path in tmp_path.iterdir()] == [clip.path]


def test_a_source_that_falls_silent_completes_its_clips(tmp_path: Path) -> None:
    sink, stop = FakeSink(), threading.Event()
    session = Session(
        model=FakeModel([RAIN]),
        hub=Hub([Outlet("fake", sink, ("clip",), 256, stop)]),
        node="kitchen",
        stop=stop,
        clips=_clips(tmp_path, post_roll_s=0.5),
    )
    # The event is over when no more sound comes, and what comes after it will never come.
    given = np.concatenate([*(noise(HOP, seed) for seed in range(6)), np.zeros(4 * HOP, np.float32)])
    source = FakeSource([given], live=True, endless=True)
    session.add(source, WindowSlicer(WINDOW, HOP), ChannelSettings(EnergyGate(-70.0)))
    with running(session, stop):
        until(lambda: sink.records)
        saved = list(sink.records)
    assert len(saved) == 1 and isinstance(saved[0], Clip) and saved[0].cut == "stop"


def test_clips_are_off() -> None:
    assert open_clips(ClipSettings()) is None


def test_where_clips_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert ClipSettings().resolved_folder() == tmp_path / "edge-aac" / "clips"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(ClipSettings().resolved_folder()) == "/home/me/.local/state/edge-aac/clips"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edge-aac:/var/lib/other")
    assert str(ClipSettings().resolved_folder()) == "/var/lib/edge-aac/clips"
    assert ClipSettings(folder=Path("/srv/clips")).resolved_folder() == Path("/srv/clips")


def test_a_limit_below_one_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no clip"):
        ClipSettings(max_clip_s=60.0, max_total_mb=1.0)
