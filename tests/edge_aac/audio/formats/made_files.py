"""Files as phones and cameras make them, made by the installed ffmpeg and heard through it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.formats.ffmpeg import Transcoded
from edge_aac.audio.formats.recognition import HEAD_BYTES, Container, recognise
from edge_aac.errors import DataError

MP4 = Container("MP4", "mov", "mp4", index_may_follow=True)
SECONDS = 4.0
_TONE = "sine=frequency=1000:duration=4"
VIDEO = ("-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=4")

# Name of the file: what ffmpeg makes it with, its rate, its channels.
MADE = {
    "late_index.m4a": (("-c:a", "aac"), 44_100, 2),
    "early_index.m4a": (("-c:a", "aac", "-movflags", "+faststart"), 44_100, 2),
    "fragments.mp4": (("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"), 48_000, 1),
    "lossless.m4a": (("-c:a", "alac"), 44_100, 2),
    "camera.mov": (("-c:a", "pcm_s16be"), 48_000, 2),
    "opus.mp4": (("-c:a", "libopus"), 48_000, 1),
    "phone.aac": (("-c:a", "aac"), 22_050, 1),
    "broadcast.latm": (("-c:a", "aac", "-f", "latm"), 48_000, 2),
    "browser.webm": (("-c:a", "libopus"), 48_000, 2),
    "vorbis.webm": (("-c:a", "libvorbis"), 44_100, 1),
    "flac.mkv": (("-c:a", "flac"), 16_000, 1),
    "pcm.mka": (("-c:a", "pcm_s24le"), 48_000, 4),
    "v1.wma": (("-c:a", "wmav1"), 44_100, 1),
    "v2.wma": (("-c:a", "wmav2"), 44_100, 2),
    "mp3.avi": (("-c:a", "libmp3lame"), 44_100, 2),
    "pcm.avi": (("-c:a", "pcm_s16le"), 8_000, 1),
    "mp2.ts": (("-c:a", "mp2"), 48_000, 2),
    "aac.ts": (("-c:a", "aac"), 48_000, 1),
    "blu_ray.m2ts": (("-c:a", "ac3"), 48_000, 2),
    "dvd.mpg": (("-c:a", "mp2"), 48_000, 2),
    "film.ac3": (("-c:a", "ac3"), 48_000, 6),
    "film.eac3": (("-c:a", "eac3"), 48_000, 2),
    "film.dts": (("-c:a", "dca", "-strict", "-2"), 48_000, 6),
    "film.thd": (("-c:a", "truehd", "-strict", "-2"), 48_000, 2),
    "exact.wv": (("-c:a", "wavpack"), 44_100, 2),
    "exact.tta": (("-c:a", "tta"), 44_100, 1),
    "apple.caf": (("-c:a", "ac3"), 44_100, 2),
    "speech.opus": (("-c:a", "libopus"), 48_000, 1),
    "speech.spx": (("-c:a", "libspeex", "-f", "ogg"), 16_000, 1),
    "web.flv": (("-c:a", "aac"), 44_100, 2),
    "old.rm": (("-c:a", "ac3"), 44_100, 2),
    "tv.mxf": (("-c:v", "mpeg2video", "-c:a", "pcm_s16le"), 48_000, 1),
    "wave.wav": (("-c:a", "adpcm_yamaha"), 44_100, 1),
}
LOSSY_AT_ENDS_S = 0.15


def make(path: Path, *options: str, rate: int = 44_100, channels: int = 1, before: tuple[str, ...] = ()) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", _TONE, *before]
    command += [*options, "-ar", str(rate), "-ac", str(channels), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    return path


def made(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        options, rate, channels = MADE[name]
        # An MXF has pictures.
        before = (*VIDEO, "-shortest") if name.endswith(".mxf") else ()
        make(path, *options, rate=rate, channels=channels, before=before)
    return path


def heard(path: Path, container: Container | None = None) -> tuple[np.ndarray, int]:
    """All of a file's samples, (frames, channels), and their rate; its end is looked at."""
    with path.open("rb", buffering=0) as raw:
        found = container or recognise(raw.read(HEAD_BYTES))
        assert found is not None, "it is not recognised"
        with Transcoded(raw, str(path), found, regular=True) as stream:
            return samples_of(stream), stream.rate


def samples_of(stream: Transcoded) -> np.ndarray:
    content = stream.read()
    assert content is not None and content.startswith(b"RIFF\xff\xff\xff\xff"), "a WAV of unknown length"
    start = content.index(b"data\xff\xff\xff\xff") + 8
    stream.finish()
    return np.frombuffer(content[start:], "<f4").reshape(-1, stream.channels)


def refusal_of(path: Path, container: Container | None = None) -> str:
    with pytest.raises(DataError) as caught:
        heard(path, container)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


def pour(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
