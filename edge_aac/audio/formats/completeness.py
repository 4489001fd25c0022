"""Whether all of a sound that ffmpeg decoded was heard."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from edge_aac.audio.formats.announcements import announced_in_header, trailing_tag_bytes
from edge_aac.audio.formats.ffmpeg_log import FfmpegLog, printable
from edge_aac.audio.formats.recognition import Container, id3_bytes
from edge_aac.errors import DataError
from edge_aac.secret_variables import without_secrets

_log = logging.getLogger(__name__)

_PROBE_LIMIT_S = 30.0
# What is missing before it is said: encoders add and drop up to a frame or two at both ends, and containers round.
_TOLERANCE_S = 1.0
_LOWEST_TOLERANCE_S = 0.25
_TOLERANCE_SHARE = 0.1
# Formats that are nothing but frames: what ffmpeg read of them can be compared with what there is.
_FRAMES_ONLY = {"aac", "loas", "ac3", "eac3", "amr"}
# Of these the bit rate stays the same, so that it tells the duration, but for an unlucky first frame.
_CONSTANT_RATE = {"ac3", "dts"}
_SURE_SHARE = 0.9
# A frame of these may hold a second, and is decoded to noise where its checksum is wrong.
_LONG_FRAMES = {"tta", "ape", "wv", "tak"}
# A first or last frame may lean on one that was cut off.
_HARMLESS_PACKETS = 2


@dataclass(frozen=True)
class Completeness:
    """What is known of a sound after its end.

    Attributes:
        name: the input as the user wrote it.
        container: its format.
        facts: what ffmpeg told of it.
        heard_s: seconds of sound that ffmpeg gave.
        head: the input's first bytes.
        descriptor: the regular file; None for a pipe.
        received_bytes: size of what a pipe gave.
    """

    name: str
    container: Container
    facts: FfmpegLog
    heard_s: float
    head: bytes
    descriptor: int | None
    received_bytes: int

    def check(self) -> None:
        """Compares what was heard with what the container announces, its clock, and its size.

        What is missing of less than a second, and pauses that the container means, are logged as warnings.

        Raises:
            DataError: a second or more is missing, of a short file a tenth.
        """
        facts, name, heard_s = self.facts, self.name, self.heard_s
        announced_s = self._announced_s()
        missing_s = 0.0 if announced_s is None else announced_s - heard_s
        gap_s = facts.reached_s - heard_s
        if missing_s > _tolerance_s(announced_s or 0.0) and facts.reached_s < (announced_s or 0.0) - _TOLERANCE_S / 2:
            raise DataError(
                f"'{name}' is truncated: it holds {heard_s:.2f} s of the {announced_s:.2f} s that its header promises; "
                "copy it again from where it came from."
            )
        damaged = facts.corrupt or bool(facts.errors)
        lost_s = max(gap_s if damaged else 0.0, self._lost_in_frames_s())
        if lost_s > _tolerance_s(heard_s + lost_s):
            raise DataError(
                f"'{name}' is damaged: about {lost_s:.1f} s of its sound could not be decoded ({facts.quoted()}), and "
                "times behind them are too early; copy it again from where it came from."
            )
        measured = announced_s is not None or lost_s > 0
        harmless = 0 if self.container.demuxer in _LONG_FRAMES else _HARMLESS_PACKETS
        bad = max(facts.wrong_checksums - harmless, 0 if measured else facts.undecoded_packets - _HARMLESS_PACKETS)
        if bad > 0:
            raise DataError(
                f"'{name}' is damaged: {bad + harmless} pieces of its sound could not be decoded ({facts.quoted()}); "
                "copy it again from where it came from."
            )
        if facts.cut_short and announced_s is None:
            raise DataError(
                f"'{name}' is truncated after {heard_s:.2f} s of sound ({facts.quoted()}): copy it again from where it "
                "came from."
            )
        if damaged:
            _log.warning(
                "%s is slightly damaged, less than a second of it is lost: %s", printable(name), facts.quoted()
            )
        elif gap_s > _TOLERANCE_S:
            _log.warning(
                "the sound of %s begins late or pauses, for %.1f s in all that are left out: times behind them are too "
                "early by as much",
                printable(name),
                gap_s,
            )

    def _announced_s(self) -> float | None:
        """How long the container says that the track is; None where it does not say, or only of all tracks together."""
        announced_s = announced_in_header(self.head, self.container.demuxer)
        if announced_s is not None or not self.container.announces:
            return announced_s
        announced_s = self.facts.announced_s
        alone = len(self.facts.audio_tracks) + self.facts.other_tracks == 1
        if announced_s is None or alone or announced_s - self.heard_s < _tolerance_s(announced_s):
            return announced_s
        return self._probed_s()

    def _probed_s(self) -> float | None:
        """Asks ffprobe for the duration of the first track of sound, of which ffmpeg tells only the longest track's."""
        program = shutil.which("ffprobe")
        if program is None or self.descriptor is None:
            return None
        command = [program, "-v", "quiet", "-protocol_whitelist", "file", "-f", self.container.demuxer]
        command += ["-select_streams", "a:0", "-show_entries", "stream=duration:stream_tags=DURATION", "-of", "json"]
        try:
            result = subprocess.run(
                [*command, f"file:/proc/self/fd/{self.descriptor}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self.descriptor,),
                env=environment(),
                timeout=_PROBE_LIMIT_S,
                check=False,
            )
            return _duration_of(json.loads(result.stdout)["streams"][0])
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, IndexError, TypeError):
            return None

    def _lost_in_frames_s(self) -> float:
        """Of a format that is nothing but frames: the sound that the bytes which are in no frame would have held."""
        estimated_s = self.facts.estimated_s
        if estimated_s is not None and self.container.demuxer in _CONSTANT_RATE:
            return max(0.0, _SURE_SHARE * estimated_s - self.heard_s)
        read = self.facts.packet_bytes
        if self.container.demuxer not in _FRAMES_ONLY or not read:
            return 0.0
        if self.descriptor is not None:
            present = os.fstat(self.descriptor).st_size - trailing_tag_bytes(self.descriptor)
        else:
            present = self.received_bytes
        return max(0, present - id3_bytes(self.head) - read) / read * self.heard_s


def _tolerance_s(of_s: float) -> float:
    return min(_TOLERANCE_S, max(_LOWEST_TOLERANCE_S, _TOLERANCE_SHARE * of_s))


def environment() -> dict[str, str]:
    """Gives the environment for ffmpeg: without what makes ffmpeg write reports to files, or colours to its log."""
    kept = {key: value for key, value in without_secrets().items() if key not in ("FFREPORT", "AV_LOG_FORCE_COLOR")}
    return {**kept, "AV_LOG_FORCE_NOCOLOR": "1"}


def _duration_of(stream: dict[str, Any]) -> float | None:
    if "duration" in stream:
        return float(stream["duration"])
    parts = stream.get("tags", {}).get("DURATION", "").split(":")
    return sum(float(part) * 60**power for power, part in enumerate(reversed(parts))) if parts != [""] else None
