"""What captures a microphone, with a PortAudio made of Python; the real one is in tests/system."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Queue
from typing import Any

import numpy as np
import pytest

from edge_aac.audio import capture as capturing
from edge_aac.audio import devices
from edge_aac.audio.block_queue import BlockQueue, LossMeter
from edge_aac.audio.capture import (
    HEADER,
    OPENED,
    SOUND,
    Opened,
    Request,
    capture,
    capture_patiently,
)
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.errors import DeviceError
from tests.waiting import PATIENCE_S

Callback = Callable[[bytes, int, object, int], tuple[None, int]]


class FakeStream:
    def __init__(self, callback: Callback, channels: int) -> None:
        self.callback = callback
        self.channels = channels
        self.active = True

    def is_active(self) -> bool:
        return self.active

    def deliver(self, samples: np.ndarray) -> None:
        integers = np.round(np.asarray(samples) * 32768).astype("<i2")
        frames = np.repeat(integers[:, None], self.channels, axis=1)
        self.callback(frames.tobytes(), len(frames), {}, 0)


class FakePortAudio:
    """Stands for the sound system: what is plugged in, and what it accepts."""

    def __init__(self, *names: str, channels: int = 2) -> None:
        self.names = list(names) or ["pulse"]
        self.channels = channels
        self.accepts: Callable[[int, int], bool] = lambda rate, channels: True
        self.tried: list[tuple[int, int]] = []
        self.opened: list[str] = []
        self.streams: Queue[FakeStream] = Queue()

    def get_host_api_info_by_type(self, _kind: int) -> dict[str, Any]:
        return {"index": 0, "deviceCount": len(self.names)}

    def get_device_info_by_host_api_device_index(self, _host: int, number: int) -> dict[str, Any]:
        name = self.names[number]
        return {"index": number, "name": name, "maxInputChannels": self.channels, "defaultSampleRate": 44_100.0}

    def open(
        self, *, rate: int, channels: int, stream_callback: Callback, input_device_index: int, **_rest: object
    ) -> FakeStream:
        self.tried.append((rate, channels))
        if not self.accepts(rate, channels):
            raise OSError(-9997, "Invalid sample rate")
        stream = FakeStream(stream_callback, channels)
        self.opened.append(self.names[input_device_index])
        self.streams.put(stream)
        return stream


@pytest.fixture(autouse=True)
def _checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "_CHECK_S", 0.01)


def _captured(
    audio: FakePortAudio, request: Request, sound: np.ndarray | None = None
) -> list[tuple[bytes, int, bytes]]:
    """What a capture writes until its device stops, which it does after the sound."""
    written: list[bytes] = []

    def play() -> None:
        stream = audio.streams.get(timeout=PATIENCE_S)
        if sound is not None:
            stream.deliver(sound)
        stream.active = False

    threading.Thread(target=play, daemon=True).start()
    with pytest.raises(DeviceError, match=f"'{request.address}' stopped"):
        capture(audio, request, written.append)
    messages = []
    for message in written:
        kind, _, lost_frames, size = HEADER.unpack_from(message)
        assert len(message) == HEADER.size + size
        messages.append((kind, lost_frames, message[HEADER.size :]))
    return messages


def test_it_says_what_it_opened_and_gives_the_sound() -> None:
    audio = FakePortAudio("pulse", "Good (hw:1,0)")
    opened, sound = _captured(audio, Request("mic0"), np.array([0.5, -0.5, 0.25]))
    assert audio.tried == [(16_000, 1)]
    assert opened[:2] == (OPENED, 0)
    assert Opened.from_json(opened[2].decode()) == Opened("alsa:pulse", ("alsa:hw:1,0",), 16_000, 1)
    assert sound == (SOUND, 0, np.array([16_384, -16_384, 8_192], "<i2").tobytes())


def test_stereo_at_the_devices_own_rate() -> None:
    audio = FakePortAudio()
    audio.accepts = lambda rate, channels: rate in (44_100, 48_000) and channels == 2
    opened, sound = _captured(audio, Request("mic0"), np.array([0.5]))
    assert audio.tried == [(16_000, 1), (16_000, 2), (44_100, 1), (44_100, 2)]
    assert Opened.from_json(opened[2].decode()) == Opened("alsa:pulse", (), 44_100, 2)
    assert sound[2] == np.array([16_384, 16_384], "<i2").tobytes()


def test_a_channel_is_opened_with_those_before_it() -> None:
    audio = FakePortAudio()
    audio.accepts = lambda rate, channels: rate == 44_100
    (opened,) = _captured(audio, Request("mic0", lowest_channels=2))
    assert audio.tried == [(16_000, 2), (44_100, 2)]
    assert Opened.from_json(opened[2].decode()).channels == 2
    with pytest.raises(PermanentDeviceError, match="'mic0' has no channel 3: it has 2 channels"):
        capture(FakePortAudio(), Request("mic0", lowest_channels=3), _refuse)


@pytest.mark.parametrize(("has", "opened"), [(1, 1), (4, 4), (128, 2)])
def test_all_channels_that_the_hardware_has(has: int, opened: int) -> None:
    audio = FakePortAudio(channels=has)
    _captured(audio, Request("mic0", lowest_channels=0))
    assert audio.tried == [(16_000, opened)]


def test_no_such_microphone() -> None:
    audio = FakePortAudio()
    with pytest.raises(DeviceError, match="There is no input 'mic1'; there are mic0: .*edge-aac devices"):
        capture(audio, Request("mic1"), _refuse)
    audio.names = []
    with pytest.raises(DeviceError, match="no input is connected"):
        capture(audio, Request("mic0"), _refuse)


def test_a_microphone_in_use() -> None:
    audio = FakePortAudio()
    audio.accepts = lambda rate, channels: False
    with pytest.raises(DeviceError, match="'mic0' cannot be opened at any sample rate"):
        capture(audio, Request("mic0"), _refuse)


def _refuse(_message: bytes) -> None:
    raise AssertionError("there is nothing to write")


def test_requests_survive_the_command_line() -> None:
    request = Request("usb-id:0d8c:0014", "usb-id:0d8c:0014@1-1.2", ("alsa:hw:Größe,0",), 2)
    assert Request.from_json(request.to_json()) == request
    assert Request.from_json(Request("mic0").to_json()) == Request("mic0")


def test_another_microphone_does_not_take_its_place(usb_ports: dict[int, str]) -> None:
    usb_ports.update({1: "1-1.1", 2: "1-1.2"})
    good, bad = "Good (hw:1,0)", "Bad (hw:2,0)"
    opened = Opened.from_json(_captured(FakePortAudio(good, bad), Request("mic0"))[0][2].decode())
    again = Request("mic0", opened.device_id, opened.other_ids)
    with pytest.raises(DeviceError, match="no input 'mic0'"):
        capture(FakePortAudio(bad), again, _refuse)
    both = FakePortAudio(bad, good)
    _captured(both, again)
    assert both.opened == [good]


@pytest.fixture
def usb_ports(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Where each card is plugged in; all are of one model."""
    ports: dict[int, str] = {}

    def identity(card: int, device: int, _root: object) -> tuple[tuple[int, str, str, int], str]:
        suffix = f"#{device}" if device else ""
        return (0, "0d8c:0014", ports[card], device), f"usb-id:0d8c:0014@{ports[card]}{suffix}"

    monkeypatch.setattr(devices, "_identity", identity)
    return ports


