"""The microphone's promises, with a PortAudio made of Python; the real one is in tests/system."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_aac.audio import devices
from edge_aac.audio.sources import microphone
from edge_aac.audio.sources.microphone import LossMeter, Microphone, open_microphone
from edge_aac.errors import DeviceError
from tests.edge_aac.fakes import read_until_closed

Callback = Callable[[bytes, int, object, int], tuple[None, int]]


class FakeStream:
    def __init__(self, callback: Callback, channels: int, rate: int) -> None:
        self.callback = callback
        self.channels = channels
        self.rate = rate
        self.active = True
        self.closed = False

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.closed = True

    def deliver(self, samples: np.ndarray, status: int = 0) -> None:
        integers = np.round(np.asarray(samples) * 32768).astype("<i2")
        frames = np.repeat(integers[:, None], self.channels, axis=1)
        self.callback(frames.tobytes(), len(frames), {}, status)


class FakePortAudio:
    """Stands for the sound system: what is plugged in, and what it accepts."""

    def __init__(self) -> None:
        self.names = ["pulse"]
        self.accepts: Callable[[int, int], bool] = lambda rate, channels: True
        self.max_channels = 2
        self.tried: list[tuple[int, int]] = []
        self.streams: list[FakeStream] = []
        self.opened: list[str] = []
        self.running = 0
        self.on_open: Callable[[FakeStream], None] = lambda stream: None

    def start(self) -> FakePortAudio:
        self.running += 1
        return self

    def terminate(self) -> None:
        self.running -= 1

    def get_host_api_info_by_type(self, _kind: int) -> dict[str, Any]:
        return {"index": 0, "deviceCount": len(self.names)}

    def get_device_info_by_host_api_device_index(self, _host: int, number: int) -> dict[str, Any]:
        return {
            "index": number,
            "name": self.names[number],
            "maxInputChannels": self.max_channels,
            "defaultSampleRate": 44_100.0,
        }

    def open(
        self, *, rate: int, channels: int, stream_callback: Callback, input_device_index: int, **_rest: object
    ) -> FakeStream:
        self.tried.append((rate, channels))
        if not self.accepts(rate, channels):
            raise OSError(-9997, "Invalid sample rate")
        stream = FakeStream(stream_callback, channels, rate)
        self.streams.append(stream)
        self.opened.append(self.names[input_device_index])
        self.on_open(stream)
        return stream


@pytest.fixture
def sound_system(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    system = FakePortAudio()
    monkeypatch.setattr(microphone, "start_port_audio", system.start)
    monkeypatch.setattr(microphone, "_CHECK_S", 0.01)
    monkeypatch.setattr(microphone, "_FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(microphone, "_LONGEST_BACKOFF_S", 0.02)
    return system


def test_samples_arrive(sound_system: FakePortAudio) -> None:
    source = open_microphone("mic0")
    assert (source.name, source.live, source.lost_samples()) == ("mic0", True, 0)
    assert sound_system.tried == [(16_000, 1)]
    sound_system.streams[0].deliver(np.array([0.5, -0.5, 0.25]))
    block = source.read()
    assert block is not None
    assert block.dtype == np.float32
    assert block.tolist() == [0.5, -0.5, 0.25]
    source.close()
    source.close()
    assert source.read() is None
    assert sound_system.streams[0].closed
    assert sound_system.running == 0


def test_stereo_at_the_devices_own_rate(sound_system: FakePortAudio) -> None:
    sound_system.accepts = lambda rate, channels: rate in (44_100, 48_000) and channels == 2
    source = open_microphone("mic0")
    assert sound_system.tried == [(16_000, 1), (16_000, 2), (44_100, 1), (44_100, 2)]
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    for start in range(0, 44_100, 4_410):
        sound_system.streams[0].deliver(tone[start : start + 4_410])
    heard = np.zeros(0, np.float32)
    while len(heard) < 15_000:
        block = source.read()
        assert block is not None
        heard = np.concatenate((heard, block))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16_000)
    assert np.abs(heard - expected)[1_000:].max() < 1e-3
    source.close()


def test_no_such_microphone(sound_system: FakePortAudio) -> None:
    with pytest.raises(DeviceError, match="There is no input 'mic1'; there are mic0: .*edge-aac devices"):
        open_microphone("mic1")
    sound_system.names = []
    with pytest.raises(DeviceError, match="no input is connected"):
        open_microphone("mic0")
    assert sound_system.running == 0


def test_a_microphone_in_use(sound_system: FakePortAudio) -> None:
    sound_system.accepts = lambda rate, channels: False
    with pytest.raises(DeviceError, match="'mic0' cannot be opened at any sample rate"):
        open_microphone("mic0")
    assert sound_system.running == 0


def test_close_ends_a_waiting_read(sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_CHECK_S", 60.0)
    source = open_microphone("mic0")
    assert read_until_closed(source) == [None]


def test_a_full_queue_drops_the_oldest_and_counts(sound_system: FakePortAudio) -> None:
    source = open_microphone("mic0")
    for number in range(103):
        sound_system.streams[0].deliver(np.full(1_600, number / 1024))
    first = source.read()
    assert first is not None
    assert first[0] == np.float32(3 / 1024)
    assert source.lost_samples() == 3 * 1_600
    source.close()


def test_an_overflow_is_counted_before_the_block_after_it(
    sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(microphone.time, "monotonic", lambda: now_s)
    source = open_microphone("mic0")
    stream = sound_system.streams[0]
    for gap_s, status in ((0.1, 0), (0.1, 0), (0.85, 2), (0.1, 0)):
        now_s += gap_s
        stream.deliver(np.zeros(1_600), status)
    lost = []
    for _ in range(4):
        source.read()
        lost.append(source.lost_samples())
    assert lost == [0, 0, 12_000, 12_000]
    source.close()


@pytest.mark.parametrize("end", ["inactive", "stalled"])
def test_a_vanished_device_is_waited_for(
    end: str, sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(microphone, "_STALL_S", 0.2 if end == "stalled" else 60.0)
    source = open_microphone("mic0")
    first = sound_system.streams[0]
    first.deliver(np.full(160, 0.25))
    assert source.read() is not None
    if end == "inactive":
        first.active = False
    sound_system.names = []

    def plug_in() -> None:
        time.sleep(0.5)
        sound_system.on_open = lambda stream: stream.deliver(np.full(160, 0.5))
        sound_system.names = ["pulse"]

    threading.Thread(target=plug_in, daemon=True).start()
    with caplog.at_level(logging.WARNING):
        block = source.read()
    assert block is not None
    assert block[0] == 0.5
    assert source.lost_samples() >= 0.4 * 16_000
    assert first.closed
    assert [record.message for record in caplog.records] == [
        "mic0 is gone or stalled; waiting for it to come back",
        "mic0 is back",
    ]
    source.close()
    assert sound_system.running == 0


def test_close_ends_the_wait_for_a_device(sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_FIRST_BACKOFF_S", 60.0)
    source = open_microphone("mic0")
    sound_system.streams[0].active = False
    sound_system.names = []
    results: list[np.ndarray | None] = []
    thread = threading.Thread(target=lambda: results.append(source.read()), daemon=True)
    thread.start()
    time.sleep(0.2)
    assert source.lost_samples() > 0, "an outage is counted while it lasts"
    source.close()
    thread.join(5)
    assert results == [None]
    assert sound_system.running == 0


def test_another_microphone_does_not_take_its_place(
    sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound_system.names = ["Good (hw:1,0)", "Bad (hw:2,0)"]
    monkeypatch.setattr(devices, "_identity", lambda card, device, root: ((0, str(card), "", 0), f"alsa:hw:{card},0"))
    source = Microphone("mic0")
    assert sound_system.streams[0].closed is False
    sound_system.streams[0].active = False
    sound_system.names = ["Bad (hw:2,0)"]
    thread = threading.Thread(target=source.read, daemon=True)
    thread.start()
    time.sleep(0.2)
    assert len(sound_system.streams) == 1
    source.close()
    thread.join(5)


def test_a_usb_microphone_may_come_back_in_another_port(
    sound_system: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = "1-1"
    monkeypatch.setattr(
        devices, "_identity", lambda card, device, root: ((0, str(card), "", 0), f"usb-id:0d8c:0014@{port}")
    )
    sound_system.names = ["USB (hw:1,0)"]
    source = Microphone("mic0")
    sound_system.streams[0].active = False
    port = "1-4"
    sound_system.on_open = lambda stream: stream.deliver(np.full(160, 0.5))
    assert source.read() is not None
    source.close()


@pytest.fixture
def usb_ports(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Where each card is plugged in; all are of one model."""
    ports: dict[int, str] = {}

    def identity(card: int, device: int, _root: object) -> tuple[tuple[int, str, str, int], str]:
        suffix = f"#{device}" if device else ""
        return (0, "0d8c:0014", ports[card], device), f"usb-id:0d8c:0014@{ports[card]}{suffix}"

    monkeypatch.setattr(devices, "_identity", identity)
    return ports


