"""From the bytes of a file or a pipe to mono sound at 16 kHz: recognised, decoded, checked, mixed and resampled."""

from __future__ import annotations

import logging
from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.containers import open_next
from edge_aac.audio.formats.decoded import Decoded, Frames
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.errors import DataError, UsageError

_log = logging.getLogger(__name__)

_HIGHEST_SAMPLE = 1e6  # full scale is 1; even unscaled 16-bit integers stay below


class Decoding:
    """All sound of a stream, file after file where several follow each other, as mono samples at 16 kHz.

    Args:
        stream: at its first byte; it belongs to the decoding from now on.
        mixing: how several channels become one; None for the default.
        watch: is told of the channels and logs what is wrong with them; None for nobody.

    Raises:
        DataError: the stream is empty, is no sound, or cannot be decoded.
        UsageError: the channel to be heard is not there.
        StreamClosedError: the stream was closed meanwhile.
    """

    def __init__(self, stream: ByteStream, mixing: Mixing | None = None, watch: ChannelWatch | None = None) -> None:
        self._stream = stream
        self._mixing = mixing or Mixing()
        self._watch = watch
        self._decoded: Decoded | None = None
        try:
            opened = open_next(stream)
            if opened is None:
                raise DataError(f"'{stream.name}' is empty (0 bytes): record or copy it again.")
            self._take(opened)
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32], None, None]:
        """Gives the sound, as it is decoded.

        Yields:
            Mono samples at 16 kHz, float32, shape (n,) with n > 0. Samples of float files may exceed ±1.

        Raises:
            DataError: the sound is damaged, or a part of it is missing or could not be read; what could be has been
                given before.
            StreamClosedError: the stream was closed meanwhile.
        """
        given = 0
        several = False
        try:
            while (decoded := self._decoded) is not None:
                for samples in self._blocks_of(decoded):
                    given += len(samples)
                    yield samples
                self._decoded = None
                decoded.close()
                if decoded.followed_by_file and (opened := open_next(self._stream)) is not None:
                    if not several:
                        _log.warning(
                            "'%s' is several sound files, one after the other: all are heard", self._stream.name
                        )
                    several = True
                    self._take(opened)
            if given == 0:
                raise DataError(f"'{self._stream.name}' is a sound file without any sound in it: record it again.")
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of the stream and of what decodes it. May be called again."""
        if self._decoded is not None:
            self._decoded.close()
            self._decoded = None
        self._stream.close()

    def _take(self, opened: Decoded) -> None:
        self._decoded = opened
        name, rate, wanted = self._stream.name, opened.rate, self._mixing.channel
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise DataError(
                f"'{name}' claims a sample rate of {rate} Hz, which is not between {LOWEST_RATE} and {HIGHEST_RATE} "
                "Hz: its header is damaged; make the file again."
            )
        if wanted is not None and wanted > opened.channels:
            has = "only one channel" if opened.channels == 1 else f"{opened.channels} channels"
            raise UsageError(f"'{name}' has no channel {wanted}: it has {has}.")

    def _blocks_of(self, decoded: Decoded) -> Generator[npt.NDArray[np.float32], None, None]:
        resampler = MonoResampler(decoded.rate, self._mixing, self._watch)
        frames_read = 0
        while len(frames := decoded.read()):
            _refuse_absurd(frames, frames_read, decoded.rate, self._stream.name)
            frames_read += len(frames)
            samples = resampler.accept(frames)
            if len(samples):
                yield samples
        # Before the end is judged: what was decoded is heard, whatever is missing behind it.
        samples = resampler.flush()
        if len(samples):
            yield samples
        decoded.finish()


def _refuse_absurd(frames: Frames, frames_before: int, rate: int, name: str) -> None:
    usable = (np.abs(frames) <= _HIGHEST_SAMPLE).all(axis=1)
    if not usable.all():
        first = int(np.argmin(usable))
        what = (
            f"are more than {_HIGHEST_SAMPLE:,.0f} times full scale"
            if np.isfinite(frames[first]).all()
            else "are no numbers (NaN or infinite)"
        )
        raise DataError(
            f"'{name}' holds samples that {what}, the first at {(frames_before + first) / rate:.3f} s: "
            "export it again as 16-bit WAV or FLAC."
        )