def test_a_usb_microphone_may_come_back_in_another_port(usb_ports: dict[int, str]) -> None:
    chosen, twin = "Chosen (hw:1,0)", "Twin (hw:2,0)"
    usb_ports.update({1: "1-1.4", 2: "1-1.2"})
    again = Request("mic1", "usb-id:0d8c:0014@1-1.3", ("usb-id:0d8c:0014@1-1.2",))
    with pytest.raises(DeviceError, match="no input"):
        capture(FakePortAudio(twin), again, _refuse)
    audio = FakePortAudio(twin, chosen)
    opened = Opened.from_json(_captured(audio, again)[0][2].decode())
    assert audio.opened == [chosen]
    assert opened == Opened("usb-id:0d8c:0014@1-1.4", ("usb-id:0d8c:0014@1-1.2",), 16_000, 1)


def test_in_another_port_it_is_the_same_input_of_its_card(usb_ports: dict[int, str]) -> None:
    usb_ports[1] = "1-1.4"
    audio = FakePortAudio("Line (hw:1,0)", "Microphone (hw:1,1)")
    _captured(audio, Request("mic1", "usb-id:0d8c:0014@1-1.2#1", ("usb-id:0d8c:0014@1-1.2",)))
    assert audio.opened == ["Microphone (hw:1,1)"]


