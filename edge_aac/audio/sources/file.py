"""Sound files: checked for damage, decoded in constant memory, mixed to mono and resampled to 16 kHz."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import SourceState
from edge_aac.audio.formats.containers import refuse_less_than_promised
from edge_aac.audio.formats.float_scale import FloatScale, Magnitudes, refuse_no_numbers
from edge_aac.audio.formats.mpeg import Frames, find_frames, piped
from edge_aac.audio.formats.ogg import refuse_partly_read
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler
from edge_aac.audio.sources.address import Address, SourceContext, number_option, split_query
from edge_aac.audio.sources.labels import label_of_path
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of, refuse_absent_channel
from edge_aac.audio.sources.pace import Pacer
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.timebase import SAMPLE_RATE

BLOCK_SAMPLES = 16_000
_PACED_BLOCK_SAMPLES = 1_600

_UNKNOWN_FRAMES = 2**62
_MP3_FORMATS = ("MP3", "MPEG")
_FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
_CLOSE_WAIT_S = 0.2


def read_blocks(
    path: str | os.PathLike[str], block: int = BLOCK_SAMPLES, watch: ChannelWatch | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """Decodes a file block by block. The file is opened here, not at the first block.

    Args:
        path: any file that libsndfile reads, of any rate from 1 kHz to 1 MHz and any number of channels.
        block: about how many samples to give at once.
        watch: is told of the channels and logs what is wrong with them; None for nobody.

    Returns:
        Blocks of mono samples at 16 kHz, float32, shape (n,) with n > 0. Samples of float files may exceed ±1.

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound, is damaged or not all there, could be read in part only, or holds none; it may
            come to light with a later block.
    """
    return _Decoder(path, block, watch=watch).blocks()


def load_waveform(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Decodes a whole file.

    Args:
        path: any file that :func:`read_blocks` reads.

    Returns:
        Mono samples at 16 kHz, float32, shape (samples,).

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound, is damaged, or holds none.
    """
    return np.concatenate(list(read_blocks(path)))


def open_file(address: Address, context: SourceContext) -> FileSource:
    """Opens ``file:PATH`` or ``file:PATH?speed=1&channel=2``; the factory of the scheme ``file``.

    A ``?`` may be part of the name: it starts the options only where no file has the whole name. A named pipe is
    opened, and refused, where it is first read: that waits for its writer.

    Raises:
        UsageError: an option is unknown or unusable.
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound.
    """
    name = address.rest
    if name.startswith("//") and "@" in name and not _exists(name):
        raise UsageError(f"'{address.label}' names a host, or a user, as a URL does: write file:PATH.")
    if not name:
        raise UsageError("'file:' names no file: write file:PATH.")
    options: dict[str, str] = {}
    if "?" in name and not _exists(name):
        try:
            name, options = split_query(name, ("speed", *MIXING_OPTIONS))
        except UsageError as error:
            raise UsageError(
                f"There is no file '{label_of_path(name)}', and read as a path with options: {error}"
            ) from error
    speed = number_option(options, "speed", 0.0, 0.01, 1000.0)
    return FileSource(name, speed=speed, label=context.name, mixing=mixing_of(options))


