"""Wyoming microphones and satellites as sources: the scheme ``wyoming``.

The protocol (https://github.com/rhasspy/wyoming): over TCP, a line of JSON with ``type``, perhaps ``data``, and how
many bytes of further data and of payload follow it. A microphone streams to whoever connects, a satellite when it is
told to run. Of what they send only sound and pings are looked at; all of it is bounded, for anybody may answer at an
address.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any

import numpy as np

from edge_aac.audio.connection import Sound
from edge_aac.audio.reconnect import Reconnecting
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.audio.sources.address import Address, SourceContext, number_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.errors import DeviceError, UsageError

DEFAULT_PORT = 10_700
CONNECT_S = 5.0
STALL_S = 5.0
_MAX_LINE_BYTES = 65_536
_MAX_PART_BYTES = 1 << 20
_MAX_CHANNELS = 16
_HOST_AND_PORT = re.compile(r"//(\[[0-9a-fA-F:.%a-z]+\]|[^/\[\]:@]+)(?::([0-9]{1,5}))?/?")
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("i1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


def open_wyoming(address: Address, context: SourceContext) -> Reconnecting:
    """Opens ``wyoming://HOST[:10700]``.

    Raises:
        UsageError: the address or an option is unusable.
        DeviceError: it cannot be heard now, and is not to be waited for.
    """
    rest, options = split_query(address.rest, ("stall_s", *MIXING_OPTIONS))
    match = _HOST_AND_PORT.fullmatch(rest)
    port = DEFAULT_PORT if match is None or match[2] is None else int(match[2])
    if match is None or not 0 < port < 1 << 16:
        raise UsageError("An address of Wyoming is unusable: write wyoming://HOST:10700.")
    host, label, mixing = match[1].strip("[]"), context.label(address), mixing_of(options)
    return Reconnecting(
        label,
        lambda closed: WyomingStream(label, host, port, MonoResampler, mixing, closed),
        wait_for_device=context.wait_for_device,
        stall_s=number_option(options, "stall_s", STALL_S, 0.5, 600.0),
        stop=context.stop,
    )


class WyomingStream:
    """One connection to a microphone or satellite.

    Raises:
        DeviceError: nobody listens there.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self, label: str, host: str, port: int, resampler: type[MonoResampler], mixing: Any, closed: threading.Event
    ) -> None:
        self._label = label
        self._make = resampler
        self._mixing = mixing
        self._resampler: MonoResampler | None = None
        self._format = (0, 0, 0)
        self._received = bytearray()
        if closed.is_set():
            raise DeviceError(f"'{label}' was closed")
        try:
            self._socket = socket.create_connection((host, port), CONNECT_S)
            self._send("run-satellite")
        except OSError as error:
            reason = error.strerror or str(error)
            raise DeviceError(f"'{label}' cannot be reached ({reason}): see whether it runs there") from error

    def read(self, timeout_s: float) -> Sound | None:
        """See :meth:`edge_aac.audio.connection.Connection.read`."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            event = self._event()
            if event is None:
                if not self._receive(deadline_s):
                    return None
                continue
            kind, data, payload = event
            if kind == "ping":
                self._send("pong", data)
            elif kind == "audio-chunk" and payload:
                return self._sound(data, payload)

    def close(self) -> None:
        """See :meth:`edge_aac.audio.connection.Connection.close`."""
        self._socket.close()

    def _send(self, kind: str, data: object = None) -> None:
        line = {"type": kind} if not data else {"type": kind, "data": data}
        try:
            self._socket.sendall(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise DeviceError(f"'{self._label}' was lost ({error.strerror or error})") from error

    def _receive(self, deadline_s: float) -> bool:
        """Take what comes; False where nothing came in time."""
        self._socket.settimeout(max(0.001, deadline_s - time.monotonic()))
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            return False
        except OSError as error:
            raise DeviceError(f"'{self._label}' was lost ({error.strerror or error})") from error
        if not data:
            raise DeviceError(f"'{self._label}' has ended the connection")
        self._received += data
        return True

    def _event(self) -> tuple[str, Any, bytes] | None:
        """The next event, once all of it is there."""
        end = self._received.find(b"\n", 0, _MAX_LINE_BYTES)
        if end < 0:
            if len(self._received) > _MAX_LINE_BYTES:
                raise self._strange("a line without an end")
            return None
        try:
            header = json.loads(self._received[:end])
            kind, data = str(header["type"]), header.get("data") or {}
            sizes = [int(header.get(name) or 0) for name in ("data_length", "payload_length")]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise self._strange("a line that is no event") from error
        if not all(0 <= size <= _MAX_PART_BYTES for size in sizes):
            raise self._strange("an event that is too long")
        first, last = end + 1 + sizes[0], end + 1 + sum(sizes)
        if len(self._received) < last:
            return None
        more, payload = bytes(self._received[end + 1 : first]), bytes(self._received[first:last])
        del self._received[:last]
        try:
            return kind, {**data, **json.loads(more)} if more else data, payload
        except (ValueError, TypeError, RecursionError) as error:
            raise self._strange("data that are none") from error

    def _sound(self, data: Any, payload: bytes) -> Sound:
        try:
            rate, width, channels = (int(data[name]) for name in ("rate", "width", "channels"))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise self._strange("sound of no format") from error
        if width not in _DTYPES or not LOWEST_RATE <= rate <= HIGHEST_RATE or not 1 <= channels <= _MAX_CHANNELS:
            raise self._strange(f"sound of {rate} Hz, {width} bytes and {channels} channels, which is not heard")
        if len(payload) % (width * channels):
            raise self._strange("sound that is cut within a sample")
        if self._resampler is None or (rate, width, channels) != self._format:
            self._format, self._resampler = (rate, width, channels), self._make(rate, self._mixing)
        samples = np.frombuffer(payload, _DTYPES[width]).reshape(-1, channels)
        try:
            mono = self._resampler.accept(samples.astype(np.float32) / np.float32(2 ** (8 * width - 1)))
        except ValueError as error:
            raise DeviceError(f"'{self._label}': {error}") from error
        return Sound(mono, len(samples) / rate, time.monotonic())

    def _strange(self, what: str) -> DeviceError:
        return DeviceError(f"'{self._label}' sends {what}: it speaks no Wyoming")
