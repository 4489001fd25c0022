"""The process that captures one microphone: ``python -m edge_aac.audio.capture REQUEST``.

PortAudio lists the devices when it is initialised, and again only once nothing in its process uses it. In one process,
an open microphone would therefore keep another one that was replugged from ever being found again; so each is captured
by a process of its own, which is ended and started anew to look again. A driver that hangs or crashes takes nothing
else with it.

The process writes messages to standard output and ends when its standard input ends, as it does when its parent dies.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edge_aac.audio.block_queue import BlockQueue
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.devices import USB_PATH, InputDevice, find_input, inputs_of, missing_input, start_port_audio
from edge_aac.errors import DeviceError
from edge_aac.timebase import SAMPLE_RATE

HEADER = struct.Struct("<cdQI")
"""Of a message: its kind, when its sound arrived in monotonic seconds, frames lost before it, bytes that follow."""
OPENED, SOUND, FAILED = b"O", b"S", b"F"
"""Kinds: the JSON of an :class:`Opened`; frames of signed 16 bits, interleaved; the JSON of a failure, after which the
process ends: ``message``, and ``permanent`` where no later try can succeed."""

_QUEUE_S = 10.0
_CALLBACKS_PER_S = 10
_CHECK_S = 0.5
_PATIENCE_S = 10.0
_COMMON_RATES = (48_000, 44_100, 32_000, 96_000, 22_050, 8_000)
# A sound server claims 32 channels or 128, whatever the hardware has.
_MOST_HARDWARE_CHANNELS = 16

# PortAudio's constant, fixed by its ABI; spelled here so that a test needs no PyAudio.
_PA_INT16 = 8


@dataclass(frozen=True)
class Request:
    """Request for the capture of a microphone.

    Attributes:
        address: the microphone's address as the user wrote it; it holds no secret.
        device_id: the input that it was found to be before, which no other one may replace; None at first.
        other_ids: inputs that were seen beside it.
        lowest_channels: number of channels that it must give at least; 0 for all that it has, or two of a sound server.
    """

    address: str
    device_id: str | None = None
    other_ids: tuple[str, ...] = ()
    lowest_channels: int = 1

    def to_json(self) -> str:
        """Gives what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Request:
        """Reads what :meth:`to_json` gave."""
        table = json.loads(text)
        return Request(table["address"], table["device_id"], tuple(table["other_ids"]), table["lowest_channels"])


