"""Sound in the blocks of an ADPCM or GSM codec: libsndfile decodes it, under a header of ours that has no end."""

from __future__ import annotations

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames
from edge_aac.audio.formats.layout import Layout
from edge_aac.audio.formats.library import ForwardView, LibraryReader
from edge_aac.audio.formats.sound_bytes import SoundBytes
from edge_aac.errors import DataError

# A length for what has none: some of libsndfile's codecs count samples in 32 bits. GSM fills it in ten days.
_LONGEST_BYTES = 2**30


class DecodedBlocks:
    """Blocks of a codec as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        stream: the input.
        sound: bytes of the sound.
        layout: of the container, with a header.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """

    def __init__(self, stream: ByteStream, sound: SoundBytes, layout: Layout) -> None:
        if layout.header is None:
            raise ValueError(f"{layout.container} has no header to decode its blocks with")
        if layout.encoding is None:
            raise ValueError(f"{layout.container} has no encoding that is known")
        self._sound = sound
        self._block_bytes = layout.encoding.block_bytes
        self._block_frames = layout.encoding.block_frames
        size = _LONGEST_BYTES if stream.size is None else min(_LONGEST_BYTES, max(0, stream.size - stream.position))
        head = layout.header(size)
        view = ForwardView(head, sound.read, len(head) + size)
        self._reader = LibraryReader(view, stream.name, live=not stream.regular)
        self.rate = self._reader.rate
        self.channels = self._reader.channels
        self.is_float = False

    @property
    def followed_by_file(self) -> bool:
        """Whether another sound file follows; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._sound.followed_by_file

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        frames = self._reader.read()
        if not self._sound.ended:
            return frames
        # At the end of its bytes libsndfile goes on with silence, as long as the header says.
        left = self._sound.given // self._block_bytes * self._block_frames - (self._reader.frames_read - len(frames))
        return frames[: max(0, left)]

    def finish(self) -> None:
        """Judges what is missing; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        # Less than a block is none.
        if len(self._sound.read(self._block_bytes)) == self._block_bytes:
            raise DataError(
                f"'{self._sound.name}' goes on after {self._reader.frames_read / self.rate:.0f} s, which is as far as "
                "its codec can be read: cut it into shorter files."
            )
        self._sound.finish()

    def close(self) -> None:
        """Closes libsndfile's file."""
        self._reader.close()
