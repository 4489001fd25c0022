"""Raw samples from standard input: signed 16 bits, little-endian, interleaved."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import SourceState
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.audio.sources.address import Address, SourceContext, integer_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of, refuse_absent_channel
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

_SAMPLE_BYTES = 2
_READ_BYTES = 64 * 1024
_MAX_CHANNELS = 64
_STDIN = 0


def open_stdin(address: Address, context: SourceContext) -> PipeSource:
    """Opens ``stdin:`` or ``stdin:?rate=44100&channels=2``; the factory of the scheme ``stdin``.

    Raises:
        UsageError: an option is unknown or unusable, or standard input is a terminal.
        InputMissingError: standard input is closed.
    """
    rest, options = split_query(address.rest, ("rate", "channels", *MIXING_OPTIONS))
    if rest:
        raise UsageError(f"'{address.label}' is unusable: write stdin: or stdin:?rate=44100&channels=2.")
    rate = integer_option(options, "rate", SAMPLE_RATE, LOWEST_RATE, HIGHEST_RATE)
    channels = integer_option(options, "channels", 1, 1, _MAX_CHANNELS)
    mixing = mixing_of(options)
    refuse_absent_channel(mixing, channels, context.label(address))
    if not _is_open():
        raise InputMissingError("Standard input is closed: pipe raw 16-bit samples into the command.")
    if os.isatty(_STDIN):
        raise UsageError(
            "Standard input is a terminal: pipe raw samples in, such as `arecord -t raw -f S16_LE -r 16000 | edge-aac "
            "stream --device stdin:`."
        )
    return PipeSource(_STDIN, context.label(address), rate=rate, channels=channels, mixing=mixing)


def _is_open() -> bool:
    # Python looked at its start. By now, a file that a library keeps open may have taken the number of a closed one.
    if sys.__stdin__ is None:
        return False
    try:
        os.fstat(_STDIN)
    except OSError:
        return False
    return True


class PipeSource:
    """A file descriptor with raw s16le samples as a :class:`~edge_aac.audio.sources.address.Source`.

    Args:
        descriptor: open for reading; it is left open by :meth:`close`, since it belongs to the process.
        label: the source's name in records and messages.
        rate: rate of the samples in Hz.
        channels: number of interleaved channels.
        mixing: how several channels become one; None for the default.
    """

    live = False
    reconnects = 0

    def __init__(
        self,
        descriptor: int,
        label: str,
        *,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
        mixing: Mixing | None = None,
    ) -> None:
        self.label = label
        self.state: SourceState = "listening"
        self._descriptor = descriptor
        self._channels = channels
        self._resampler = MonoResampler(rate, mixing, ChannelWatch(label))
        self._partial_frame = b""
        self._ended = False
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        self._wake_open = True

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        with self._reading:
            while not self._ended and not self._closed.is_set():
                data = self._received()
                if self._closed.is_set():
                    break
                samples = self._samples_of(data) if data else self._rest()
                if len(samples):
                    return samples
        return None

    def lost_samples(self) -> int:
        """Always 0: what the writing program lost, only it knows."""
        return 0

    def close(self) -> None:
        """Ends a :meth:`read` that waits."""
        if not self._closed.is_set():
            self._closed.set()
            os.write(self._wake_writer, b"x")
        with self._reading:
            if self._wake_open:
                self._wake_open = False
                os.close(self._wake_reader)
                os.close(self._wake_writer)

    def _received(self) -> bytes:
        while True:
            try:
                ready, _, _ = select.select([self._descriptor, self._wake_reader], [], [])
                if self._wake_reader in ready:
                    return b""
                return os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                self.state = "failed"
                raise DataError(f"Reading '{self.label}' failed ({error.strerror}): start the pipe again.") from error

    def _samples_of(self, data: bytes) -> npt.NDArray[np.float32]:
        data = self._partial_frame + data
        frame_bytes = _SAMPLE_BYTES * self._channels
        whole = len(data) // frame_bytes * frame_bytes
        self._partial_frame = data[whole:]
        integers = np.frombuffer(data[:whole], dtype="<i2").reshape(-1, self._channels)
        return self._resampler.accept(integers.astype(np.float32) / np.float32(2**15))

    def _rest(self) -> npt.NDArray[np.float32]:
        self._ended = True
        if self._partial_frame:
            _log.warning(
                "%s ended within a sample; its last %d bytes are dropped (is it raw s16le with %d channels?)",
                self.label,
                len(self._partial_frame),
                self._channels,
            )
        return self._resampler.flush()
