"""One connection to a server: ffmpeg receives and decodes, and its samples become mono sound at 16 kHz."""

from __future__ import annotations

import logging
import os
import select
import shutil
import ssl
import threading
import time
from collections.abc import Iterator

import numpy as np

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.connection import PermanentDeviceError, Sound
from edge_aac.audio.formats.ffmpeg_log import LOG_OPTIONS
from edge_aac.audio.formats.relay import Relay
from edge_aac.audio.formats.wav_head import HIGHEST_WAV_HEAD_BYTES, format_end, format_of
from edge_aac.audio.resample import MonoResampler
from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.audio.sources.network.doorman import Doorman
from edge_aac.audio.sources.network.log import NetworkLog
from edge_aac.audio.sources.network.losses import LossMeter
from edge_aac.errors import DeviceError

_log = logging.getLogger(__name__)

_CHECK_S = 0.1
_READ_BYTES = 64 * 1024
_SAMPLE_BYTES = 4
# The reader of the connection notices silence first; this is for one that has stopped reading.
_RELAY_MARGIN_S = 60.0

# A stream that comes at this many times its pace comes from a buffer.
_BURST_PACE = 3.0
_LONGEST_BURST_WAIT_S = 3.0
# Of the length of a file: an estimated one is not exact.
_WHOLE_SHARE = 0.9

_RTSP_PROTOCOLS = "rtsp,rtp,tcp,udp"
_HTTP_PROTOCOLS = "http,https,tcp,tls,httpproxy,crypto"
# Neither scripts (ffconcat) nor devices, whatever a server sends.
_HTTP_FORMATS = (
    "aac,ac3,adts,aiff,amr,amrnb,amrwb,asf,au,caf,eac3,flac,flv,hls,latm,loas,matroska,mov,mp3,mpegts,ogg,wav,webm"
)


