"""A microphone through PortAudio: what is lost is counted, and a device that vanishes is waited for."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.audio.devices import InputDevice, find_input, inputs_of, silenced_stderr, start_port_audio
from edge_aac.audio.resample import MonoResampler
from edge_aac.errors import DeviceError
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

_STALL_S = 5.0
_CHECK_S = 0.5
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_QUEUE_S = 10.0
_CALLBACKS_PER_S = 10
_COMMON_RATES = (48_000, 44_100, 32_000, 96_000, 22_050, 8_000)

# PortAudio's constants, fixed by its ABI; spelled here so that a test needs no PyAudio.
_PA_INT16 = 8
_PA_INPUT_OVERFLOW = 2
_PA_CONTINUE = 0


def open_microphone(uri: str) -> Microphone:
    """Opens ``mic0``, ``usb-id:…`` or ``alsa:…``; the factory of the scheme ``mic``.

    Raises:
        DeviceError: there is no such input, it cannot be opened, or PyAudio is not installed.
    """
    return Microphone(uri)


class _NoFormatError(Exception):
    """The device is there, but takes no rate and no number of channels."""


class LossMeter:
    """Estimates how much sound an overflow cost, from the clock and the frames that arrived.

    Between clock and frames lies the latency of the buffers. Its lowest value is the baseline, which may creep up by
    500 ppm so that a slow crystal does not look like loss; what a flagged overflow adds above it was lost.

    Args:
        rate: the device's rate in Hz.
    """

    _CREEP = 500e-6

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._started_s: float | None = None
        self._frames = 0
        self._baseline = 0.0

    def update(self, now_s: float, frames: int, *, overflowed: bool) -> int:
        """Takes one callback's arrival, and gives the frames lost before it.

        Args:
            now_s: monotonic time of arrival in seconds.
            frames: frames that it brought.
            overflowed: PortAudio says that frames were lost before these.
        """
        self._frames += frames
        if self._started_s is None:
            self._started_s = now_s - frames / self._rate
        lag = (now_s - self._started_s) * self._rate - self._frames
        if overflowed:
            lost = max(0, round(lag - self._baseline))
            self._frames += lost
            return lost
        self._baseline = min(lag, self._baseline + self._CREEP * frames)
        return 0


class _BlockQueue:
    """Bounded hand-over from PortAudio's thread: the oldest blocks are dropped, and counted with the one after them."""

    def __init__(self, rate: int, channels: int, capacity_blocks: int) -> None:
        self._blocks: deque[tuple[int, bytes]] = deque()
        self._frame_bytes = 2 * channels
        self._capacity_blocks = capacity_blocks
        self._meter = LossMeter(rate)
        self._changed = threading.Condition()
        self.last_arrival_s = time.monotonic()
        self.first_arrival_s: float | None = None
        self.first_frames = 0

    def callback(self, data: bytes, frames: int, _times: object, status: int) -> tuple[None, int]:
        """PortAudio's callback: it must be short, since the device waits for it."""
        now_s = time.monotonic()
        with self._changed:
            lost = self._meter.update(now_s, frames, overflowed=bool(status & _PA_INPUT_OVERFLOW))
            if self.first_arrival_s is None:
                self.first_arrival_s, self.first_frames = now_s, frames
            self.last_arrival_s = now_s
            if len(self._blocks) >= self._capacity_blocks:
                dropped_lost, dropped = self._blocks.popleft()
                gone = dropped_lost + len(dropped) // self._frame_bytes
                if self._blocks:
                    next_lost, next_data = self._blocks[0]
                    self._blocks[0] = (next_lost + gone, next_data)
                else:
                    lost += gone
            self._blocks.append((lost, data))
            self._changed.notify_all()
        return None, _PA_CONTINUE

    def take(self, timeout_s: float) -> tuple[int, bytes] | None:
        """Gives the frames lost before the oldest block, and the block; None after the timeout or a :meth:`wake`."""
        with self._changed:
            if not self._blocks:
                self._changed.wait(timeout_s)
            return self._blocks.popleft() if self._blocks else None

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _OpenStream:
    """A running PortAudio stream with its queue and resampler."""

    def __init__(self, audio: Any, device: InputDevice) -> None:
        self.device = device
        self.other_ids = {listed.id for listed in inputs_of(audio)} - {device.id}
        self._audio = audio
        failure: Exception | None = None
        for rate, channels in _formats(device):
            queue = _BlockQueue(rate, channels, round(_QUEUE_S * _CALLBACKS_PER_S))
            try:
                with silenced_stderr():
                    self._stream = audio.open(
                        rate=rate,
                        channels=channels,
                        format=_PA_INT16,
                        input=True,
                        input_device_index=device.index,
                        # 100 ms: few wake-ups, and PortAudio takes no smaller buffers from the driver.
                        frames_per_buffer=rate // _CALLBACKS_PER_S,
                        stream_callback=queue.callback,
                    )
            except (OSError, ValueError) as error:
                failure = error
                continue
            self.queue = queue
            self.channels = channels
            self.resampler = MonoResampler(rate)
            return
        raise _NoFormatError(f"{failure}") from failure

    def alive(self) -> bool:
        """Whether sound still arrives, or may be expected to."""
        if time.monotonic() - self.queue.last_arrival_s > _STALL_S:
            return False
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def close(self) -> None:
        with silenced_stderr():
            for end in (self._stream.close, self._audio.terminate):
                try:
                    end()
                except OSError as error:
                    _log.debug("closing %s: %s", self.device.description, error)