class FileSource:
    """A file as a :class:`~edge_aac.audio.sources.address.Source`; nothing is lost, whatever the pace.

    Args:
        path: the file as the user wrote it.
        speed: 1 gives the sound as fast as it was recorded, 2 twice as fast; 0 as fast as it is read.
        label: the source's name in records and messages; None for the path.
        mixing: how several channels become one; None for the default.
    """

    live = False
    reconnects = 0

    def __init__(self, path: str, speed: float = 0.0, label: str | None = None, mixing: Mixing | None = None) -> None:
        self.label = label or path
        self._mixing = mixing
        self._path = path
        block = _PACED_BLOCK_SAMPLES if speed else BLOCK_SAMPLES
        # Opening a named pipe waits for its writer: that is left to the thread that reads.
        self._decoder = None if _may_wait(path) else self._opened(block)
        self._blocks = self._decoded(block)
        self._decoding = threading.Lock()
        self._closed = threading.Event()
        self._pacer = Pacer(speed, self._closed)
        self.state: SourceState = "waiting" if self._decoder is None else "listening"

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        with self._decoding:
            block = None if self._closed.is_set() else self._next_block()
            if self._closed.is_set():
                self._let_go()
                return None
        return block if block is not None and self._pacer.wait(len(block)) else None

    def lost_samples(self) -> int:
        """Always 0: the reader sets the pace."""
        return 0

    def close(self) -> None:
        """Closes the file, and ends a paced :meth:`read`; one that waits for a pipe's writer is left to itself."""
        self._closed.set()
        if self._decoding.acquire(timeout=_CLOSE_WAIT_S):
            self._let_go()
            self._decoding.release()

    def _next_block(self) -> npt.NDArray[np.float32] | None:
        try:
            block = next(self._blocks, None)
        except BaseException:
            self.state = "failed"
            raise
        self.state = "listening"
        return block

    def _decoded(self, block: int) -> Iterator[npt.NDArray[np.float32]]:
        if self._decoder is None:
            self._decoder = self._opened(block)
        yield from self._decoder.blocks()

    def _opened(self, block: int) -> _Decoder:
        return _Decoder(self._path, block, self._mixing, ChannelWatch(self.label))

    def _let_go(self) -> None:
        if self._decoder is not None:
            self._decoder.close()


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read from its start to its end only.

    soundfile seeks to where it already is after every block of a seekable file, which restarts the MP3 decoder: its
    bit reservoir is lost, and the block begins with an error.
    """

    def seekable(self) -> bool:
        return False


class _Decoder:
    """One open sound file, with what makes it certain that all of it was read."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        block: int,
        mixing: Mixing | None = None,
        watch: ChannelWatch | None = None,
    ) -> None:
        if block <= 0:
            raise ValueError(f"block must be positive, not {block}")
        self._path = os.fspath(path)
        # What an MP3 holds; None for another file, or one whose frames cannot be told beforehand.
        self._frames: Frames | None = None
        raw = _opened(self._path)
        try:
            regular = stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
            if regular:
                refuse_less_than_promised(raw, self._path)
                refuse_partly_read(raw, self._path)
            # A descriptor, not a name: libsndfile would guess the format of some files from their suffix.
            self._sound = _ForwardSoundFile(os.dup(raw.fileno()), closefd=True)
            if regular and self._sound.format in _MP3_FORMATS:
                self._find_frames(raw)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"'{self._path}' is not a sound file that can be read ({_reason(error)}): "
                "give WAV, FLAC, Ogg, AIFF or MP3, or convert it with `ffmpeg -i INPUT OUTPUT.flac`."
            ) from error
        finally:
            raw.close()
        rate = self._sound.samplerate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            self._sound.close()
            raise DataError(
                f"'{self._path}' claims a sample rate of {rate} Hz, which is not between {LOWEST_RATE} "
                f"and {HIGHEST_RATE} Hz: its header is damaged; make the file again."
            )
        self._resampler = MonoResampler(rate, mixing, watch)
        try:
            refuse_absent_channel(mixing or Mixing(), self._sound.channels, self._path)
        except UsageError:
            self._sound.close()
            raise
        self._block_frames = max(1, block * rate // SAMPLE_RATE)

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        rate = self._sound.samplerate
        resampler = self._resampler
        scale = self._float_scale()
        frames_read = 0
        given = 0
        try:
            while True:
                frames = self._decoded(frames_read)
                ended = len(frames) < self._block_frames
                if scale is None:
                    refuse_no_numbers(frames, frames_read, rate, self._path)
                frames_read += len(frames)
                if scale is not None:
                    rest = [scale.accept(frames), scale.flush() if ended else None]
                    frames = np.concatenate([part for part in rest if part is not None])
                samples = resampler.accept(frames)
                if len(samples):
                    given += len(samples)
                    yield samples
                if ended:
                    break
            self._refuse_short(frames_read)
            samples = resampler.flush() if frames_read else np.zeros(0, np.float32)
            given += len(samples)
            if given == 0:
                raise DataError(f"'{self._path}' is a sound file without any sound in it: record it again.")
            if len(samples):
                yield samples
        finally:
            self._sound.close()

    def close(self) -> None:
        self._sound.close()

    def _decoded(self, frames_read: int) -> npt.NDArray[np.float32]:
        try:
            frames: npt.NDArray[np.float32] = self._sound.read(self._block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"'{self._path}' is damaged after {frames_read / self._sound.samplerate:.2f} s ({_reason(error)}): "
                "copy it again from where it came from, or cut the damaged part off."
            ) from error
        return frames

    def _float_scale(self) -> FloatScale | None:
        if self._sound.subtype not in _FLOAT_SUBTYPES:
            return None
        whole = partial(_magnitudes, self._path) if os.path.isfile(self._path) else None
        return FloatScale(self._path, self._sound.samplerate, whole)

    def _find_frames(self, raw: BinaryIO) -> None:
        """Counts an MP3's frames, and has all of them read where libsndfile would stop before the last one."""
        self._frames = frames = find_frames(raw)
        if frames is None or frames.all_within(self._sound.frames, self._sound.samplerate):
            return
        self._sound.close()
        frames.refuse_less_than_promised(self._path)
        self._sound = _ForwardSoundFile(piped(raw, frames.start, frames.end), closefd=True)

    def _refuse_short(self, frames_read: int) -> None:
        rate, promised = self._sound.samplerate, self._sound.frames
        if self._sound.format in _MP3_FORMATS:
            # What it promises may be no more than an estimate.
            if self._frames is not None:
                self._frames.refuse_less_read(frames_read, rate, self._path)
            return
        if promised >= _UNKNOWN_FRAMES or frames_read >= promised:
            return
        raise DataError(
            f"'{self._path}' is truncated: it holds {frames_read / rate:.2f} s of the {promised / rate:.2f} s that "
            "its header promises; copy it again from where it came from."
        )


def _may_wait(path: str) -> bool:
    """Whether opening or reading a path may take for ever, as of a pipe or a terminal."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _opened(path: str) -> BinaryIO:
    try:
        raw = open(path, "rb", buffering=0)  # noqa: SIM115  the caller closes it
    except FileNotFoundError as error:
        raise InputMissingError(f"There is no file '{path}': check the path.") from error
    except IsADirectoryError as error:
        raise InputMissingError(f"'{path}' is a folder: name the sound files in it.") from error
    except PermissionError as error:
        raise InputMissingError(f"'{path}' must not be read by this user: change its permissions.") from error
    except (OSError, ValueError) as error:
        raise InputMissingError(f"'{path}' cannot be opened ({error}): check the path.") from error
    if os.fstat(raw.fileno()).st_size == 0 and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        raw.close()
        raise DataError(f"'{path}' is empty (0 bytes): record or copy it again.")
    return raw


def _magnitudes(path: str) -> Magnitudes:
    with soundfile.SoundFile(path) as sound:
        return Magnitudes.of(sound.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True))


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".")