def test_a_port_is_named_for_whatever_is_in_it(usb_ports: dict[int, str]) -> None:
    usb_ports.update({1: "1-1.4", 2: "1-1.2"})
    before, after = "Before (hw:1,0)", "After (hw:2,0)"
    again = Request("usb-path:1-1.2", "usb-id:ffff:0001@1-1.2", ())
    audio = FakePortAudio(before, after)
    _captured(audio, again)
    assert audio.opened == [after], "another model in the same port"
    with pytest.raises(DeviceError, match="no input 'usb-path:1-1.2'"):
        capture(FakePortAudio(before), Request("usb-path:1-1.2", "usb-id:0d8c:0014@1-1.2", ()), _refuse)


def test_a_full_queue_drops_the_oldest_and_counts() -> None:
    queue = BlockQueue(16_000, 2, capacity_blocks=100)
    for number in range(103):
        queue.callback(bytes([number]) * 4 * 1_600, 1_600, {}, 0)
    taken = queue.take(0.0)
    assert taken is not None
    assert taken[1:] == (3 * 1_600, bytes([3]) * 4 * 1_600)
    taken = queue.take(0.0)
    assert taken is not None
    assert taken[1] == 0


def test_an_overflow_is_counted_before_the_block_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    queue = BlockQueue(16_000, 1, capacity_blocks=100)
    for gap_s, status in ((0.1, 0), (0.1, 0), (0.85, 2), (0.1, 0)):
        now_s += gap_s
        queue.callback(bytes(3_200), 1_600, {}, status)
    taken = [queue.take(0.0) for _ in range(4)]
    assert [block[:2] for block in taken if block] == [
        (pytest.approx(100.1), 0),
        (pytest.approx(100.2), 0),
        (pytest.approx(101.05), 12_000),
        (pytest.approx(101.15), 0),
    ]
    assert queue.take(0.0) is None


def test_loss_meter_ignores_slow_crystals_and_jitter() -> None:
    meter = LossMeter(16_000)
    random = np.random.default_rng(0)
    for number in range(36_000):
        now_s = number * 0.1 * (1 + 200e-6) + float(random.uniform(0, 0.03))
        assert meter.update(now_s, 1_600, overflowed=False) == 0
    lost = meter.update(36_000 * 0.1 * (1 + 200e-6) + 2.0, 1_600, overflowed=True)
    assert abs(lost - 32_000) < 1_600
    assert meter.update(36_001 * 0.1 * (1 + 200e-6) + 2.0, 1_600, overflowed=True) < 800


@pytest.mark.parametrize("slow", [0.03, -0.03])
def test_loss_meter_of_a_device_that_runs_percents_too_slow_or_too_fast(slow: float) -> None:
    meter = LossMeter(16_000)
    for number in range(36_000):
        assert meter.update(number * 0.1 * (1 + slow), 1_600, overflowed=False) == 0
    lost = meter.update(36_000 * 0.1 * (1 + slow) + 2.0, 1_600, overflowed=True)
    # The lowest lag of the last ten seconds is the measure.
    assert abs(lost - 32_000) < 0.03 * 10 * 16_000 + 1_600


class _Machine:
    """Starts of PortAudio, each of which lists what is there then."""

    def __init__(self, *listings: FakePortAudio) -> None:
        self.listings = list(listings)
        self.ended = 0

    def start(self) -> FakePortAudio:
        audio = self.listings.pop(0)
        audio.terminate = self._end  # type: ignore[attr-defined]
        return audio

    def _end(self) -> None:
        self.ended += 1


def test_a_microphone_that_was_heard_is_looked_for_until_it_is_back() -> None:
    good = FakePortAudio("Good (hw:1,0)")
    machine = _Machine(FakePortAudio("Bad (hw:2,0)"), FakePortAudio("Bad (hw:2,0)"), good)
    written: list[bytes] = []

    def play() -> None:
        good.streams.get(timeout=PATIENCE_S).active = False

    threading.Thread(target=play, daemon=True).start()
    with pytest.raises(DeviceError, match="stopped"):
        capture_patiently(machine.start, Request("mic0", "alsa:hw:1,0"), written.append)
    assert (len(written), machine.ended) == (1, 2)
    assert machine.listings == [], "one that stopped is looked for by another process"


@pytest.mark.parametrize(("device_id", "patience_s"), [(None, 1e6), ("alsa:hw:1,0", 0.0)])
def test_one_that_was_never_heard_is_not_waited_for(device_id: str | None, patience_s: float) -> None:
    machine = _Machine(FakePortAudio("Bad (hw:2,0)"))
    with pytest.raises(DeviceError, match="no input"):
        capture_patiently(machine.start, Request("mic7", device_id), _refuse, patience_s)