class Microphone:
    """An input device as a :class:`~edge_aac.audio.sources.address.Source`.

    A device that vanishes or stalls is opened again with backoff, for ever; the time without it counts as lost.

    Args:
        uri: as the user wrote it; it is also the source's name.

    Raises:
        DeviceError: the device cannot be opened now.
    """

    live = True

    def __init__(self, uri: str) -> None:
        self.name = uri
        self._closed = threading.Event()
        self._stream_lock = threading.Lock()
        self._lost_samples = 0.0
        self._stream: _OpenStream | None = self._opened(None)
        # Both kept so that another microphone never takes the place of the one the user chose.
        self._device_id = self._stream.device.id
        self._other_ids = self._stream.other_ids
        self._heard_until_s = time.monotonic()

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        while not self._closed.is_set():
            stream = self._stream
            if stream is None:
                self._reopen()
                continue
            taken = stream.queue.take(_CHECK_S)
            if taken is None:
                if not self._closed.is_set() and not self._alive(stream):
                    self._drop_stream()
                continue
            samples = self._samples_of(stream, *taken)
            if len(samples):
                return samples
        self._close_stream()
        return None

    def lost_samples(self) -> int:
        """Samples lost by overflows, by a full queue and while the device was away; grows during an outage."""
        return int(self._lost_samples)

    def close(self) -> None:
        """Ends a :meth:`read` that waits, and lets go of the device."""
        self._closed.set()
        stream = self._stream
        if stream is not None:
            stream.queue.wake()
        self._close_stream()

    def _samples_of(self, stream: _OpenStream, lost_frames: int, data: bytes) -> npt.NDArray[np.float32]:
        rate = stream.resampler.rate
        if lost_frames:
            self._lost_samples += lost_frames * SAMPLE_RATE / rate
            _log.warning("%s: %.2f s of sound lost; the machine is too busy", self.name, lost_frames / rate)
        self._heard_until_s = stream.queue.last_arrival_s
        integers = np.frombuffer(data, dtype="<i2").reshape(-1, stream.channels)
        return stream.resampler.accept(integers.astype(np.float32) / np.float32(2**15))

    def _opened(self, device_id: str | None) -> _OpenStream:
        audio = start_port_audio()
        try:
            device = self._found(audio, device_id)
            return _OpenStream(audio, device)
        except DeviceError:
            audio.terminate()
            raise
        except _NoFormatError as error:
            audio.terminate()
            raise DeviceError(
                f"'{self.name}' cannot be opened at any sample rate ({error}): close the program that uses it, "
                "or choose another one of `edge-aac devices`."
            ) from error

    def _found(self, audio: Any, device_id: str | None) -> InputDevice:
        if device_id is None:
            device = find_input(audio, self.name)
        else:
            device = find_input(audio, device_id) or self._moved(audio, device_id)
        if device is not None:
            return device
        names = ", ".join(listed.name for listed in inputs_of(audio))
        there = f"there are {names}" if names else "no input is connected, or this user may not use it (group audio)"
        raise DeviceError(f"There is no input '{self.name}'; {there}: run `edge-aac devices` and choose one.")

    def _moved(self, audio: Any, device_id: str) -> InputDevice | None:
        """Finds a USB microphone in another port: one of its model that was never seen beside it."""
        for listed in inputs_of(audio):
            if _without_port(listed.id) == _without_port(device_id) and listed.id not in self._other_ids:
                return listed
        return None

    def _alive(self, stream: _OpenStream) -> bool:
        # PortAudio must not be asked about a stream that another thread is closing.
        with self._stream_lock:
            return self._stream is not stream or stream.alive()

    def _drop_stream(self) -> None:
        _log.warning("%s is gone or stalled; waiting for it to come back", self.name)
        self._close_stream()

    def _reopen(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._closed.is_set():
            self._count_silence(time.monotonic())
            try:
                stream = self._opened(self._device_id)
            except DeviceError as error:
                _log.debug("%s: %s", self.name, error)
                self._closed.wait(backoff_s)
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
                continue
            if self._first_sound(stream):
                with self._stream_lock:
                    self._stream = stream
                where = "" if stream.device.id == self._device_id else f" in another port, as {stream.device.id}"
                _log.warning("%s is back%s", self.name, where)
                self._device_id = stream.device.id
                self._other_ids |= stream.other_ids
                return
            stream.close()
            self._closed.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _first_sound(self, stream: _OpenStream) -> bool:
        """Waits for the first block, without taking it: a device that opens but stays mute is not back."""
        while not self._closed.is_set() and stream.alive():
            arrival_s = stream.queue.first_arrival_s
            if arrival_s is not None:
                self._count_silence(arrival_s - stream.queue.first_frames / stream.resampler.rate)
                return True
            self._closed.wait(0.05)
        return False

    def _count_silence(self, until_s: float) -> None:
        self._lost_samples += max(0.0, until_s - self._heard_until_s) * SAMPLE_RATE
        self._heard_until_s = max(self._heard_until_s, until_s)

    def _close_stream(self) -> None:
        with self._stream_lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _without_port(device_id: str) -> str:
    """Gives a USB input's model, and which of the card's inputs it is; any other id as it is."""
    return re.sub(r"^(usb-id:.*)@[^#]*", r"\1", device_id)


def _formats(device: InputDevice) -> list[tuple[int, int]]:
    """Lists rates in Hz with channel counts, in the order in which they are worth trying."""
    rates = dict.fromkeys((SAMPLE_RATE, device.default_rate, *_COMMON_RATES))
    channels = [count for count in dict.fromkeys((1, 2, device.channels)) if count <= device.channels]
    return [(rate, count) for rate in rates for count in channels]
