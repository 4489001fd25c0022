"""Standard input: bare samples, or any sound file that can be decoded as it comes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import SourceState
from edge_aac.audio.decoding import Decoding
from edge_aac.audio.formats.bare_samples import DEFAULT_FORMAT, FORMATS, BareSamples
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.containers import is_container
from edge_aac.audio.mixing import Mixing, refuse_absent_channel
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE
from edge_aac.audio.sources.address import Address, SourceContext, integer_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.audio.sources.reading import BlockReader, Blocks
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

_MAX_CHANNELS = 64
_STDIN = 0


def open_stdin(address: Address, context: SourceContext) -> PipeSource:
    """Opens ``stdin:`` or ``stdin:?rate=44100&channels=2&format=f32le``; the factory of the scheme ``stdin``.

    Raises:
        UsageError: an option is unknown or unusable, or standard input is a terminal.
        InputMissingError: standard input is closed.
    """
    rest, options = split_query(address.rest, ("rate", "channels", "format", *MIXING_OPTIONS))
    if rest:
        raise UsageError(f"'{address.label}' is unusable: write stdin: or stdin:?rate=44100&channels=2.")
    rate = integer_option(options, "rate", SAMPLE_RATE, LOWEST_RATE, HIGHEST_RATE)
    channels = integer_option(options, "channels", 1, 1, _MAX_CHANNELS)
    sample_format = options.get("format", DEFAULT_FORMAT)
    if sample_format not in FORMATS:
        raise UsageError(f"format={sample_format} is unusable: give one of {', '.join(FORMATS)}.")
    mixing = mixing_of(options)
    if "channels" in options:
        refuse_absent_channel(mixing, channels, context.label(address))
    if not _is_open():
        raise InputMissingError("Standard input is closed: pipe raw 16-bit samples into the command.")
    if os.isatty(_STDIN):
        raise UsageError(
            "Standard input is a terminal: pipe raw samples in, such as `arecord -t raw -f S16_LE -r 16000 | edge-aac "
            "stream --device stdin:`."
        )
    return PipeSource(
        _STDIN,
        context.label(address),
        rate=rate,
        channels=channels,
        mixing=mixing,
        sample_format=sample_format,
        described=bool(options.keys() & {"rate", "channels", "format"}),
    )


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
    """A file descriptor as a :class:`~edge_aac.audio.sources.address.Source`: a sound file, or bare samples.

    Args:
        descriptor: open for reading; it is left open by :meth:`close`, since it belongs to the process.
        label: the source's name in records and messages.
        rate: rate of bare samples in Hz.
        channels: number of their interleaved channels.
        mixing: how several channels become one; None for the default.
        sample_format: how bare samples are written, such as ``s16le`` or ``f32le``.
        described: whether the user described bare samples, which a sound file overrules.
    """

    live = False
    reconnects = 0

    def __init__(  # noqa: PLR0913  what is known of samples without a header
        self,
        descriptor: int,
        label: str,
        *,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
        mixing: Mixing | None = None,
        sample_format: str = DEFAULT_FORMAT,
        described: bool = False,
    ) -> None:
        self.label = label
        self._stream = ByteStream(descriptor, label, owned=False)
        self._mixing = mixing
        self._samples = sample_format, rate, channels
        self._described = described
        self._reader = BlockReader(self._heard(), "listening")

    @property
    def state(self) -> SourceState:
        """State of the source; see :class:`~edge_aac.audio.sources.address.Source`."""
        return self._reader.state

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        return self._reader.read()

    def lost_samples(self) -> int:
        """Always 0: what the writing program lost, only it knows."""
        return 0

    def close(self) -> None:
        """Ends a :meth:`read` that waits."""
        self._reader.close(self._stream.cancel, self._stream.close)

    def _heard(self) -> Blocks:
        stream = self._stream
        if not stream.peek(1):
            raise DataError(f"'{self.label}' gave nothing (0 bytes): check the program that writes into the pipe.")
        bare = None if is_container(stream) else BareSamples(stream, *self._samples)
        if bare is None and self._described:
            _log.warning("%s is a sound file: its own rate, channels and format are taken", self.label)
        decoding = Decoding(stream, self._mixing, ChannelWatch(self.label), bare)
        with contextlib.closing(decoding.blocks()) as blocks:
            yield from blocks
