"""Sound files and named pipes: all of their sound, or an error that says which part is missing."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import SourceState
from edge_aac.audio.decoding import Decoding
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources.address import Address, SourceContext, number_option, split_query
from edge_aac.audio.sources.labels import label_of_path
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.audio.sources.pace import Pacer
from edge_aac.audio.sources.reading import BlockReader, Blocks
from edge_aac.audio.windowed_sinc import SincResampler
from edge_aac.errors import DataError, InputMissingError, UsageError

BLOCK_SAMPLES = 16_000
_PACED_BLOCK_SAMPLES = 1_600


def read_blocks(
    path: str | os.PathLike[str], block: int = BLOCK_SAMPLES, watch: ChannelWatch | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """Decodes a file or a named pipe block by block. It is opened here, not at the first block.

    Args:
        path: sound of any rate from 1 kHz to 1 MHz and any number of channels, in any container that is known to
            :func:`~edge_aac.audio.formats.containers.open_next`.
        block: number of samples to give at once, at most.
        watch: is told of the channels and logs what is wrong with them; None for nobody.

    Returns:
        Blocks of mono samples at 16 kHz, float32, shape (n,) with n > 0. Samples of float files may exceed ±1.

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound, is damaged or not all there, could be read in part only, or holds none; it may
            come to light with a later block, once all that could be heard has been given.
    """
    if block <= 0:
        raise ValueError(f"block must be positive, not {block}")
    return _cut(Decoding(_opened(os.fspath(path)), watch=watch).blocks(), block)


def read_channels(path: str | os.PathLike[str], rate: int) -> Blocks:
    """Decodes a file block by block, its channels as they are, for models that hear more than 16 kHz tell.

    Args:
        path: any file that :func:`read_blocks` reads.
        rate: in Hz; the sound is brought to it by :class:`~edge_aac.audio.windowed_sinc.SincResampler`.

    Returns:
        Blocks of frames, float32, shape (n, channels) with n > 0.

    Raises:
        InputMissingError, DataError: as :func:`read_blocks`.
    """
    decoding = Decoding(_opened(os.fspath(path)), make_resampler=lambda found: SincResampler(found, rate))
    return decoding.blocks()


def load_waveform(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Decodes a whole file.

    Args:
        path: any file that :func:`read_blocks` reads.

    Returns:
        Mono samples at 16 kHz, float32, shape (samples,).

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound, is damaged or not all there, or holds none.
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
        self._path = path
        self._mixing = mixing
        self._opening = threading.Lock()
        self._stream: ByteStream | None = None
        self._decoding: Decoding | None = None
        self._reader = BlockReader(_cut(self._decoded(), _PACED_BLOCK_SAMPLES if speed else BLOCK_SAMPLES), "waiting")
        # Opening a named pipe waits for its writer: that is left to the thread that reads.
        if not _may_wait(path):
            self._decoding = self._opened_decoding()
            self._reader.state = "listening"
        self._pacer = Pacer(speed, self._reader.closed)

    @property
    def state(self) -> SourceState:
        """State of the source; see :class:`~edge_aac.audio.sources.address.Source`."""
        return self._reader.state

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        block = self._reader.read()
        return block if block is not None and self._pacer.wait(len(block)) else None

    def lost_samples(self) -> int:
        """Always 0: the reader sets the pace."""
        return 0

    def close(self) -> None:
        """Ends a :meth:`read`; one that waits for a named pipe to be opened by its writer is left to itself."""
        self._reader.close(self._cancel, self._release)

    def _cancel(self) -> None:
        with self._opening:
            if self._stream is not None:
                self._stream.cancel()

    def _release(self) -> None:
        if self._decoding is not None:
            self._decoding.close()

    def _decoded(self) -> Blocks:
        if self._decoding is None:
            self._decoding = self._opened_decoding()
        yield from self._decoding.blocks()

    def _opened_decoding(self) -> Decoding:
        stream = _opened(self._path)
        with self._opening:
            self._stream = stream
        if self._reader.closed.is_set():
            stream.close()
        return Decoding(stream, self._mixing, ChannelWatch(self.label))


def _cut(blocks: Blocks, most: int) -> Blocks:
    """Cuts blocks into pieces of so many samples at most."""
    with contextlib.closing(blocks):
        for block in blocks:
            for start in range(0, len(block), most):
                yield block[start : start + most]


def _may_wait(path: str) -> bool:
    """Whether opening or reading a path may take for ever, as of a pipe or a terminal."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _opened(path: str) -> ByteStream:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InputMissingError(f"There is no file '{path}': check the path.") from error
    except PermissionError as error:
        raise InputMissingError(f"'{path}' must not be read by this user: change its permissions.") from error
    except (OSError, ValueError) as error:
        raise InputMissingError(f"'{path}' cannot be opened ({error}): check the path.") from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise InputMissingError(f"'{path}' is a folder: name the sound files in it.")
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            raise DataError(f"'{path}' is empty (0 bytes): record or copy it again.")
        return ByteStream(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False
