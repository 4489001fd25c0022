"""A microphone through PortAudio, each in a process of its own (see :mod:`edge_aac.audio.capture`)."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np

from edge_aac.audio.capture import FAILED, HEADER, OPENED, Opened, Request
from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import PermanentDeviceError, Sound
from edge_aac.audio.devices import USB_PATH, cards
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.reconnect import Reconnecting
from edge_aac.audio.resample import MonoResampler
from edge_aac.audio.sources.address import Address, SourceContext, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.errors import DeviceError
from edge_aac.secret_variables import without_secrets

_log = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 30.0
_CHECK_S = 0.1
_KILL_TIMEOUT_S = 2.0
_READ_BYTES = 64 * 1024


def open_microphone(address: Address, context: SourceContext) -> Reconnecting:
    """Opens ``mic0``, ``usb-id:…``, ``usb-path:…`` or ``alsa:…``, with ``?channel=`` or ``?mix=``.

    The factory of the scheme ``mic``.

    Raises:
        UsageError: an option is unknown or unusable.
        DeviceError: there is no such input, it cannot be opened, has no such channel, or PyAudio is not installed.
    """
    label = context.label(address)
    _, options = split_query(address.uri, MIXING_OPTIONS)
    opener = MicrophoneOpener(address, label, mixing_of(options) if options else None)
    return Reconnecting(label, opener, wait_for_device=context.wait_for_device, sign=cards, stop=context.stop)


class MicrophoneOpener:
    """Opens one microphone, again and again, and lets no other microphone take its place.

    Args:
        address: the address that the user chose.
        label: the source's name in messages.
        mixing: how the input's channels become one. None: the input gives one channel where it can.
    """

    def __init__(self, address: Address, label: str, mixing: Mixing | None = None) -> None:
        self._label = label
        self._mixing = mixing
        self._watch = ChannelWatch(label)
        lowest_channels = 1 if mixing is None else mixing.channel or 0
        self._request = Request(address.label, lowest_channels=lowest_channels)

    def __call__(self, closed: threading.Event) -> CapturedMicrophone:
        """Opens the microphone.

        Args:
            closed: once set, the opening is given up.

        Raises:
            DeviceError: it is not there, cannot be opened, or takes longer than 30 s.
        """
        before = self._request
        try:
            microphone = CapturedMicrophone(before, closed, self._mixing, self._watch)
        except DeviceError as error:
            if self._label == before.address:
                raise
            raise type(error)(f"{self._label}: {error}") from error
        opened = microphone.opened
        if before.device_id not in (None, opened.device_id):
            what = "is another microphone now" if before.address.startswith(USB_PATH) else "is in another port"
            _log.warning("%s %s, as %s", self._label, what, opened.device_id)
        others = tuple(sorted({*before.other_ids, *opened.other_ids} - {opened.device_id}))
        self._request = replace(before, device_id=opened.device_id, other_ids=others)
        return microphone


class CapturedMicrophone:
    """A process that captures a microphone, as a :class:`~edge_aac.audio.connection.Connection`.

    Args:
        request: the microphone to be captured.
        closed: once set, the opening is given up.
        mixing: how the input's channels become one; None for the default.
        watch: is told of the channels and logs what is wrong with them; None for nobody.

    Raises:
        DeviceError: the microphone cannot be opened.
    """

    def __init__(
        self,
        request: Request,
        closed: threading.Event,
        mixing: Mixing | None = None,
        watch: ChannelWatch | None = None,
    ) -> None:
        self._received = bytearray()
        self._process = _started(request)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        try:
            self.opened = self._wait_until_open(closed)
        except BaseException:
            self.close()
            raise
        self._resampler = MonoResampler(self.opened.rate, mixing, watch)

    def read(self, timeout_s: float) -> Sound | None:
        """Gives the next sound; see :meth:`edge_aac.audio.connection.Connection.read`."""
        message = self._message(timeout_s)
        if message is None:
            return None
        arrived_s, lost_frames, content = message[1:]
        rate = self.opened.rate
        frames = np.frombuffer(content, dtype="<i2").reshape(-1, self.opened.channels)
        samples = self._resampler.accept(frames.astype(np.float32) / np.float32(2**15))
        return Sound(samples, len(frames) / rate, arrived_s, lost_frames / rate)

    def close(self) -> None:
        """Ends the process, whatever its driver does; the kernel releases the device."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _log.warning("a process that captures a microphone hangs in its driver: %d", self._process.pid)

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None, "it was opened as a pipe"
        return self._process.stdout.fileno()

    def _wait_until_open(self, closed: threading.Event) -> Opened:
        give_up_s = time.monotonic() + _OPEN_TIMEOUT_S
        while not closed.is_set():
            message = self._message(_CHECK_S)
            if message is not None and message[0] == OPENED:
                return Opened.from_json(message[3].decode())
            if time.monotonic() > give_up_s:
                raise DeviceError(f"The sound system does not answer for {_OPEN_TIMEOUT_S:g} s: try `arecord -l`.")
        raise DeviceError("The source was closed while it was being opened.")

    def _message(self, timeout_s: float) -> tuple[bytes, float, int, bytes] | None:
        """Gives the next message: its kind, its sound's arrival, the frames lost before it, and its content."""
        give_up_s = time.monotonic() + timeout_s
        while (message := self._whole_message()) is None:
            if not self._poll.poll(1000 * max(0.0, give_up_s - time.monotonic())):
                return None
            data = os.read(self._output, _READ_BYTES)
            if not data:
                raise DeviceError("The process that captures it has ended.")
            self._received += data
        kind, _, _, content = message
        if kind == FAILED:
            failure = json.loads(content)
            raise (PermanentDeviceError if failure["permanent"] else DeviceError)(failure["message"])
        return message

    def _whole_message(self) -> tuple[bytes, float, int, bytes] | None:
        if len(self._received) < HEADER.size:
            return None
        kind, arrived_s, lost_frames, size = HEADER.unpack_from(self._received)
        end = HEADER.size + size
        if len(self._received) < end:
            return None
        content = bytes(self._received[HEADER.size : end])
        del self._received[:end]
        return kind, arrived_s, lost_frames, content


def _started(request: Request) -> subprocess.Popen[bytes]:
    paths = [os.path.abspath(path) for path in sys.path]
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "edge_aac.audio.capture", request.to_json()],
            # It finds what this process finds and, from Python 3.11 on, nothing in the working directory besides.
            env={**without_secrets(), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # ALSA and JACK print there whatever PortAudio probes.
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # A Ctrl-C is this process's to handle.
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"The process that captures a microphone does not start ({error.strerror}).") from error
