"""Opens what is in a stream: which container it is, and who decodes it."""

from __future__ import annotations

import re
import shutil

import soundfile

from edge_aac.audio.formats import flac, ogg
from edge_aac.audio.formats.blocks import DecodedBlocks
from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Decoded, Frames
from edge_aac.audio.formats.headers import layout_of
from edge_aac.audio.formats.layout import HeaderError, Layout
from edge_aac.audio.formats.library import LibraryReader, reason_of
from edge_aac.audio.formats.mp3 import DecodedMpeg
from edge_aac.audio.formats.mpeg import FrameWalk
from edge_aac.audio.formats.promise import judge_less
from edge_aac.audio.formats.recognition import HEAD_BYTES, ID3_HEADER_BYTES, ID3V2, Container, id3_bytes, recognise
from edge_aac.audio.formats.samples import FLOATS, DecodedSamples
from edge_aac.audio.formats.sound_bytes import SoundBytes
from edge_aac.audio.formats.tail import tail_of
from edge_aac.errors import DataError

_HEAD_BYTES = 64
_MAX_TAGS = 64
_MPEG_SEARCH_BYTES = 64 * 1024
_MPEG_RUN_BYTES = 8 * 1024
# No samples begin so, whatever follows.
_BEGINNINGS = {
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"FORM",
    b"caff",
    b"riff",
    b"OggS",
    b"fLaC",
    b".snd",
    b"NIST",
    b"2BIT",
}
_SDS = re.compile(rb"\xf0\x7e.\x01.{16}\xf7", re.DOTALL)
_NO_SAMPLES = re.compile(b"Extended Instrument: |" + _SDS.pattern, re.DOTALL)
# First bytes of AAC, AC-3 and transport streams, and how many to look at: three usual frames, three of the longest.
_FRAMES = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|\x56[\xe0-\xff]|\x0b\x77|\x77\x0b|(?:....)?\x47[\x00-\x7f]", re.DOTALL)
_FRAMES_BYTES = (4_096, HEAD_BYTES)
_SYNC = re.compile(rb"\xff[\xe0-\xff]")
# Who writes a header writes it at once; of bare samples it takes milliseconds to come.
_HEADER_PATIENCE_S = 1.0
_UNREAD_BYTES = 4_096
# libsndfile mixes up the channels of 24-bit PAF beyond two.
_MAX_PAF_CHANNELS = 2
_TOLERATED_BYTES = 64
_STREAMABLE = "WAV, FLAC, AIFF, AU, CAF, Ogg or MP3"


def open_next(stream: ByteStream) -> Decoded | None:
    """Opens the sound file that begins at a stream's next byte.

    Args:
        stream: a file or a pipe; where a sound file is followed by another one, it stands at that one's first byte
            once the first has been read to its end.

    Returns:
        The decoded sound; None at the end of the stream.

    Raises:
        DataError: it is no sound, its header is damaged, or it cannot be read from a pipe.
        StreamClosedError: the stream was closed meanwhile.
    """
    if not stream.peek(1):
        return None
    first = stream.position == 0
    try:
        return _opened(stream)
    except HeaderError as error:
        raise DataError(f"'{stream.name}' {error}; make the file again.") from error
    except OSError as error:
        raise DataError(
            f"'{stream.name}' cannot be decoded ({error.strerror or error}): give this process more descriptors."
        ) from error
    except soundfile.LibsndfileError as error:
        what = "is not a sound file that can be read" if first else "goes on with what cannot be read"
        raise DataError(
            f"'{stream.name}' {what} ({reason_of(error)}): give WAV, FLAC, Ogg, AIFF or MP3, or convert it with "
            "`ffmpeg -i INPUT OUTPUT.flac`."
        ) from error


def is_container(stream: ByteStream) -> bool:
    """Whether a stream begins with a sound file, and not with bare samples.

    Raises:
        DataError: reading failed.
        StreamClosedError: the stream was closed meanwhile.
    """
    head = stream.gather(_HEAD_BYTES, _HEADER_PATIENCE_S)
    if head[:4] in _BEGINNINGS or _NO_SAMPLES.match(head) or ID3V2.match(head):
        return True

    def look(offset: int, count: int) -> bytes:
        # Behind a short head more may never come.
        return stream.peek(count, offset) if len(head) == _HEAD_BYTES else head[offset : offset + count]

    try:
        if layout_of(look) is not None:
            return True
    except HeaderError:
        return True
    return _foreign(stream, head) is not None or (_SYNC.match(head) is not None and _is_mpeg(stream, 0, at_once=True))


def _opened(stream: ByteStream) -> Decoded:
    tags = _leading_tags(stream)
    head = stream.peek(_HEAD_BYTES, tags)
    layout = layout_of(lambda offset, count: stream.peek(count, tags + offset))
    if layout is not None:
        stream.skip(tags)
        return _of_layout(stream, layout)
    if head.startswith(flac.MAGIC):
        stream.skip(tags)
        return flac.DecodedFlac(stream)
    if head.startswith(ogg.MAGIC) and (ogg.is_libsndfiles(head) or stream.position or not shutil.which("ffmpeg")):
        return ogg.DecodedOgg(stream)
    if _SDS.match(head):
        # libsndfile takes a good one for a cut one, hears what a cut one lacks, and writes to standard output.
        raise DataError(f"'{stream.name}' is a MIDI sample dump (SDS), which cannot be read: convert it to WAV.")
    container = _foreign(stream, head, tags)
    if container is not None and (not container.libsndfile or head.startswith(ogg.MAGIC)):
        return _by_ffmpeg(stream, container)
    if _is_mpeg(stream, tags):
        return DecodedMpeg(stream)
    return _by_library(stream, None, container)


