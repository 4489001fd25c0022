"""What ffmpeg tells of a connection: why there is none, that it is a file's, and what was lost on the way."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_aac.audio.connection import RefusedError
from edge_aac.audio.formats.ffmpeg_log import FfmpegLog, printable
from edge_aac.errors import DeviceError

_QUOTED_CHARACTERS = 200
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*|\S*%40\S*|\S+@\S+\.?\S*", re.IGNORECASE)
_STATUS = re.compile(r"(?:HTTP error|method [A-Z_]+ failed:|Server returned) ([1-6]\d\d)\b")
_PROBLEM = re.compile(r"\[(?:panic|fatal|error|warning)\] ?(.*)")
_SIZE = re.compile(r"^total_size=(\d+)$")
_TIME = re.compile(r"^out_time_us=(\d+)$")
# What a server that only sends files has; some live ones promise a length of months.
_LONGEST_FILE_S = 7 * 86_400.0

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _NO_SUCH_TRANSPORT = 401, 403, 404, 410, 461

UNTRUSTED = "give its authority with ca=FILE, or switch the check off with tls_verify=no"
"""What mends a connection to a server whose certificate is not trusted."""

# In the order in which they tell most. The second is part of a sentence about the address.
_REASONS = (
    (r"Failed to resolve hostname", "has a host name that cannot be resolved: check it, and the network"),
    (r"[Cc]ertificate|self[- ]signed", f"has a certificate that is not valid: {UNTRUSTED}"),
    (r"Option (?:ca_file|tls_verify) not found", "leads to an address without TLS, which is not followed"),
    (r"Connection refused", "refuses the connection: nothing listens at that port, or not yet"),
    (r"No route to host|Network is unreachable", "cannot be reached: check the network"),
    (r"timed out", "does not answer in time"),
    (r"Connection reset|Broken pipe", "has ended the connection"),
    (
        r"not on whitelist|[Pp]rotocol .*not (?:found|allowed)|Not whitelisted",
        "leads to something else than sound over HTTP or RTSP, which is not followed",
    ),
    (r"matches no streams", "has no sound, only pictures or data: switch its sound on"),
    (
        r"Decoder \(codec .*not found|Unsupported codec|Unknown (?:input format|decoder)",
        "sends sound in a form that this ffmpeg does not decode",
    ),
    (
        r"Invalid data found|could not find codec parameters|Could not find codec",
        "sends something that is no sound",
    ),
)
_COMPILED = tuple((re.compile(pattern), sentence) for pattern, sentence in _REASONS)


def reason_in_words(problem: str) -> str | None:
    """What a message of ffmpeg or the system means, as the rest of a sentence about the address; None of others."""
    return next((sentence for pattern, sentence in _COMPILED if pattern.search(problem)), None)


@dataclass
class NetworkLog(FfmpegLog):
    """An account of what ffmpeg prints about a stream from the network.

    Attributes:
        label: the address without secrets, for messages.
        secrets: texts that no message may hold.
        progress: size of the output in bytes and the time of its end by the server's clock in microseconds, as told
            last; None before the first time.
    """

    label: str = ""
    secrets: Sequence[str] = ()
    progress: tuple[int, int] | None = None
    _problems: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    _size: int | None = None

    def take_line(self, line: str) -> None:
        """Takes one line, without its end."""
        size = _SIZE.match(line)
        if size is not None:
            self._size = int(size[1])
            return
        time = _TIME.match(line)
        if time is not None and self._size is not None:
            self.progress = (self._size, int(time[1]))
        super().take_line(line)
        problem = _PROBLEM.search(line)
        if problem is not None:
            self._problems.append(problem[1])

    @property
    def status(self) -> int | None:
        """The last error status of the server, of HTTP or RTSP, among the last few lines that tell of problems."""
        for text in reversed(self._problems):
            found = _STATUS.search(text)
            if found is not None:
                return int(found[1])
        return None

    @property
    def file_s(self) -> float | None:
        """Length in seconds of what the server sends, where it is a file with an end; None for a live stream."""
        length_s = self.announced_s if self.announced_s is not None else self.estimated_s
        return length_s if length_s is not None and 0 < length_s < _LONGEST_FILE_S else None

    def error(self, otherwise: str) -> DeviceError:
        """Gives why there is no sound, as an error without secrets.

        Args:
            otherwise: what is told of the address where ffmpeg gives no reason.
        """
        where = f"'{self.label}'"
        status = self.status
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return RefusedError(f"{where} refuses the login ({status}): check its user and password.")
        if self.encrypted:
            return DeviceError(f"{where} is encrypted (DRM): it can be heard only by the player that it is meant for.")
        if status in (_NOT_FOUND, _GONE):
            return DeviceError(f"{where} is not known to its server ({status}): check the path.")
        if status == _NO_SUCH_TRANSPORT:
            return DeviceError(f"{where} is not sent over this transport ({status}): try the other, tcp or udp.")
        if status is not None and any("method PLAY failed" in text for text in self._problems):
            return DeviceError(f"{where} has nothing to hear ({status}): switch its sound on.")
        if status is not None:
            return DeviceError(f"{where} answers with error {status}.")
        for pattern, sentence in _COMPILED:
            if any(pattern.search(text) for text in self._problems):
                return DeviceError(f"{where} {sentence}.")
        quoted = self._quoted_problem()
        return DeviceError(f"{where} {otherwise}{f' (ffmpeg: {quoted})' if quoted else ''}.")

    def _quoted_problem(self) -> str:
        """Gives the last problem as part of a sentence, without addresses and secrets."""
        if not self._problems:
            return ""
        text = self._problems[-1]
        for secret in self.secrets:
            text = text.replace(secret, "…")
        text = printable(_URL.sub("…", text)).strip().rstrip(".")
        return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…"
