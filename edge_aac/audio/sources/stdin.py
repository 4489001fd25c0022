"""Standard input: bare samples, or any sound file that can be decoded as it comes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import SourceState
from edge_aac.audio.decoding import Decoding
from edge_aac.audio.formats.arrival import ArrivalRate, PaceFinding
from edge_aac.audio.formats.byte_stream import ByteStream, StreamClosedError
from edge_aac.audio.formats.containers import is_container
from edge_aac.audio.formats.float_scale import FloatScale
from edge_aac.audio.formats.layout import SAMPLE_FORMATS, Encoding, samples
from edge_aac.audio.formats.not_sound import what_else
from edge_aac.audio.formats.raw_evidence import Finding, RawEvidence
from edge_aac.audio.formats.samples import decode_samples
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.audio.sources.address import Address, SourceContext, integer_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of, refuse_absent_channel
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_MAX_CHANNELS = 64
_STDIN = 0
_CLOSE_WAIT_S = 0.2
_CANDIDATES = 3
_EVIDENCE_PATIENCE_S = 1.0
# What a user calls them.
_STDIN_NAMES: dict[str, str] = {"ulaw": "mulaw"}
_FORMATS = {_STDIN_NAMES.get(name, name): encoding for name, encoding in SAMPLE_FORMATS.items()}

Blocks = Generator[npt.NDArray[np.float32], None, None]


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
    sample_format = options.get("format", "s16le")
    if sample_format not in _FORMATS:
        raise UsageError(f"format={sample_format} is unusable: give one of {', '.join(_FORMATS)}.")
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
        sample_format: str = "s16le",
        described: bool = False,
    ) -> None:
        self.label = label
        self.state: SourceState = "listening"
        subtype, order = _FORMATS[sample_format]
        self._encoding = samples("", subtype, order, rate, channels)
        self._format = sample_format
        self._mixing = mixing or Mixing()
        self._described = described
        self._stream = ByteStream(descriptor, label, owned=False)
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._blocks = self._heard()

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        with self._reading:
            if self._closed.is_set():
                return None
            try:
                return next(self._blocks, None)
            except StreamClosedError:
                return None
            except BaseException:
                if self._closed.is_set():
                    return None
                self.state = "failed"
                raise

    def lost_samples(self) -> int:
        """Always 0: what the writing program lost, only it knows."""
        return 0

    def close(self) -> None:
        """Ends a :meth:`read` that waits."""
        self._closed.set()
        self._stream.cancel()
        if self._reading.acquire(timeout=_CLOSE_WAIT_S):
            self._blocks.close()
            self._stream.close()
            self._reading.release()

    def _heard(self) -> Blocks:
        if not self._stream.peek(1):
            raise DataError(f"'{self.label}' gave nothing (0 bytes): check the program that writes into the pipe.")
        if not is_container(self._stream):
            else_ = what_else(self._stream.held())
            if else_ is not None and self._format == "s16le":
                raise DataError(f"'{self.label}' gives {else_}, which is no sound: send samples or a sound file.")
            yield from self._bare_samples(self._encoding)
            return
        if self._described:
            _log.warning("%s is a sound file: its own rate, channels and format are taken", self.label)
        with contextlib.closing(Decoding(self._stream, self._mixing, ChannelWatch(self.label)).blocks()) as blocks:
            yield from blocks

    def _bare_samples(self, encoding: Encoding) -> Blocks:
        refuse_absent_channel(self._mixing, encoding.channels, self.label)
        resampler = MonoResampler(encoding.rate, self._mixing, ChannelWatch(self.label))
        scale = FloatScale(self.label, encoding.rate) if self._format.startswith("f") else None
        evidence = RawEvidence() if self._format == "s16le" else None
        arrivals = ArrivalRate(encoding.rate, encoding.channels) if self._format == "s16le" else None
        partial, heard = b"", False
        for received in self._judged(evidence, arrivals):
            data = partial + received
            whole = len(data) // encoding.block_bytes * encoding.block_bytes
            partial = data[whole:]
            heard = heard or whole > 0
            frames = decode_samples(data[:whole], encoding)
            block = resampler.accept(frames if scale is None else scale.accept(frames))
            if len(block):
                yield block
        if scale is not None and (rest := scale.flush()) is not None and len(block := resampler.accept(rest)):
            yield block
        if partial:
            _log.warning(
                "%s ended within a sample; its last %d bytes are dropped (is it raw %s with %d channels?)",
                self.label,
                len(partial),
                self._format,
                encoding.channels,
            )
        block = resampler.flush()
        if len(block):
            yield block
        elif not heard:
            raise DataError(f"'{self.label}' gave no whole sample: check the program that writes into the pipe.")

    def _judged(self, evidence: RawEvidence | None, arrivals: ArrivalRate | None) -> Generator[bytes, None, None]:
        """The bytes as they arrive; the first sound is held back until it is known to be samples.

        Raises:
            DataError: they are something else.
        """
        held: list[bytes] = []
        while True:
            if held and not self._stream.is_ready(_EVIDENCE_PATIENCE_S):
                # A slow writer is heard, whatever it writes.
                yield b"".join(held)
                held = []
            waited = not self._stream.is_ready()
            data = self._stream.read_some(_READ_BYTES)
            if evidence is not None:
                self._judge(evidence.feed(data) if data else evidence.finish())
            if data and arrivals is not None:
                self._report_pace(arrivals.feed(time.monotonic(), len(data), waited))
            held.append(data)
            if not data or evidence is None or not evidence.is_forming:
                yield b"".join(held)
                held = []
            if not data:
                return

    def _judge(self, finding: Finding | None) -> None:
        """Ends what is no sound, or not in the format that it is taken for.

        Raises:
            DataError: there is a finding.
        """
        if finding is None:
            return
        advice = (
            "send sound"
            if finding.encoding is None
            else f"say so with stdin:?format={_STDIN_NAMES.get(finding.encoding, finding.encoding)}"
        )
        raise DataError(
            f"'{self.label}' is taken for 16-bit samples (s16le), but looks like {finding.looks_like}: {advice}, or a "
            "sound file, which is recognised by itself."
        )

    def _report_pace(self, finding: PaceFinding | None) -> None:
        if finding is not None:
            likely = " or ".join(
                f"rate={rate}&channels={channels}" for rate, channels in finding.candidates[:_CANDIDATES]
            )
            _log.warning(
                "%s gives sound %.2f times as fast as %d Hz and %d channels are: is it %s?",
                self.label,
                finding.ratio,
                self._encoding.rate,
                self._encoding.channels,
                likely,
            )