def _foreign(stream: ByteStream, head: bytes, tags: int = 0) -> Container | None:
    """What ffmpeg may have to decode, behind tags. Of a pipe it gets all bytes, so none may have been taken."""
    if stream.position:
        return None
    found = recognise(head)
    # What is recognised by frames in a row takes more; of bare samples that would be seconds.
    if found is None and len(head) == _HEAD_BYTES and _FRAMES.match(head):
        found = next(filter(None, (recognise(stream.peek(count, tags)) for count in _FRAMES_BYTES)), None)
    return found


def _of_layout(stream: ByteStream, layout: Layout) -> Decoded:
    encoding = layout.encoding
    if encoding is None:
        return _by_library(stream, layout, _foreign(stream, stream.peek(_HEAD_BYTES)))
    sound = SoundBytes(stream, layout, encoding)
    if encoding.subtype == "MPEG":
        return DecodedMpeg(stream, sound)
    if encoding.is_samples:
        return DecodedSamples(sound, encoding, patient=stream.regular)
    return DecodedBlocks(stream, sound, layout)


def _by_library(stream: ByteStream, layout: Layout | None, container: Container | None) -> Decoded:
    """libsndfile, where it can; else ffmpeg, where the container is one of its own."""
    if container is not None and layout is not None:
        if not stream.regular:
            return _by_ffmpeg(stream, container)
        try:
            return _WholeFile(stream, layout)
        except soundfile.LibsndfileError:
            return _by_ffmpeg(stream, container)
    if not stream.regular:
        what = "is not a sound file" if layout is None else f"holds sound of a kind ({layout.container})"
        raise DataError(
            f"'{stream.name}' {what} that can be read from a pipe: save it as a file, or send {_STREAMABLE}."
        )
    return _WholeFile(stream, layout)


def _by_ffmpeg(stream: ByteStream, container: Container) -> Decoded:
    # Imported for those who need it: a start without it is some milliseconds sooner.
    from edge_aac.audio.formats.foreign import DecodedByFfmpeg

    return DecodedByFfmpeg(stream, container)


class _WholeFile:
    """A file that libsndfile reads by itself, as a :class:`~edge_aac.audio.formats.decoded.Decoded`."""

    def __init__(self, stream: ByteStream, layout: Layout | None) -> None:
        self._stream = stream
        self._unread = _check_promise(stream, layout) if layout is not None else 0
        self._reader = LibraryReader(stream.duplicate(), stream.name)
        if layout is not None and layout.container == "PAF" and self._reader.channels > _MAX_PAF_CHANNELS:
            self._reader.close()
            raise DataError(
                f"'{stream.name}' is a 24-bit PAF of {self._reader.channels} channels, which cannot be read: convert "
                "it to WAV."
            )
        self.rate = self._reader.rate
        self.channels = self._reader.channels
        self.is_float = self._reader.subtype in FLOATS
        self.followed_by_file = False

    def read(self) -> Frames:
        return self._reader.read()

    def finish(self) -> None:
        name, read, promised = self._stream.name, self._reader.frames_read, self._reader.promised_frames
        if promised is not None and read < promised:
            judge_less(name, read / self.rate, promised / self.rate, whole=False)
        if self._unread:
            raise DataError(
                f"only {read / self.rate:.2f} s of '{name}' can be read: its header leaves out the last "
                f"{self._unread} bytes; convert it with `ffmpeg -i INPUT OUTPUT.flac`."
            )

    def close(self) -> None:
        self._reader.close()


def _check_promise(stream: ByteStream, layout: Layout) -> int:
    """Compares a file with what its header promises.

    Returns:
        Number of bytes behind the sound that may be more of it.

    Raises:
        DataError: it is cut.
    """
    if layout.promised is None or stream.size is None:
        return 0
    present = stream.size - stream.position - layout.start
    whole = layout.outer_end is not None and layout.outer_end <= stream.size - stream.position
    if layout.promised > present + _TOLERATED_BYTES and not whole:
        raise DataError(
            f"'{stream.name}' is truncated: it holds {max(0, present)} of the {layout.promised} bytes of sound that "
            "its header promises; copy it again from where it came from."
        )
    if layout.promised >= present:
        return 0
    behind = layout.start + layout.promised
    tail = tail_of(
        lambda offset, count: stream.peek(count, behind + offset),
        layout.grammar,
        None,
        b"",
        layout.promised,
    )
    left = present - layout.promised
    return left if tail.kind == "file" or (tail.kind == "rubbish" and left > _UNREAD_BYTES) else 0


def _leading_tags(stream: ByteStream) -> int:
    """Length of ID3 tags, which some programs put in front of any file."""
    position = 0
    for _ in range(_MAX_TAGS):
        length = id3_bytes(stream.peek(ID3_HEADER_BYTES, position))
        if not length:
            break
        position += length
    return position


def _is_mpeg(stream: ByteStream, tags: int, *, at_once: bool = False) -> bool:
    """Whether frames of MPEG audio stand near the start, or right at it."""
    # A live stream takes seconds for all that is searched.
    for count in (_MPEG_RUN_BYTES,) if at_once else (_MPEG_RUN_BYTES, _MPEG_SEARCH_BYTES):
        walk = FrameWalk()
        walk.feed(stream.peek(count, tags), last=True)
        if walk.began:
            return not (at_once and walk.first)
    return False