def _waits_for(source: Microphone, sound_system: FakePortAudio, plug_in: Callable[[], None]) -> bool:
    """Whether the source, whose microphone is gone, opens nothing until it is plugged in, and reads on then."""
    count = len(sound_system.streams)
    sound_system.streams[-1].active = False
    blocks: list[np.ndarray | None] = []
    thread = threading.Thread(target=lambda: blocks.append(source.read()), daemon=True)
    thread.start()
    time.sleep(0.2)
    waited = len(sound_system.streams) == count
    sound_system.on_open = lambda stream: stream.deliver(np.full(160, 0.5))
    plug_in()
    thread.join(5)
    return waited and len(blocks) == 1 and blocks[0] is not None


@pytest.mark.parametrize("twin_comes", ["before", "later"])
def test_its_twin_does_not_take_its_place(
    twin_comes: str, sound_system: FakePortAudio, usb_ports: dict[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    usb_ports.update({1: "1-1.3", 2: "1-1.2"})
    chosen, twin = "Chosen (hw:1,0)", "Twin (hw:2,0)"

    def plug_in(port: str) -> None:
        usb_ports[1] = port
        sound_system.names = [twin, chosen]

    sound_system.names = [chosen, twin] if twin_comes == "before" else [chosen]
    source = Microphone("usb-id:0d8c:0014@1-1.3")
    if twin_comes == "later":
        sound_system.names = []
        assert _waits_for(source, sound_system, lambda: plug_in("1-1.3"))
    for port in ("1-1.4", "1-1.3"):
        sound_system.names = [twin]
        assert _waits_for(source, sound_system, lambda port=port: plug_in(port))
        assert caplog.messages[-1] == f"{source.name} is back in another port, as usb-id:0d8c:0014@{port}"
    assert set(sound_system.opened) == {chosen}
    source.close()


def test_in_another_port_it_is_the_same_input_of_its_card(
    sound_system: FakePortAudio, usb_ports: dict[int, str]
) -> None:
    usb_ports[1] = "1-1.2"
    sound_system.names = ["Line (hw:1,0)", "Microphone (hw:1,1)"]
    source = Microphone("mic1")
    usb_ports[1] = "1-1.4"
    sound_system.names = []

    def plug_in() -> None:
        sound_system.names = ["Line (hw:1,0)", "Microphone (hw:1,1)"]

    assert _waits_for(source, sound_system, plug_in)
    assert sound_system.opened == ["Microphone (hw:1,1)"] * 2
    source.close()


def test_loss_meter_ignores_slow_crystals_and_jitter() -> None:
    meter = LossMeter(16_000)
    random = np.random.default_rng(0)
    for number in range(36_000):
        now_s = number * 0.1 * (1 + 200e-6) + float(random.uniform(0, 0.03))
        assert meter.update(now_s, 1_600, overflowed=False) == 0
    lost = meter.update(36_000 * 0.1 * (1 + 200e-6) + 2.0, 1_600, overflowed=True)
    assert abs(lost - 32_000) < 1_600
    assert meter.update(36_001 * 0.1 * (1 + 200e-6) + 2.0, 1_600, overflowed=True) < 800