_KEPT_VARIABLES = frozenset({"PATH", "LD_LIBRARY_PATH", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"})


class NetworkStream:
    """ffmpeg, connected to a server, as a :class:`~edge_aac.audio.connection.Connection`.

    Args:
        address: the server.
        login: what it lets its clients in for; None for nothing.
        closed: once set, the opening is given up.
        watch: is told of the channels and logs what is wrong with them.

    Raises:
        RefusedError: the server refuses the login.
        PermanentDeviceError: ffmpeg is not installed; what the server sends is a file and no live stream; or it has not
            the channel that is to be heard.
        DeviceError: there is no sound.
    """

    def __init__(
        self, address: NetworkAddress, login: Login | None, closed: threading.Event, watch: ChannelWatch
    ) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise PermanentDeviceError(
                f"'{address.label}' is received by ffmpeg, which is not installed: install it (`apt install ffmpeg`)."
            )
        self._address = address
        self._log = NetworkLog(label=address.label, secrets=address.secrets(login))
        self._losses = LossMeter()
        self._progress: tuple[int, int] | None = None
        self._rate = self._channels = 1
        self._unread = b""
        self._received_bytes = 0
        self._doorman = Doorman(address, login)
        self._relay: Relay | None = None
        try:
            limit_s = _RELAY_MARGIN_S + max(address.connect_s, address.stall_s)
            self._relay = Relay(
                list(_command(program, address, self._doorman.url)),
                self._noted,
                environment=_environment(),
                idle_limit_s=limit_s,
                silent_limit_s=limit_s,
            )
            self._poll = select.poll()
            self._poll.register(self._relay.output, select.POLLIN)
            self._rate, self._channels, self._head_bytes = format_of(self._head(closed))
            self._resampler = MonoResampler(self._rate, address.mixing, watch)
            chosen = address.mixing.channel if address.mixing is not None else None
            if chosen is not None and chosen > self._channels:
                raise PermanentDeviceError(
                    f"'{address.label}' has no channel {chosen}, only {self._channels}: choose another one."
                )
            self._pass_over_buffered(closed)
        except OSError as error:
            self.close()
            raise DeviceError(
                f"ffmpeg, which receives '{address.label}', does not start ({error.strerror})."
            ) from error
        except BaseException:
            self.close()
            raise

    def read(self, timeout_s: float) -> Sound | None:
        """Gives the next sound; see :meth:`edge_aac.audio.connection.Connection.read`."""
        assert self._relay is not None, "it is open"
        frame_bytes = _SAMPLE_BYTES * self._channels
        if len(self._unread) < frame_bytes:
            if not self._poll.poll(1000 * timeout_s):
                return None
            self._receive()
        count = min(len(self._unread), _READ_BYTES) // frame_bytes
        if not count:
            return None
        data, self._unread = self._unread[: count * frame_bytes], self._unread[count * frame_bytes :]
        frames = np.frombuffer(data, dtype="<f4").reshape(count, self._channels)
        samples = self._resampler.accept(np.nan_to_num(frames, posinf=0.0, neginf=0.0))
        return Sound(samples, count / self._rate, time.monotonic(), self._lost_s())

    def close(self) -> None:
        """Ends ffmpeg, waits for it, and closes the port that it was sent from."""
        if self._relay is not None:
            self._relay.close()
        self._doorman.close()

    def _noted(self, data: bytes) -> bool:
        self._log.feed(data)
        return not self._log.encrypted

    def _head(self, closed: threading.Event) -> bytes:
        """Waits for the head of the WAV, and keeps what follows it."""
        assert self._relay is not None, "it is open"
        give_up_s = time.monotonic() + self._address.connect_s
        head = b""
        while not closed.is_set():
            found = format_end(head)
            if found is not None:
                # Without sound the head alone is a connection that opens and stays mute: that is for the reader to see.
                self._unread = head[found[1] :]
                self._received_bytes = len(self._unread)
                return head[: found[1]]
            if time.monotonic() > give_up_s:
                raise self._log.error(f"gave no sound within {self._address.connect_s:g} s")
            if self._poll.poll(1000 * _CHECK_S):
                data = os.read(self._relay.output, _READ_BYTES)
                head += data
                if not data or len(head) > HIGHEST_WAV_HEAD_BYTES + _READ_BYTES:
                    raise self._ended("gave no sound")
        raise DeviceError("The source was closed while it was being opened.")

    def _receive(self) -> None:
        """Reads what there is, at least a byte."""
        assert self._relay is not None, "it is open"
        data = os.read(self._relay.output, _READ_BYTES)
        if not data:
            raise self._ended("has ended the stream")
        self._unread += data
        self._received_bytes += len(data)

    def _pass_over_buffered(self, closed: threading.Event) -> None:
        """Leaves out the past that a server sends first from its buffer, at once: a live source begins with now.

        Raises:
            PermanentDeviceError: it goes on like that to the end of a file whose length is known.
        """
        give_up_s = time.monotonic() + _LONGEST_BURST_WAIT_S
        while not closed.is_set():
            frame_bytes = _SAMPLE_BYTES * self._channels
            before_bytes, since_s = self._received_bytes, time.monotonic()
            self._unread = self._unread[len(self._unread) // frame_bytes * frame_bytes :]
            while (left_s := since_s + _CHECK_S - time.monotonic()) > 0 and self._poll.poll(1000 * left_s):
                self._receive()
            if (self._received_bytes - before_bytes) * self._byte_s < _BURST_PACE * _CHECK_S:
                return
            if time.monotonic() > give_up_s:
                if self._log.file_s is not None:
                    raise self._is_a_file()
                return

    @property
    def _byte_s(self) -> float:
        """Seconds of sound in a byte."""
        return 1 / (_SAMPLE_BYTES * self._channels * self._rate)

    def _ended(self, otherwise: str) -> DeviceError:
        """Waits for the end of ffmpeg and gives its reason."""
        assert self._relay is not None, "it is open"
        self._relay.wait()
        length_s = self._log.file_s
        if length_s is not None and self._received_bytes * self._byte_s >= _WHOLE_SHARE * length_s:
            return self._is_a_file()
        if self._doorman.error is not None:
            return self._doorman.error
        if self._relay.status is not None and self._relay.status < 0:
            return DeviceError(
                f"ffmpeg, which receives '{self._address.label}', ended by signal {-self._relay.status}."
            )
        return self._log.error(otherwise)

    def _is_a_file(self) -> PermanentDeviceError:
        return PermanentDeviceError(
            f"'{self._address.label}' is a file with an end and no live stream: download it, and caption it as a file."
        )

    def _lost_s(self) -> float:
        """Gives the seconds that were newly found to be lost."""
        progress = self._log.progress
        if not self._address.is_rtsp or progress is None or progress == self._progress:
            return 0.0
        self._progress = progress
        size, clock_us = progress
        sound_s = max(0, size - self._head_bytes) / (_SAMPLE_BYTES * self._channels * self._rate)
        return self._losses.lost_s(clock_us / 1e6, sound_s)


def _command(program: str, address: NetworkAddress, url: str) -> Iterator[str]:
    yield from (program, *LOG_OPTIONS, "-nostdin", "-threads", "1")
    if address.is_rtsp:
        yield from ("-protocol_whitelist", _RTSP_PROTOCOLS, "-rtsp_transport", address.transport)
        # The server is asked for no picture in the first place.
        yield from ("-allowed_media_types", "audio", "-f", "rtsp")
    else:
        yield from ("-protocol_whitelist", _HTTP_PROTOCOLS, "-format_whitelist", _HTTP_FORMATS)
        # Of an MP3 that begins in the middle of a frame it would take 200 frames, 4.8 s, to be sure.
        yield from ("-formatprobesize", "16384")
        # Of a WAV ffmpeg looks 5 s for other formats within it.
        yield from ("-analyzeduration", "1000000")
        yield from ("-rw_timeout", str(round(1e6 * max(address.connect_s, address.stall_s))))
        if address.has_tls:
            yield from ("-tls_verify", "1" if address.verify else "0")
            authorities = address.authorities or ssl.get_default_verify_paths().cafile
            if address.verify and authorities is not None:
                yield from ("-ca_file", str(authorities))
    yield from ("-i", url, "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-fflags", "+bitexact")
    # The rate and the channels of the server, which the head tells: this program's own mixing and resampling follow.
    yield from ("-c:a", "pcm_f32le", "-f", "wav", "-flush_packets", "1", "pipe:1")


def _environment() -> dict[str, str]:
    """Gives the environment for ffmpeg: what finds libraries, proxies and certificates, and no secret of this process.

    A proxy is not asked for addresses of this machine.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES}
    no_proxy = ",".join(filter(None, (kept.get("no_proxy"), "127.0.0.1")))
    return {**kept, "no_proxy": no_proxy, "AV_LOG_FORCE_NOCOLOR": "1", "LC_ALL": "C"}
