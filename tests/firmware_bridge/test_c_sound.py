"""Sound through the C library: each sample arrives, or is accounted for, whatever the ring and the gate do."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.adpcm import AdpcmEncoder, block_bytes, decode_block
from firmware_bridge.fields import Codec
from firmware_bridge.frame import Audio, Frame, Status
from tests.firmware_bridge.c_library import ScriptedDevice

Device = Callable[..., ScriptedDevice]
_QUIET, _LOUD = 3, 3000  # amplitudes of noise: -83 and -23 dB


@pytest.fixture
def linked(c_build: Path) -> Iterator[Device]:
    """Starts a device to which a host has answered."""
    devices: list[ScriptedDevice] = []

    def start(link: str, codec: str = "pcm", **settings: Any) -> ScriptedDevice:
        script = ScriptedDevice(c_build, link, codec, **settings)
        devices.append(script)
        script.poll(0)
        script.answer_hello()
        script.poll(0)
        script.take()
        return script

    yield start
    for each in devices:
        each.close()


def _noise(amplitude: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-amplitude, amplitude, count, dtype=np.int16, endpoint=True)


def _poll_all(script: ScriptedDevice) -> None:
    script.said.clear()
    script.poll(0)
    while "more" in script.said:
        script.said.clear()
        script.poll(0)


def _audio(frames: list[Frame]) -> list[Audio]:
    return [frame for frame in frames if isinstance(frame, Audio)]


def _pcm(frame: Audio) -> np.ndarray:
    return np.frombuffer(frame.payload, "<i2")


def _accounted(frames: list[Audio], heard: np.ndarray) -> tuple[int, int]:
    """Asserts that each frame is what was heard where it says; returns samples gated and lost between them."""
    end = gated = lost = 0
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    for frame in frames:
        left_out = frame.gated_samples - gated
        assert 0 <= left_out <= frame.first_sample - end
        lost += frame.first_sample - end - left_out
        gated, end = frame.gated_samples, frame.first_sample + frame.samples
        assert np.array_equal(_pcm(frame), heard[frame.first_sample : end])
    return gated, lost


def test_pcm_arrives_sample_by_sample(linked: Device) -> None:
    script = linked("stream")
    heard = _noise(32767, 320 * 20 + 123)
    for start in range(0, len(heard), 500):
        script.record(heard[start : start + 500])
        _poll_all(script)
    frames = _audio(script.frames)
    assert [frame.samples for frame in frames] == [320] * 20
    script.do("flush")
    _poll_all(script)
    frames = _audio(script.frames)
    assert [frame.samples for frame in frames[20:]] == [123]
    assert _accounted(frames, heard) == (0, 0)
    # After the pause frames are whole again.
    script.record(heard[:500])
    _poll_all(script)
    assert [frame.samples for frame in _audio(script.frames)[21:]] == [320]


@pytest.mark.parametrize("channels", [1, 2])
def test_adpcm_is_pythons_encoder(linked: Device, channels: int) -> None:
    script = linked("sealed", "adpcm", channels=channels, frame_samples=161)
    heard = _noise(20_000, 161 * 8 * channels)
    encoders = [AdpcmEncoder() for _ in range(channels)]
    for start in range(0, len(heard), 161 * channels):
        piece = heard[start : start + 161 * channels]
        script.record(piece)
        script.poll(0)
        frame = _audio(script.frames)[-1]
        assert frame.payload == b"".join(
            encoder.encode(piece[channel::channels].tolist()) for channel, encoder in enumerate(encoders)
        )
    assert len(_audio(script.frames)) == 8


def test_at_most_four_frames_a_poll(linked: Device) -> None:
    script = linked("plain", ring=4096)
    script.record(_noise(1000, 4096))
    sent = []
    for _ in range(4):
        script.poll(0)
        sent.append((len(_audio(script.frames)), "more" in script.said))
        script.take()
    assert sent == [(4, True), (4, True), (4, True), (0, False)]


@pytest.mark.parametrize("channels", [1, 2])
def test_an_overrun_is_one_hole_known_to_the_sample(linked: Device, channels: int) -> None:
    script = linked("stream", channels=channels, frame_samples=160, ring=512)
    generator = random.Random(channels)
    heard = np.arange(40_000, dtype=np.int32).astype(np.int16)  # no two samples of a hole's neighbourhood are the same
    at = 0
    while at < len(heard):
        count = generator.choice((100, 160, 300, 700, 2000)) * channels
        script.record(heard[at : at + count])
        at += count
        for _ in range(generator.randint(0, 2)):
            script.poll(0)
    for _ in range(3):
        script.record(np.zeros(200 * channels, np.int16))
        _poll_all(script)
    script.do("flush")
    _poll_all(script)
    script.poll(10_000)
    frames = _audio(script.frames)
    end = lost = 0
    for frame in frames:
        lost += frame.first_sample - end
        end = frame.first_sample + frame.samples
        expected = np.concatenate([heard, np.zeros(600 * channels, np.int16)])
        assert np.array_equal(_pcm(frame), expected[frame.first_sample * channels : end * channels])
    assert lost > 5000 / channels
    assert end == len(heard) // channels + 600
    (status,) = [frame for frame in script.frames if isinstance(frame, Status)]
    assert (status.overrun_samples, status.frames_sent) == (lost, len(frames))


def test_the_gate_leaves_out_what_is_quiet(linked: Device) -> None:
    script = linked("stream", gate=True)
    # A second in which it learns the room, quiet, a sound, quiet.
    heard = np.concatenate([_noise(_QUIET, 16_000 * 5), _noise(_LOUD, 3200), _noise(_QUIET, 16_000 * 5, seed=1)])
    for start in range(0, len(heard), 320):
        script.record(heard[start : start + 320])
        script.poll(0)
    frames = _audio(script.frames)
    gated, lost = _accounted(frames, heard)
    assert lost == 0
    sent = {frame.first_sample // 320 for frame in frames}
    assert set(range(250, 260)) <= sent, "the sound is sent"
    assert set(range(260, 265)) <= sent, "and the hold after it"
    # One frame a second goes out while it is quiet.
    quiet = [number for number in sent if 20 < number < 250 or number > 265]
    assert 7 <= len(quiet) <= 10
    assert gated == (frames[-1].first_sample // 320 - len(sent) + 1) * 320


def test_the_gate_follows_the_room_and_opens_for_what_is_loud(linked: Device) -> None:
    def sent_after(levels: list[tuple[int, int]]) -> int:
        """Frames sent of the last row of (amplitude, frames)."""
        script = linked("stream", gate=True)
        for number, (amplitude, frames) in enumerate(levels):
            script.take()
            for each in range(frames):
                script.record(_noise(amplitude, 320, seed=1000 * number + each))
                script.poll(0)
        return len(_audio(script.frames))

    # A fan of -60 dB comes on: a sound at first, the room's quiet after half a minute.
    assert sent_after([(_QUIET, 100), (40, 100)]) == 100
    assert sent_after([(_QUIET, 100), (40, 2500), (40, 100)]) < 10
    assert sent_after([(_QUIET, 100), (40, 2500), (160, 100)]) == 100, "12 dB above the fan"
    # A vacuum cleaner of -37 dB is never the room's quiet.
    assert sent_after([(_QUIET, 100), (800, 2500), (800, 100)]) == 100


def test_an_offset_of_the_microphone_is_no_sound(linked: Device) -> None:
    script = linked("stream", gate=True)
    for each in range(250):
        script.record(_noise(_QUIET, 320, seed=each) + 1500)
        script.poll(0)
    frames = _audio(script.frames)
    assert sum(frame.first_sample >= 320 * 100 for frame in frames) <= 4
    script.poll(10_000)
    (status,) = [frame for frame in script.frames if isinstance(frame, Status)]
    assert 75 <= status.level_below_fs_db <= 90


@pytest.mark.parametrize("codec", ["pcm", "adpcm"])
def test_sound_from_before_the_gate_opened_comes_first(linked: Device, codec: str) -> None:
    script = linked("stream", codec, gate=True, before=6)
    heard = np.concatenate([_noise(_QUIET, 320 * 170), _noise(_LOUD, 320 * 2), _noise(_QUIET, 320 * 60, seed=1)])
    for start in range(0, len(heard), 320):
        script.record(heard[start : start + 320])
        script.poll(0)
        script.poll(0)
    frames = _audio(script.frames)
    numbers = [frame.first_sample // 320 for frame in frames]
    assert numbers == sorted(numbers)
    # The frame that opened it, and the five before it.
    assert [number for number in numbers if 160 <= number < 172] == list(range(165, 172))
    # One a second before, the oldest that is kept; those between are left out.
    assert [len([number for number in numbers if at <= number < at + 50]) for at in (20, 70)] == [1, 1]
    if codec == "pcm":
        gated, lost = _accounted(frames, heard)
        assert lost == 0 and gated > 320 * 100
    else:
        after = [_decoded(frame) for frame in frames if 320 * 170 <= frame.first_sample < 320 * 172]
        errors = np.concatenate(after) - heard[320 * 170 : 320 * 172]
        # The noise of 4 bits a sample, once the step has grown.
        assert np.sqrt(np.mean(errors[100:] ** 2)) < 0.2 * np.sqrt(
            np.mean(np.square(heard[320 * 170 : 320 * 172], dtype=float))
        )


def _decoded(frame: Audio) -> np.ndarray:
    assert frame.codec is Codec.ADPCM and len(frame.payload) == block_bytes(frame.samples)
    return np.array(decode_block(frame.payload, frame.samples), float)


def test_a_hole_among_what_is_kept_from_before_the_gate_opened(linked: Device) -> None:
    script = linked("plain", gate=True, before=4, ring=1024, frame_samples=256)
    heard = np.concatenate([_noise(_QUIET, 256 * 40 + 2000), _noise(_LOUD, 256 * 6)])
    for number in range(40):
        script.record(heard[256 * number : 256 * number + 256])
        script.poll(0)
    # 1024 find room, whole frames that are kept; the hole is behind them.
    script.record(heard[256 * 40 : 256 * 40 + 2000])
    _poll_all(script)
    for at in range(256 * 40 + 2000, len(heard), 256):
        script.record(heard[at : at + 256])
        _poll_all(script)
    gated, lost = _accounted(_audio(script.frames), heard)
    assert lost == 2000 - 1024 and gated > 256 * 20


def test_the_ring_waits_for_half_of_its_room_and_tells_one_hole_at_a_time(linked: Device) -> None:
    script = linked("plain", ring=1024, frame_samples=64)
    heard = np.arange(1, 6001, dtype=np.int16)
    position = 0

    def record(count: int) -> None:
        nonlocal position
        script.record(heard[position : position + count])
        position += count

    record(1024 + 100)
    script.poll(0)  # four frames: a quarter of the ring is free
    record(50)
    script.poll(0)  # half of it
    record(600)  # 512 find room, and 88 do not
    script.poll(0)
    script.poll(0)  # up to the first hole, which is not passed yet
    record(30)
    for _ in range(3):
        _poll_all(script)
        record(200)
    _poll_all(script)
    script.do("flush")
    _poll_all(script)
    frames = _audio(script.frames)
    ends = [frame.first_sample + frame.samples for frame in frames]
    holes = [
        (end, frame.first_sample - end)
        for end, frame in zip([0, *ends[:-1]], frames, strict=True)
        if frame.first_sample > end
    ]
    assert holes == [(1024, 150), (1174 + 512, 88 + 30)]
    assert ends[-1] == position
    assert _accounted(frames, heard) == (0, 150 + 118)


def test_a_hole_while_the_gate_is_closed(linked: Device) -> None:
    script = linked("plain", gate=True, before=4, ring=1024)
    heard = np.concatenate([_noise(_QUIET, 50_000), _noise(_LOUD, 10_000)])
    at = 0
    for number in range(60):
        count = 2500 if number in {30, 31, 45} else 320 * 5 // 2
        script.record(heard[at : at + count])
        at += count
        for _ in range(4):
            script.poll(0)
    frames = _audio(script.frames)
    gated, lost = _accounted(frames, heard)
    script.poll(10_000)
    (status,) = [frame for frame in script.frames if isinstance(frame, Status)]
    assert lost == status.overrun_samples > 3000
    assert gated > 320 * 20


def test_the_ring_between_two_threads(c_build: Path) -> None:
    result = subprocess.run(
        [c_build / "ring_threads", "3000000"], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout
    numbers = dict(word.split("=") for word in result.stdout.split())
    # How many depends on how the two threads are scheduled; the program itself has compared every sample.
    assert int(numbers["holes"]) > 0 and int(numbers["lost"]) < 3_000_000, result.stdout


@pytest.mark.parametrize(("amplitude", "expected"), [(32767, 5), (3277, 25), (328, 45)])
def test_the_level_of_the_last_second(linked: Device, amplitude: int, expected: int) -> None:
    script = linked("plain")
    for each in range(60):
        script.record(_noise(amplitude, 320, seed=each))
        script.poll(0)
    script.poll(10_000)
    (status,) = [frame for frame in script.frames if isinstance(frame, Status)]
    # Even noise of amplitude a has the level a / sqrt(3): 4.8 dB below a.
    assert abs(status.level_below_fs_db - expected) <= 1


def test_pieces_of_the_wire_are_pcm(linked: Device) -> None:
    """Little-endian, whatever the machine: the payload's very bytes."""
    script = linked("plain", frame_samples=4)
    script.record([1, -2, 256, -32768])
    script.poll(0)
    assert _audio(script.frames)[0].payload == struct.pack("<4h", 1, -2, 256, -32768)
