"""From the bytes of a file or a pipe to mono sound at 16 kHz: recognised, decoded, checked, mixed and resampled."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.containers import open_next
from edge_aac.audio.formats.decoded import Decoded, Frames
from edge_aac.audio.formats.float_scale import FloatScale, Magnitudes, refuse_no_numbers
from edge_aac.audio.mixing import Mixing, refuse_absent_channel
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.errors import DataError

_log = logging.getLogger(__name__)


class Resampler(Protocol):
    """What decoded frames, (n, channels), become."""

    def accept(self, frames: Frames, /) -> npt.NDArray[np.float32]:
        """Takes the next frames, and gives what is ready."""

    def flush(self) -> npt.NDArray[np.float32]:
        """Ends the sound, and gives the rest."""


class Decoding:
    """All sound of a stream, file after file where several follow each other, as mono samples at 16 kHz.

    Args:
        stream: at its first byte; it belongs to the decoding from now on.
        mixing: how several channels become one; None for the default.
        watch: is told of the channels and logs what is wrong with them; None for nobody.
        bare: decodes the stream where it holds no sound file; None where it does.
        make_resampler: makes, of a file's rate, what resamples it in another way; None for the default.

    Raises:
        DataError: the stream is empty, is no sound, or cannot be decoded.
        UsageError: the channel to be heard is not there.
        StreamClosedError: the stream was closed meanwhile.
    """

    def __init__(
        self,
        stream: ByteStream,
        mixing: Mixing | None = None,
        watch: ChannelWatch | None = None,
        bare: Decoded | None = None,
        make_resampler: Callable[[int], Resampler] | None = None,
    ) -> None:
        self._make_resampler = make_resampler
        self._stream = stream
        self._mixing = mixing or Mixing()
        self._watch = watch
        self._decoded: Decoded | None = None
        self._base = 0
        # What has no header cannot be opened a second time.
        self._can_reopen = stream.regular and bare is None
        try:
            if bare is not None:
                self._take(bare)
            elif not self._open_next():
                raise DataError(f"'{stream.name}' is empty (0 bytes): record or copy it again.")
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32], None, None]:
        """Gives the sound, as it is decoded.

        Yields:
            Mono samples at 16 kHz, float32, shape (n,) with n > 0, or what another resampler gives. Samples of float
            files may exceed ±1.

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
                if decoded.followed_by_file and self._open_next():
                    if not several:
                        name = self._stream.name
                        _log.warning("'%s' is several sound files, one after the other: all are heard", name)
                    several = True
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

    def _open_next(self) -> bool:
        """Opens the file that begins where the stream stands; False at its end."""
        self._base = self._stream.position
        opened = open_next(self._stream)
        if opened is not None:
            self._take(opened)
        return opened is not None

    def _take(self, opened: Decoded) -> None:
        self._decoded = opened
        name, rate = self._stream.name, opened.rate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise DataError(
                f"'{name}' claims a sample rate of {rate} Hz, which is not between {LOWEST_RATE} and {HIGHEST_RATE} "
                "Hz: its header is damaged; make the file again."
            )
        refuse_absent_channel(self._mixing, opened.channels, name)

    def _blocks_of(self, decoded: Decoded) -> Generator[npt.NDArray[np.float32], None, None]:
        resampler: Resampler
        if self._make_resampler is not None:
            resampler = self._make_resampler(decoded.rate)
        else:
            resampler = MonoResampler(decoded.rate, self._mixing, self._watch)
        failure: DataError | None = None
        scaled = self._scaled(decoded)
        while True:
            try:
                frames = next(scaled, None)
            except DataError as error:
                failure = error
                break
            if frames is None:
                break
            samples = resampler.accept(frames)
            if len(samples):
                yield samples
        # Before the end is judged: what was decoded is heard, whatever is damaged or missing behind it.
        samples = resampler.flush()
        if len(samples):
            yield samples
        if failure is not None:
            raise failure
        decoded.finish()

    def _scaled(self, decoded: Decoded) -> Iterator[Frames]:
        """Frames whose samples are numbers, at full scale 1."""
        name, rate = self._stream.name, decoded.rate
        if not decoded.is_float:
            frames_read = 0
            for frames in _all_frames(decoded):
                refuse_no_numbers(frames, frames_read, rate, name)
                frames_read += len(frames)
                yield frames
            return
        base = self._base
        whole = (lambda: _magnitudes(self._stream.again(base))) if self._can_reopen else None
        scale = FloatScale(name, rate, whole)
        failure: DataError | None = None
        try:
            while len(frames := decoded.read()):
                yield scale.accept(frames)
        except DataError as error:
            failure = error
        # What is held back for the decision was decoded before the damage.
        if (rest := scale.flush()) is not None:
            yield rest
        if failure is not None:
            raise failure


def _magnitudes(stream: ByteStream) -> Magnitudes:
    """The sizes of all samples of a file, which is read once more, as far as it can be."""
    magnitudes = Magnitudes()
    with contextlib.closing(stream), contextlib.suppress(DataError):
        decoded = open_next(stream)
        if decoded is not None:
            with contextlib.closing(decoded):
                for frames in _all_frames(decoded):
                    magnitudes.add(frames)
    return magnitudes


def _all_frames(decoded: Decoded) -> Iterator[Frames]:
    while len(frames := decoded.read()):
        yield frames
