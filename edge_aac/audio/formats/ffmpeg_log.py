"""What ffmpeg tells on standard error about an input: its tracks, its duration, its damage, and how far it came.

The lines are those of ``-loglevel repeat+level+verbose -nostats -progress pipe:2``, alike in ffmpeg 4.4 to 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LOG_OPTIONS = ("-hide_banner", "-nostats", "-loglevel", "repeat+level+verbose", "-progress", "pipe:2")
"""Options of ffmpeg that make it print what is read here."""

_HIGHEST_LINE_BYTES = 4_096
_KEPT_ERRORS = 3
_QUOTED_CHARACTERS = 200

_LEVEL = re.compile(r"^(?:\[[^\[\]]* @ 0x[0-9a-f]+\] )*\[(panic|fatal|error|warning|info|verbose)\] ?")
_STREAM = re.compile(r"^\s*Stream #0:(\d+)\S*: (\w+): (\w+)")
_DURATION = re.compile(r"^\s*Duration: (\d+):(\d+):(\d+\.\d+)")
_PACKETS = re.compile(r"^\s*Input stream #0:\d+ \(audio\): (\d+) packets read \((\d+) bytes\)")
_PROGRESS_TIME = re.compile(r"^out_time_us=(\d+)$")
_ENCRYPTED = re.compile(
    r"\((?:drms|enca|aavd) / 0x|DRM protected|activation_bytes option is missing|Content ?Encryption"
)
_UNDECODED = re.compile(r"Error while decoding stream|Error submitting .*packet to decoder|Decoding error")
_WRONG_CHECKSUM = re.compile(r"CRC (?:error|mismatch|check failed)|[Cc]hecksum (?:error|mismatch)|wrong CRC|frame CRC")
_CUT_SHORT = re.compile(r"partial file|ended prematurely|moov atom not found|Missing packet table")
_CORRUPT = re.compile(r"[Pp]acket corrupt|corrupt (?:input )?packet|corrupt decoded frame")


@dataclass
class FfmpegLog:
    """A bounded account of what ffmpeg prints, fed with its bytes as they come.

    Attributes:
        announced_s: how long the container says that it is, in seconds; None where it does not, or ffmpeg estimates.
        estimated_s: how long ffmpeg estimates that it is, from its size and its bit rate; None where it need not.
        audio_tracks: numbers of the streams that are sound, in order.
        other_tracks: number of the streams that are something else.
        encrypted: the sound is encrypted.
        no_audio: there is no stream of sound.
        undecoded_packets: number of packets of the sound that could not be decoded.
        wrong_checksums: number of pieces whose checksum is wrong; what is decoded of them may be noise.
        cut_short: the container ends before its end.
        corrupt: packets of the container are marked, or found, corrupt.
        packet_bytes: size of all packets of the sound in bytes; None before the end.
        reached_s: time of the end of the sound so far, by the container's clock.
        errors: the first few lines that tell of errors, without their origin.
    """

    announced_s: float | None = None
    estimated_s: float | None = None
    audio_tracks: list[int] = field(default_factory=list)
    other_tracks: int = 0
    encrypted: bool = False
    no_audio: bool = False
    undecoded_packets: int = 0
    wrong_checksums: int = 0
    cut_short: bool = False
    corrupt: bool = False
    packet_bytes: int | None = None
    reached_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    _partial: bytes = b""
    _in_input: bool = True
    _estimated: bool = False

    def feed(self, data: bytes) -> None:
        """Takes the next bytes; of a line, what is beyond 4096 bytes is dropped."""
        *lines, rest = re.split(rb"[\r\n]", self._partial + data)
        for line in lines:
            self.take_line(line[:_HIGHEST_LINE_BYTES].decode("utf-8", "replace"))
        self._partial = rest[:_HIGHEST_LINE_BYTES]

    def quoted(self) -> str:
        """Gives the first error as part of a sentence: one line, without control characters, at most 200 characters."""
        if not self.errors:
            return "it says nothing about it"
        text = printable(self.errors[0])
        return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…"

    def take_line(self, line: str) -> None:
        """Takes one line, without its end."""
        found = _LEVEL.match(line)
        if found is None:
            time = _PROGRESS_TIME.match(line)
            if time is not None:
                self.reached_s = max(self.reached_s, int(time[1]) / 1e6)
            elif line.startswith("ffmpeg: ") or "error while loading shared libraries" in line:
                self._keep(line)
            return
        level, text = found[1], line[found.end() :]
        if _ENCRYPTED.search(text):
            self.encrypted = True
        if level in ("panic", "fatal", "error"):
            self._take_error(text)
        elif level == "warning":
            self._estimated = self._estimated or "Estimating duration from bitrate" in text
            self.corrupt = self.corrupt or _CORRUPT.search(text) is not None
        else:
            self._take_facts(text)

    def _take_error(self, text: str) -> None:
        self.no_audio = self.no_audio or "matches no streams" in text
        self.cut_short = self.cut_short or _CUT_SHORT.search(text) is not None
        if _UNDECODED.search(text):
            self.undecoded_packets += 1
        if _WRONG_CHECKSUM.search(text):
            self.wrong_checksums += 1
        self._keep(text)

    def _take_facts(self, text: str) -> None:
        if text.startswith(("Stream mapping:", "Output #0")):
            self._in_input = False
        packets = _PACKETS.match(text)
        if packets is not None and int(packets[1]):
            self.packet_bytes = int(packets[2])
        if not self._in_input:
            return
        duration = _DURATION.match(text)
        if duration is not None:
            seconds = 3600 * int(duration[1]) + 60 * int(duration[2]) + float(duration[3])
            self.announced_s, self.estimated_s = (None, seconds) if self._estimated else (seconds, None)
        stream = _STREAM.match(text)
        if stream is None:
            return
        number, kind = int(stream[1]), stream[2]
        if kind != "Audio":
            self.other_tracks += 1
        elif number not in self.audio_tracks:
            self.audio_tracks.append(number)

    def _keep(self, text: str) -> None:
        if len(self.errors) < _KEPT_ERRORS:
            self.errors.append(text.strip())


def printable(text: str) -> str:
    """Gives a text on one line, with question marks in place of control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)