@dataclass(frozen=True)
class Opened:
    """The input that was opened.

    Attributes:
        device_id: the input's address that stays.
        other_ids: the inputs beside it.
        rate: sample rate of the device in Hz.
        channels: number of channels that the device gives.
    """

    device_id: str
    other_ids: tuple[str, ...]
    rate: int
    channels: int

    def to_json(self) -> str:
        """Gives what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Opened:
        """Reads what :meth:`to_json` gave."""
        table = json.loads(text)
        return Opened(table["device_id"], tuple(table["other_ids"]), table["rate"], table["channels"])


def capture(audio: Any, request: Request, write: Callable[[bytes], object]) -> None:
    """Captures a microphone until its stream ends.

    Args:
        audio: a running ``pyaudio.PyAudio``.
        request: the microphone to be captured.
        write: function that is given each message, whole.

    Raises:
        DeviceError: the microphone is not there, cannot be opened, or stopped.
    """
    device = _found(audio, request)
    other_ids = sorted({listed.id for listed in inputs_of(audio)} - {device.id})
    stream, queue = _started(audio, device, request)
    opened = Opened(device.id, tuple(other_ids), queue.rate, queue.channels)
    write(message(OPENED, opened.to_json().encode()))
    while True:
        taken = queue.take(_CHECK_S)
        if taken is not None:
            arrived_s, lost_frames, data = taken
            write(message(SOUND, data, arrived_s, lost_frames))
        elif not _is_active(stream):
            raise DeviceError(f"The input '{request.address}' stopped.")


def capture_patiently(
    start: Callable[[], Any], request: Request, write: Callable[[bytes], object], patience_s: float = _PATIENCE_S
) -> None:
    """Captures a microphone as :func:`capture` does, and looks for one that was heard before again and again.

    A look costs a thirtieth of a second here, and a process that is started for it thirty times as much.

    Args:
        start: gives a running ``pyaudio.PyAudio``, which lists the devices that are there now.
        request: the microphone to be captured.
        write: function that is given each message, whole.
        patience_s: seconds after which a microphone that is not there is one; at once where it was never heard.

    Raises:
        DeviceError: as :func:`capture`.
    """
    written = False

    def noted(content: bytes) -> None:
        nonlocal written
        written = True
        write(content)

    give_up_s = time.monotonic() + (0.0 if request.device_id is None else patience_s)
    while True:
        audio = start()
        try:
            return capture(audio, request, noted)
        except PermanentDeviceError:
            raise
        except DeviceError:
            if written or time.monotonic() >= give_up_s:
                raise
        audio.terminate()
        time.sleep(_CHECK_S)


def message(kind: bytes, content: bytes, arrived_s: float = 0.0, lost_frames: int = 0) -> bytes:
    """Gives a message as bytes; see :data:`HEADER`."""
    return HEADER.pack(kind, arrived_s, lost_frames, len(content)) + content


def _found(audio: Any, request: Request) -> InputDevice:
    # A port is named for whatever is in it.
    if request.device_id is None or request.address.startswith(USB_PATH):
        device = find_input(audio, request.address)
    else:
        device = find_input(audio, request.device_id) or _moved(audio, request.device_id, request.other_ids)
    if device is not None:
        return device
    raise missing_input(audio, request.address)


def _moved(audio: Any, device_id: str, other_ids: tuple[str, ...]) -> InputDevice | None:
    """Finds a USB microphone in another port: one of its model that was never seen beside it."""
    for listed in inputs_of(audio):
        if _without_port(listed.id) == _without_port(device_id) and listed.id not in other_ids:
            return listed
    return None


def _without_port(device_id: str) -> str:
    """Gives a USB input's model, and which of the card's inputs it is; any other id as it is."""
    return re.sub(r"^(usb-id:.*)@[^#]*", r"\1", device_id)


def _started(audio: Any, device: InputDevice, request: Request) -> tuple[Any, BlockQueue]:
    if request.lowest_channels > device.channels:
        has = "only one channel" if device.channels == 1 else f"{device.channels} channels"
        raise PermanentDeviceError(f"'{request.address}' has no channel {request.lowest_channels}: it has {has}.")
    failure: Exception | None = None
    every_channel = device.channels if device.channels <= _MOST_HARDWARE_CHANNELS else 2
    for rate, channels in _formats(device, request.lowest_channels or every_channel):
        queue = BlockQueue(rate, channels, round(_QUEUE_S * _CALLBACKS_PER_S))
        try:
            stream = audio.open(
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
        return stream, queue
    raise DeviceError(
        f"'{request.address}' cannot be opened at any sample rate ({failure}): close the program that uses it, "
        "or choose another one of `edge-aac devices`."
    ) from failure


def _formats(device: InputDevice, lowest_channels: int) -> list[tuple[int, int]]:
    """Lists rates in Hz with channel counts, in the order in which they are worth trying."""
    rates = dict.fromkeys((SAMPLE_RATE, device.default_rate, *_COMMON_RATES))
    counts = dict.fromkeys((lowest_channels, 1, 2, device.channels))
    channels = [count for count in counts if lowest_channels <= count <= device.channels]
    return [(rate, count) for rate in rates for count in channels]


def _is_active(stream: Any) -> bool:
    try:
        return bool(stream.is_active())
    except OSError:
        return False


def main() -> None:
    """Runs the process; see the module."""
    # Its parent ends it. A terminal or a service manager signals both, and the parent may still want sound.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What a library prints must not come between the messages.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        capture_patiently(start_port_audio, Request.from_json(sys.argv[1]), output.write)
    except BrokenPipeError:
        pass  # the parent is gone
    except Exception as error:
        known = isinstance(error, DeviceError)
        failure = {
            "message": str(error) if known else f"The capture failed ({type(error).__name__}: {error}).",
            "permanent": isinstance(error, PermanentDeviceError),
        }
        output.write(message(FAILED, json.dumps(failure).encode()))
    # PortAudio is not ended: that may wait for a device that is gone, and the kernel releases everything.
    os._exit(0)


def _end_with_parent() -> None:
    while os.read(0, 64):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
