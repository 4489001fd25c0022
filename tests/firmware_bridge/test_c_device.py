"""A device of the C library: when it speaks, what it believes, what it shows, in a time of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.fields import Abilities, Codec, Pattern, Priority, Result
from firmware_bridge.frame import Ack, Alert, Audio, Caption, Frame, Hello, Status, Time, encode
from firmware_bridge.packets import Direction, seal
from tests.firmware_bridge.c_library import ScriptedDevice

Device = Callable[..., ScriptedDevice]
_SESSION = 0xFEDCBA9876543210


@pytest.fixture
def device(c_build: Path) -> Iterator[Device]:
    devices: list[ScriptedDevice] = []

    def start(link: str, codec: str = "pcm", **settings: Any) -> ScriptedDevice:
        devices.append(ScriptedDevice(c_build, link, codec, **settings))
        return devices[-1]

    yield start
    for each in devices:
        each.close()


def _hellos(frames: list[Frame]) -> list[int]:
    return [frame.number for frame in frames if isinstance(frame, Hello)]


def _caption(number: int, text: str = "a dog barks", priority: Priority = Priority.NORMAL, show_s: int = 0) -> Caption:
    return Caption(ScriptedDevice.ID, number, priority, show_s, text)


def test_hello_says_what_the_device_is(device: Device) -> None:
    script = device("stream", "adpcm", channels=2, frame_samples=240, gate=True)
    script.poll(0)
    everything = Abilities.DISPLAY | Abilities.ALERT | Abilities.GATE
    expected = Hello(1, ScriptedDevice.BOOT, 1, 16_000, 2, Codec.ADPCM, 240, everything, 100, "script", "0")
    assert script.frames == [expected]
    # A zero before the first packet ends whatever the line said before.
    assert [packet[:1] == b"\0" for packet in script.packets] == [True, False]


@pytest.mark.parametrize("link", ["stream", "plain", "sealed"])
def test_hello_each_second_until_it_is_answered_then_every_five(device: Device, link: str) -> None:
    script = device(link)
    for _ in range(34):
        script.poll(100)
    assert _hellos(script.take()) == [1, 2, 3, 4]
    script.record([1] * 1024)
    script.poll(0)
    assert script.take() == [], "sound goes nowhere before a host answers"
    script.give(Time(1, 77, 4, _SESSION, 0))
    for _ in range(101):
        script.poll(100)
    frames = script.take()
    # The last HELLO was at 3.1 s: now those at 8.1, and, that one not being answered, at 13.1 s.
    assert _hellos(frames) == [5, 6]
    statuses = [frame for frame in frames if isinstance(frame, Status)]
    assert [status.uptime_s for status in statuses] == [3, 13]
    assert statuses[0].overrun_samples == 1024


def test_sound_stops_where_no_host_answers_any_more(device: Device) -> None:
    script = device("plain")
    script.poll(0)
    script.answer_hello()
    script.take()
    sent = []
    for second in range(1, 26):
        script.record([second] * 320)
        script.poll(1000)
        frames = script.take()
        sent.append((_hellos(frames), any(isinstance(frame, Audio) for frame in frames)))
    assert [second for second, (hellos, _) in enumerate(sent, 1) if hellos] == [5, 10, 15, 20, 21, 22, 23, 24, 25]
    # The fourth HELLO that nobody answers says that nobody is there.
    assert [has_sound for _, has_sound in sent] == [True] * 19 + [False] * 6
    script.poll(1000)
    script.answer_hello()
    script.record([9] * 320)
    script.poll(0)
    (status, audio) = script.take()[1:]
    assert isinstance(status, Status) and isinstance(audio, Audio)
    assert (audio.first_sample, audio.sequence, status.overrun_samples) == (25 * 320, 19, 6 * 320)


def test_a_time_that_answers_no_hello_is_not_believed(device: Device) -> None:
    script = device("sealed")
    script.poll(0)
    for wrong in (
        Time(1, 78, 1, _SESSION, 0),
        Time(1, 77, 2, _SESSION, 0),
        Time(2, 77, 1, _SESSION, 0),
        Time(1, 77, 1, 0, 0),
    ):
        script.give(wrong)
    # Of another direction, of another session, with a counter.
    script.give(Time(1, 77, 1, _SESSION, 0), direction=Direction.UP)
    script.give(Time(1, 77, 1, _SESSION, 0), session=3)
    script.give(Time(1, 77, 1, _SESSION, 0), counter=1)
    script.receive(seal(encode(Time(1, 77, 1, _SESSION, 0)), bytes(32), Direction.DOWN, 0, 0))
    script.record([1] * 320)
    script.poll(0)
    assert _hellos(script.take()) == [1]
    right = script.give(Time(1, 77, 1, _SESSION, 1_780_000_000_123))
    script.record([1] * 320)
    script.poll(0)
    assert script.said == ["time 1780000000123"]
    assert [type(frame) for frame in script.take()] == [Status, Audio]
    assert script.counters[1:] == [(_SESSION, 1), (_SESSION, 2)]
    # Once more it is the answer to nothing.
    script.receive(right)
    assert script.said == []


def test_captions_are_taken_once_and_in_their_session_only(device: Device) -> None:
    script = device("sealed")
    script.poll(0)
    assert _hellos(script.take()) == [1]
    script.give(_caption(1), session=_SESSION, counter=1)
    assert (script.said, script.take()) == ([], []), "no session yet"
    script.give(Time(1, 77, 1, _SESSION, 0))
    first = script.give(_caption(1), session=_SESSION, counter=1)
    assert "caption 1 a dog barks" in script.said
    assert script.take() == [Ack(1, Caption.TYPE, Result.DONE, 1)]
    script.receive(first)  # replayed
    script.give(_caption(2), session=_SESSION + 1, counter=2)
    script.give(_caption(2), session=0, counter=0)
    script.give(_caption(2), session=_SESSION, counter=2, direction=Direction.UP)
    for at in range(0, len(first), 7):  # forged and cut
        script.receive(first[:at] + bytes([first[at] ^ 4]) + first[at + 1 :])
        script.receive(first[:at])
    assert (script.said, script.take()) == ([], [])
    # A repetition by the host itself has another counter: answered, not shown.
    script.give(_caption(1), session=_SESSION, counter=70)
    assert (script.said, script.frames) == ([], [Ack(1, Caption.TYPE, Result.DONE, 1)])
    script.take()
    script.give(_caption(3), session=_SESSION, counter=6)  # too old to know
    script.give(_caption(4), session=_SESSION, counter=7)
    assert script.said == ["caption 4 a dog barks"]


def test_a_new_session_begins_anew(device: Device) -> None:
    script = device("sealed")
    script.poll(0)
    script.give(Time(1, 77, 1, _SESSION, 0))
    script.give(_caption(1), session=_SESSION, counter=9)
    script.give(Ack(1, Hello.TYPE, Result.HELLO_WANTED, 0))
    script.poll(400)
    assert _hellos(script.take()) == [1], "HELLO at most once a second"
    script.poll(600)
    assert _hellos(script.take()) == [2]
    script.give(Time(1, 77, 2, 5, 0))
    script.give(_caption(1, "rain"), session=5, counter=9)
    assert script.said == ["caption 1 rain"], "another host's first caption is no repetition, nor is its counter"
    script.give(_caption(2), session=_SESSION, counter=10)
    assert script.said == ["caption 1 rain"]
    assert script.counters[-1] == (5, 1)


def test_the_same_session_goes_on(device: Device) -> None:
    script = device("sealed")
    script.poll(0)
    script.give(Time(1, 77, 1, _SESSION, 0))
    first = script.give(_caption(1), session=_SESSION, counter=1)
    script.poll(5000)
    script.give(Time(1, 77, 2, _SESSION, 0))
    script.take()
    script.receive(first)
    script.give(_caption(1), session=_SESSION, counter=2)
    assert script.said == []
    assert script.counters[-1] == (_SESSION, 3)  # after the first ACK and the STATUS


def test_counters_that_are_used_up(device: Device) -> None:
    script = device("sealed")
    script.poll(0)
    script.give(Time(1, 77, 1, _SESSION, 0))
    script.do(f"counter {2**32 - 2}")
    script.poll(0)
    script.poll(10_000)
    script.poll(10_000)
    hellos = [(frame.boot, frame.number) for frame in script.frames if isinstance(frame, Hello)]
    assert hellos == [(77, 1), (77, 2), (78, 1)]
    assert script.counters[1] == (_SESSION, 2**32 - 1)
    assert [each for each in script.counters[2:] if each[0]] == []
    script.give(Time(1, 78, 1, 6, 0))
    script.poll(0)
    assert script.counters[-1] == (6, 1)


def test_eight_ids_are_remembered_and_busy_is_no_answer(device: Device) -> None:
    script = device("stream")
    script.poll(0)
    script.answer_hello()
    script.take()
    script.do("busy 1")
    script.give(_caption(1))
    script.do("busy 0")
    script.give(_caption(1))
    assert script.said == ["caption 1 a dog barks"]
    assert script.take() == [Ack(1, Caption.TYPE, Result.BUSY, 1), Ack(1, Caption.TYPE, Result.DONE, 1)]
    for number in range(2, 9):
        script.give(Alert(1, number, Pattern.LONG, Priority.URGENT, 3))
    script.take()
    script.give(_caption(1))
    assert (script.said, script.take()) == ([], [Ack(1, Caption.TYPE, Result.DONE, 1)])
    script.give(Alert(1, 9, Pattern.STOP, Priority.LOW, 0))
    script.give(_caption(1))
    assert script.said == ["alert 9 0", "caption 1 a dog barks"]


def test_what_the_device_cannot_show(device: Device) -> None:
    script = device("plain")
    script.poll(0)
    script.answer_hello()
    script.take()
    script.give(_caption(1, "x" * 101))
    assert (script.said, script.take()) == ([], [Ack(1, Caption.TYPE, Result.CANNOT, 1)])


def test_another_devices_frames_are_not_its_own(device: Device) -> None:
    script = device("stream")
    script.poll(0)
    script.answer_hello()
    script.take()
    script.give(Caption(2, 1, Priority.NORMAL, 0, "not for us"))
    script.give(Hello(1, 1, 1, 8000, 1, Codec.PCM, 1, Abilities(0), 0, "", ""))
    assert (script.said, script.take()) == ([], [])


def test_refused_frames_are_counted(device: Device) -> None:
    script = device("stream")
    script.poll(0)
    script.answer_hello()
    generator = random.Random(5)
    script.receive(generator.randbytes(3000).replace(b"\0", b"\1") + b"\0")  # longer than its room
    script.receive(b"\5\1\1\1\0")
    script.give(_caption(1))
    script.poll(10_000)
    statuses = [frame for frame in script.take() if isinstance(frame, Status)]
    assert [(status.frames_refused, status.captions_shown) for status in statuses] == [(2, 1)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a dog barks twice", ["a dog", "barks", "twice"]),
        ("thunder", ["thunder", "", ""]),
        ("abcdefghijklmnopqrstuvwxyz and so on", ["abcdefghij", "klmnopqrst", "uvwxyz and"]),
        ("日本語日本語日本語日本語", ["日本語日本語日本語日", "本語", ""]),
        ("ten things here", ["ten things", "here", ""]),
        ("a\x1b[2Jb\nc\0d", ["a [2Jb c d", "", ""]),
    ],
)
def test_the_screen_wraps_at_words(device: Device, text: str, rows: list[str]) -> None:
    script = device("stream")
    script.poll(0)
    script.answer_hello()
    script.poll(0)
    script.take()
    script.give(_caption(1, text))
    script.poll(0)
    assert [line for line in script.said if line.startswith("row")] == [f"row {n} {row}" for n, row in enumerate(rows)]


def test_a_more_important_caption_keeps_its_time(device: Device) -> None:
    script = device("stream")
    script.poll(0)
    script.answer_hello()
    script.take()
    script.give(_caption(1, "fire alarm", Priority.URGENT, 4))
    script.poll(3900)
    script.give(_caption(2, "rain", Priority.NORMAL, 4))
    assert [frame.result for frame in script.take() if isinstance(frame, Ack)] == [Result.DONE, Result.BUSY]
    script.poll(100)
    assert script.said == ["row 0 ", "row 1 ", "row 2 "], "its time is over"
    script.give(_caption(2, "rain", Priority.NORMAL, 0))
    script.give(_caption(3, "wind", Priority.LOW, 0))
    script.poll(60_000)
    assert script.said[-3:] == ["row 0 wind", "row 1 ", "row 2 "]
