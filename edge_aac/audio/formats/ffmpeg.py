"""Sound of phones, cameras and rare formats, decoded by the system's ffmpeg where it is installed.

ffmpeg runs as a process of its own, without a shell. It is told which demuxer to use, may open nothing but the one
input that it is given, and is ended when it hangs, when the reader leaves, or when this process dies.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, BinaryIO

from edge_aac.audio.formats.completeness import Completeness, environment
from edge_aac.audio.formats.ffmpeg_log import LOG_OPTIONS, FfmpegLog, printable
from edge_aac.audio.formats.recognition import HEAD_BYTES, Container
from edge_aac.audio.formats.relay import Relay
from edge_aac.audio.formats.wav_head import HIGHEST_WAV_HEAD_BYTES, format_end, format_of
from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

IDLE_LIMIT_S = 60.0
"""A decoder that takes no byte of its input and gives none for so long hangs: a disk that spins up takes 15 s, and of a
network file system that is away for a minute its user wants to know."""
SILENT_LIMIT_S = 600.0
"""It may read for so long without giving sound: at 20 MB/s, what a worn memory card gives, 12 GB of pictures."""

_SAMPLE_BYTES = 4


class Transcoded(io.RawIOBase):
    """A file or stream as ffmpeg decodes it: a WAV of 32-bit float samples of unknown length, to be read once.

    The WAV has the rate and the channels of the source; of several tracks of sound it is the first. What there is to
    say besides is logged as a warning. Read to the end, then call :meth:`finish`; in any case :meth:`close`.

    Args:
        source: a file, or the descriptor of a pipe. It stays the caller's. Of a regular file the position does not
            matter; of a pipe, all that was taken from it before must be in ``head``.
        name: the input as the user wrote it, for messages.
        container: its format.
        regular: it is a regular file, in which ffmpeg may go back and forth.
        head: the first bytes of a pipe that were taken from it already.
        on_cancel: is given :meth:`close` before the input is waited for, to be called from another thread.

    Attributes:
        rate: sample rate in Hz.
        channels: number of interleaved channels.
        header_bytes: length of what stands before the samples.

    Raises:
        DataError: ffmpeg is not installed, or finds no sound that it can decode.
    """

    def __init__(
        self,
        source: BinaryIO | int,
        name: str,
        container: Container,
        *,
        regular: bool,
        head: bytes = b"",
        on_cancel: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__()
        self._name, self._container, self._regular = printable(name), container, regular
        self._facts = FfmpegLog()
        self._reading = threading.Lock()
        # Its reader closes it too, when it is cancelled: the numbers of closed descriptors may be other files' by then.
        self._closing = threading.RLock()
        self._given_bytes = 0
        self._relay: Relay | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.dup(source if isinstance(source, int) else source.fileno())
            self._head = os.pread(self._descriptor, HEAD_BYTES, 0) if regular else head
            self._relay = self._started(head)
            if on_cancel is not None:
                on_cancel(self.close)
            with self._reading:
                self._unread = header = b"" if self.closed else self._header(self._relay.output)
            if self.closed:
                raise DataError(f"'{self._name}' was closed before its first sound.")
            if not header:
                self.finish()
                raise self._refused()
            self.rate, self.channels, self.header_bytes = format_of(header)
            if len(self._facts.audio_tracks) > 1:
                _log.warning(
                    "%s has %d tracks of sound: only the first is heard",
                    self._name,
                    len(self._facts.audio_tracks),
                )
        except OSError as error:
            self.close()
            raise DataError(
                f"'{self._name}' is {_a(container)} file, and ffmpeg, which decodes it, does not start "
                f"({error.strerror or error}): install it again, or give this process more descriptors and memory."
            ) from error
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Gives the next bytes; 0 at the end, whatever ended it: :meth:`finish` tells."""
        with self._reading:
            if self.closed or self._relay is None:
                return 0
            view = memoryview(buffer).cast("B")
            data = self._unread[: len(view)] or os.read(self._relay.output, len(view))
            self._unread = self._unread[len(data) :]
            view[: len(data)] = data
            self._given_bytes += len(data)
            return len(data)

    def finish(self) -> None:
        """Looks, after the end of the output, whether all of the sound was in it.

        Raises:
            DataError: ffmpeg failed or hung, or a second or more of the sound is missing.
        """
        assert self._relay is not None, "it is not closed"
        relay, facts, name = self._relay, self._facts, self._name
        while self.read(HIGHEST_WAV_HEAD_BYTES):
            pass
        relay.wait()
        heard_s = self._heard_s()
        if facts.encrypted:
            raise DataError(f"'{name}' is encrypted (DRM): only the player that it was bought for can decode it.")
        if facts.no_audio:
            raise DataError(f"'{name}' is {_a(self._container)} file without a track of sound: record it again.")
        if relay.hung_s is not None:
            raise DataError(
                f"ffmpeg was stopped after {relay.hung_s:g} s without progress, {heard_s:.2f} s into '{name}': convert "
                "it elsewhere with `ffmpeg -i INPUT OUTPUT.flac`, or cut the damaged part off."
            )
        if relay.source_error is not None:
            raise DataError(f"Reading '{name}' failed ({relay.source_error.strerror}) after {heard_s:.2f} s.")
        if heard_s == 0 and relay.status is not None and relay.status >= 0:
            raise self._refused()
        if relay.status != 0:
            raise self._ended_early(relay.status, heard_s)
        Completeness(
            name=name,
            container=self._container,
            facts=facts,
            heard_s=heard_s,
            head=self._head,
            descriptor=self._descriptor if self._regular else None,
            received_bytes=relay.received_bytes,
        ).check()

    def close(self) -> None:
        """Ends ffmpeg, if it still runs, and waits for it; a :meth:`readinto` that waits gives 0."""
        with self._closing:
            if self.closed:
                return
            super().close()
            if self._relay is not None:
                self._relay.stop()
                with self._reading:
                    self._relay.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)

    def _started(self, head: bytes) -> Relay:
        program = shutil.which("ffmpeg")
        if program is None:
            raise DataError(
                f"'{self._name}' is {_a(self._container)} file, which ffmpeg decodes, and ffmpeg is not installed: "
                "install it (`apt install ffmpeg`), or convert the file elsewhere with `ffmpeg -i INPUT OUTPUT.flac`."
            )
        _tell_once(program)
        # The descriptor, not the name: a name may look like an option or an address, or be another file by now.
        place = f"file:/proc/self/fd/{self._descriptor}" if self._regular else "pipe:0"
        command = [program, *LOG_OPTIONS, "-nostdin", "-threads", "1"]
        command += [
            "-protocol_whitelist",
            "file" if self._regular else "pipe",
            "-f",
            self._container.demuxer,
            "-i",
            place,
        ]
        command += ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-fflags", "+bitexact"]
        command += ["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
        return Relay(
            command,
            self._noted,
            source=None if self._regular else self._descriptor,
            head=head,
            inherited=(self._descriptor,) if self._regular else (),
            environment=environment(),
            idle_limit_s=IDLE_LIMIT_S,
            silent_limit_s=SILENT_LIMIT_S,
        )

    def _noted(self, data: bytes) -> bool:
        self._facts.feed(data)
        # What decodes from encrypted sound is noise.
        return not self._facts.encrypted

    def _header(self, descriptor: int) -> bytes:
        """Reads up to the first sample; nothing where there is none."""
        header = b""
        while format_end(header) is None:
            data = os.read(descriptor, HIGHEST_WAV_HEAD_BYTES)
            if not data or len(header) > HIGHEST_WAV_HEAD_BYTES:
                return b""
            header += data
        return header

    def _heard_s(self) -> float:
        if not hasattr(self, "rate"):
            return 0.0
        sound_bytes = max(0, self._given_bytes - self.header_bytes)
        return sound_bytes / (_SAMPLE_BYTES * self.channels * self.rate)

    def _refused(self) -> DataError:
        if not self._facts.errors:
            return DataError(f"'{self._name}' is {_a(self._container)} file without any sound in it: record it again.")
        advice = "record it again, or copy it again from where it came from"
        if not self._regular:
            advice = "give it as a file, or pipe WAV or FLAC"
        if self._container.index_may_follow and self._facts.cut_short and not self._regular:
            advice = "give it as a file, for its index may stand at the end, or pipe Matroska (`ffmpeg -f matroska`)"
        return DataError(
            f"'{self._name}' is {_a(self._container)} file that ffmpeg cannot decode "
            f"({self._facts.quoted()}): {advice}."
        )

    def _ended_early(self, status: int | None, heard_s: float) -> DataError:
        how = (
            f"was ended by signal {-status}"
            if status is not None and status < 0
            else f"failed ({self._facts.quoted()})"
        )
        return DataError(
            f"'{self._name}' is heard only to {heard_s:.2f} s, where ffmpeg {how}: copy it again from where it came "
            "from, or convert it elsewhere with `ffmpeg -i INPUT OUTPUT.flac`."
        )


@cache
def _tell_once(program: str) -> None:
    _log.info("sound that libsndfile does not read is decoded by %s", program)


def _a(container: Container) -> str:
    """Gives a container's name with its article; capitals are read one by one."""
    first, second = container.name[0], container.name[1]
    vowel = first in "AEFLMORSX" if not second.islower() else first in "AEIO"
    return f"{'an' if vowel else 'a'} {container.name}"
