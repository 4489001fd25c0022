"""ffmpeg opens nothing but its input, and whatever becomes of it is told in one sentence."""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_aac.audio.formats import ffmpeg
from edge_aac.audio.formats.ffmpeg import Transcoded
from edge_aac.audio.formats.recognition import Container, recognise
from edge_aac.audio.formats.relay import Relay
from edge_aac.errors import DataError
from tests.edge_aac.audio.formats.made_files import (
    LOSSY_AT_ENDS_S,
    MP4,
    SECONDS,
    heard,
    made,
    pour,
    refusal_of,
    samples_of,
)
from tests.edge_aac.audio.sound_files import needs_ffmpeg
from tests.waiting import PATIENCE_S, ended, until

pytestmark = [needs_ffmpeg, pytest.mark.one_python]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.mark.parametrize("name", ["-i.m4a", "concat:a|b.m4a", "http:x.m4a", "a b\n'\"$(id).m4a", "%d.m4a", "pipe:0"])
def test_names_are_harmless(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(made(folder, "early_index.m4a").read_bytes())
    samples, _ = heard(Path(name))
    assert len(samples) > 100_000


@pytest.fixture
def listener() -> socket.socket:
    """A server that nobody should talk to."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0)
    return server


def test_nothing_else_is_opened(tmp_path: Path, listener: socket.socket, folder: Path) -> None:
    port = listener.getsockname()[1]
    secret = made(folder, "early_index.m4a")
    scripts = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
        "local.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile {secret}\nfile http://127.0.0.1:{port}/a.wav\n",
        "call.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    }
    for name, text in scripts.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert recognise(path.read_bytes()) is None
        for demuxer in ("mov", "matroska", "mpegts", "aac"):
            refusal_of(path, Container("it", demuxer, "it"))
    with pytest.raises(BlockingIOError):
        listener.accept()


def _boxes(content: bytes, within: tuple[bytes, ...], replace: dict[bytes, bytes]) -> bytes:
    """An MP4's boxes with some replaced, and the sizes of those around them made right."""
    made, position = b"", 0
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        body = content[position + 8 : position + size]
        if kind in within:
            body = _boxes(body, within, replace)
        body = replace.get(kind, body)
        made += struct.pack(">I4s", len(body) + 8, kind) + body
        position += size
    return made


def test_sound_in_another_file_is_not_fetched(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mov"
    other.write_bytes(made(folder, "camera.mov").read_bytes())
    # An alias record (QuickTime file format, "data reference atom") that names the file beside this one.
    name = other.name.encode()
    alias = bytes(10) + struct.pack(">H", 0) + bytes(38) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(36)
    path_record = str(other).encode()
    alias += struct.pack(">HH", 2, len(path_record)) + path_record + b"\0" * (len(path_record) % 2)
    alias += struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    within = (b"moov", b"trak", b"mdia", b"minf", b"dinf")
    content = _boxes(other.read_bytes(), within, {b"dref": struct.pack(">II", 0, 1) + entry, b"mdat": b""})
    path = tmp_path / "alias.mov"
    path.write_bytes(content)
    refusal_of(path)


def test_ffmpeg_is_named_where_it_is_missing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(folder, "early_index.m4a")
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refusal_of(path)
    assert "an M4A file" in message and "not installed" in message and "apt install ffmpeg" in message


def test_an_index_behind_the_sound_of_a_pipe(folder: Path) -> None:
    content = made(folder, "camera.mov").read_bytes()
    reader, writer = os.pipe()
    feeding = threading.Thread(target=pour, args=(writer, content))
    feeding.start()
    try:
        with (
            pytest.raises(DataError, match=r"give it as a file.*Matroska"),
            Transcoded(reader, "phone", MP4, regular=False) as stream,
        ):
            stream.finish()
    finally:
        os.close(reader)
        ended(feeding)


@pytest.fixture(autouse=True)
def _nothing_of_other_tests() -> None:
    # What another test of this process left is not to be closed while one counts descriptors.
    gc.collect()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_nothing_is_left_behind(folder: Path) -> None:
    path = made(folder, "early_index.m4a")
    heard(path)
    before, threads = descriptors(), set(threading.enumerate())
    for _ in range(3):
        heard(path)
        with path.open("rb", buffering=0) as raw:
            stream = Transcoded(raw, str(path), MP4, regular=True)
            stream.read(5000)
            stream.close()
            stream.close()
    assert descriptors() <= before and not set(threading.enumerate()) - threads
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_told_once_that_ffmpeg_is_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    ffmpeg._tell_once.cache_clear()
    with caplog.at_level(logging.INFO):
        heard(made(folder, "early_index.m4a"))
        heard(made(folder, "phone.aac"))
    assert sum("is decoded by" in record.getMessage() for record in caplog.records) == 1


# Programs in the place of ffmpeg: a WAV of a second, and then what goes wrong.
_WAV = (
    b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8_000, 32_000, 4, 32) + b"data\xff\xff\xff\xff"
) + bytes(32_000)


@pytest.fixture
def program(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("early_index.m4a", "phone.aac", "exact.tta"):
        made(folder, name)  # by the real one
    place = tmp_path / "bin"
    place.mkdir()
    (place / "sound.wav").write_bytes(_WAV)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
    return place / "ffmpeg"


def _write(program: Path, *lines: str) -> None:
    program.write_text("\n".join(("#!/bin/sh", f"wav={program.parent}/sound.wav", *lines, "")), encoding="utf-8")
    program.chmod(0o755)


@pytest.fixture
def relays(monkeypatch: pytest.MonkeyPatch) -> list[Relay]:
    """What carries to and from ffmpeg, from one start to the next: its limits are changed while it runs.

    A program that has not begun, since a machine under load has no time for it, is none that hangs.
    """
    made: list[Relay] = []

    def noted(*given: Any, **named: Any) -> Relay:
        made.append(Relay(*given, **named))
        return made[-1]

    monkeypatch.setattr(ffmpeg, "Relay", noted)
    return made


def _limit(relay: Relay, seconds: float) -> None:
    relay._idle_limit_s = relay._silent_limit_s = seconds


def test_a_program_that_hangs(
    folder: Path, tmp_path: Path, program: Path, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(folder, "early_index.m4a")
    begun = tmp_path / "begun"
    _write(program, "cat $wav", f"touch {begun}", "sleep 1000")

    def hurry() -> None:
        until(begun.exists)
        _limit(relays[0], 0.5)

    threading.Thread(target=hurry, daemon=True).start()
    assert "without progress, 1.00 s into" in refusal_of(path)
    monkeypatch.setattr(ffmpeg, "IDLE_LIMIT_S", 0.5)
    _write(program, "sleep 1000 & sleep 1000")
    assert "without progress, 0.00 s into" in refusal_of(path)
    _write(program, "trap '' TERM INT HUP", "exec sleep 1000 1>&- 2>&-")
    assert str(path) in refusal_of(path)


def test_a_program_that_reads_for_ever(folder: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(folder, "early_index.m4a")
    monkeypatch.setattr(ffmpeg, "SILENT_LIMIT_S", 1.5)
    _write(program, "while cat $wav > /dev/null; do :; done")
    assert "without progress" in refusal_of(path)


def test_a_slow_reader_is_no_hanging_program(folder: Path, relays: list[Relay]) -> None:
    path = made(folder, "camera.mov")
    with path.open("rb", buffering=0) as raw, Transcoded(raw, str(path), MP4, regular=True) as stream:
        (relay,) = relays
        until(lambda: relay._unread)  # the pipe to the reader is full
        _limit(relay, 0.2)
        threading.Event().wait(1.0)
        _limit(relay, PATIENCE_S)
        samples = samples_of(stream)
    assert len(samples) == 4 * 48_000


def test_a_writer_that_pauses_is_no_hanging_program(folder: Path, relays: list[Relay]) -> None:
    content = made(folder, "browser.webm").read_bytes()
    reader, writer = os.pipe()

    def write() -> None:
        os.write(writer, content[:2000])
        until(lambda: relays and relays[0].received_bytes == 2000 and not relays[0]._unsent)
        _limit(relays[0], 0.2)
        threading.Event().wait(1.0)
        _limit(relays[0], PATIENCE_S)
        pour(writer, content[2000:])

    feeding = threading.Thread(target=write)
    feeding.start()
    found = recognise(content)
    assert found is not None
    try:
        with Transcoded(reader, "pipe", found, regular=False) as stream:
            samples = samples_of(stream)
            assert len(samples) / stream.rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    finally:
        os.close(reader)
        ended(feeding)


def test_a_program_that_floods_its_standard_error(folder: Path, program: Path) -> None:
    flood = "head -c 30000000 /dev/zero | tr '\\0' 'x' >&2"
    _write(program, flood, "cat $wav", flood, "printf '\\n[error] \\033[31mof many\\a\\n' >&2", flood, "exit 0")
    samples, rate = heard(made(folder, "phone.aac"), Container("AAC", "aac", "aac", announces=False))
    assert (len(samples), rate) == (8_000, 8_000)


def test_a_program_that_fails(folder: Path, program: Path) -> None:
    path = made(folder, "early_index.m4a")
    _write(program, "cat $wav", "printf '[error] \\033[31mBell\\a rings\\n[error] more\\n' >&2", "exit 3")
    assert "heard only to 1.00 s, where ffmpeg failed (?[31mBell? rings)" in refusal_of(path)
    _write(program, "cat $wav", "kill -SEGV $$")
    assert "heard only to 1.00 s, where ffmpeg was ended by signal 11" in refusal_of(path)
    _write(program, "exit 0")
    assert "without any sound" in refusal_of(path)
    _write(program, "cat $0")
    assert "without any sound" in refusal_of(path)
    program.write_bytes(b"\x7fELF no program")
    assert "does not start" in refusal_of(path)


def test_a_missing_second_of_a_program_that_says_it_is_done(folder: Path, program: Path) -> None:
    _write(program, "printf '[info]   Duration: 00:00:05.00\\n[info]   Stream #0:0: Audio: tta\\n' >&2", "cat $wav")
    assert "holds 1.00 s of the 5.00 s" in refusal_of(made(folder, "exact.tta"))


def test_a_child_that_a_wrapper_leaves_behind_is_ended(folder: Path, tmp_path: Path, program: Path) -> None:
    number = tmp_path / "child"
    _write(program, f"sleep 1000 & echo $! > {number}", "cat $wav", "exit 0")
    samples, _ = heard(made(folder, "phone.aac"), Container("AAC", "aac", "aac", announces=False))
    assert len(samples) == 8_000
    stat = Path(f"/proc/{number.read_text().strip()}/stat")

    def gone() -> bool:
        try:
            return stat.read_text().split()[2] == "Z"
        except OSError:
            return True

    until(gone, lambda: "it lives on")


@pytest.mark.parametrize("spare", range(14))
def test_few_descriptors(folder: Path, spare: int) -> None:
    path = made(folder, "phone.aac")
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    with path.open("rb", buffering=0) as raw:
        found = Container("AAC", "aac", "aac", announces=False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1, hard))
        for _ in range(spare):
            os.close(held.pop())
        try:
            with Transcoded(raw, str(path), found, regular=True) as stream:
                stream.read()
                stream.finish()
        except DataError as error:
            assert "ffmpeg" in str(error) and "descriptors" in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in held:
                os.close(descriptor)
    assert descriptors() <= before
