"""Samples without a container, judged as they arrive: they may be something else, or come at another pace."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping

from edge_aac.audio.formats.arrival import ArrivalRate, PaceFinding
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.layout import SAMPLE_FORMATS, samples
from edge_aac.audio.formats.not_sound import what_else
from edge_aac.audio.formats.raw_evidence import Finding, RawEvidence
from edge_aac.audio.formats.samples import FLOATS, decode_samples
from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_CANDIDATES = 3
_EVIDENCE_PATIENCE_S = 1.0

# What a user calls them, where that is not ffmpeg's name.
_USERS_NAMES: Mapping[str, str] = {"ulaw": "mulaw"}
FORMATS = {_USERS_NAMES.get(name, name): encoding for name, encoding in SAMPLE_FORMATS.items()}
"""Formats by the names that a user gives them, each with soundfile's encoding and its order of bytes."""
DEFAULT_FORMAT = "s16le"
"""What samples are taken for, and judged."""


class BareSamples:
    """Bare samples of a stream as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        stream: at the first sample.
        sample_format: one of :data:`FORMATS`.
        rate: rate in Hz.
        channels: number of interleaved channels.

    Raises:
        DataError: the stream begins as a picture, an archive or the like does.
    """

    followed_by_file = False

    def __init__(self, stream: ByteStream, sample_format: str, rate: int, channels: int) -> None:
        self.rate = rate
        self.channels = channels
        subtype, order = FORMATS[sample_format]
        self.is_float = subtype in FLOATS
        self._stream = stream
        self._format = sample_format
        self._encoding = samples("", subtype, order, rate, channels)
        judged = sample_format == DEFAULT_FORMAT
        if judged and (other := what_else(stream.held())) is not None:
            raise DataError(f"'{stream.name}' gives {other}, which is no sound: send samples or a sound file.")
        self._evidence = RawEvidence() if judged else None
        self._arrivals = ArrivalRate(rate, channels) if judged else None
        self._received = self._judged()
        self._partial = b""
        self._heard = False

    def read(self) -> Frames:
        """Gives the next frames as they arrive; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        frame_bytes = self._encoding.block_bytes
        for received in self._received:
            data = self._partial + received
            whole = len(data) // frame_bytes * frame_bytes
            self._partial = data[whole:]
            if whole:
                self._heard = True
                return decode_samples(data[:whole], self._encoding)
        return no_frames(self.channels)

    def finish(self) -> None:
        """Tells what was left over.

        Raises:
            DataError: there was no whole sample.
        """
        if self._partial:
            _log.warning(
                "%s ended within a sample; its last %d bytes are dropped (is it raw %s with %d channels?)",
                self._stream.name,
                len(self._partial),
                self._format,
                self.channels,
            )
        if not self._heard:
            raise DataError(f"'{self._stream.name}' gave no whole sample: check the program that writes into the pipe.")

    def close(self) -> None:
        """Nothing is held."""

    def _judged(self) -> Generator[bytes, None, None]:
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
            if self._evidence is not None:
                self._judge(self._evidence.feed(data) if data else self._evidence.finish())
            if data and self._arrivals is not None:
                self._report_pace(self._arrivals.feed(time.monotonic(), len(data), waited))
            held.append(data)
            if not data or self._evidence is None or not self._evidence.is_forming:
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
            else f"say so with stdin:?format={_USERS_NAMES.get(finding.encoding, finding.encoding)}"
        )
        raise DataError(
            f"'{self._stream.name}' is taken for 16-bit samples (s16le), but looks like {finding.looks_like}: {advice}"
            ", or a sound file, which is recognised by itself."
        )

    def _report_pace(self, finding: PaceFinding | None) -> None:
        if finding is not None:
            likely = " or ".join(
                f"rate={rate}&channels={channels}" for rate, channels in finding.candidates[:_CANDIDATES]
            )
            _log.warning(
                "%s gives sound %.2f times as fast as %d Hz and %d channels are: is it %s?",
                self._stream.name,
                finding.ratio,
                self.rate,
                self.channels,
                likely,
            )
