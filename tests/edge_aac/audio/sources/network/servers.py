"""Real servers for the tests of network sources, a wire that fails on demand, and an eye on the processes of ffmpeg."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.reconnect import Reconnecting
from tests.waiting import ended, eventually, until

_RTSP_PROGRAM = Path(__file__).with_name("rtsp_server.py")
_SYSTEM_PYTHON = "/usr/bin/python3"
USER, PASSWORD = "nightwatch", "hunter2 @:/?#%41"


def require_parts(*programs: str) -> None:
    """Skips where a program is missing; fails with EDGE_AAC_REQUIRE_REAL_PARTS=1."""
    missing = [program for program in programs if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if "gstreamer" in programs:
        missing.remove("gstreamer")
        script = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
        if subprocess.run([_SYSTEM_PYTHON, "-c", script], capture_output=True, check=False).returncode != 0:
            missing.append("GStreamer's RTSP server (apt install gir1.2-gst-rtsp-server-1.0 python3-gi …)")
    if not missing:
        return
    if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
        pytest.fail(f"real servers are required here, but these are missing: {', '.join(missing)}")
    pytest.skip(f"not installed: {', '.join(missing)}")


def free_port() -> int:
    """Gives a port that was free a moment ago, for a server that is restarted and needs the same again.

    None of those that the kernel gives to clients: a client that tries again and again where nobody listens would
    be given the very port in the end, and be connected with itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class RtspServer:
    """GStreamer's RTSP server in a process of its own; see ``rtsp_server.py``."""

    def __init__(self, method: str = "", certificate: Path | str = "") -> None:
        self.port = free_port()
        self._words = [method, str(certificate)]
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [_SYSTEM_PYTHON, str(_RTSP_PROGRAM), str(self.port), *self._words]
        env = {**os.environ, "RTSP_PASSWORD": PASSWORD}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == str(self.port)

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        assert self.process is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()


class IcecastServer:
    """Icecast with a mount ``/live``, to which an ffmpeg sends a tone of 440 Hz; ``/private`` needs a login."""

    def __init__(self, encoding: tuple[str, ...], content_type: str, mount: str = "live") -> None:
        self.port = free_port()
        self._encoding, self._content_type, self.mount = encoding, content_type, mount
        # Not pytest's own folder, which Icecast cannot write to: started by root, it becomes another user.
        self._folder = Path(tempfile.mkdtemp(prefix="icecast-"))
        self._folder.chmod(0o777)
        self.start()

    def start(self) -> None:
        config = self._folder / "icecast.xml"
        config.write_text(self._config())
        self.server = self._served()
        eventually(self._listens, "Icecast does not listen")
        target = f"icecast://source:of-the-test@127.0.0.1:{self.port}/{self.mount}"
        tone = "sine=frequency=440:sample_rate=48000,aformat=channel_layouts=stereo"
        command = ["ffmpeg", "-v", "quiet", "-re", "-f", "lavfi", "-i", tone, *self._encoding, "-flush_packets", "1"]
        self._command = [*command, "-content_type", self._content_type, target]
        self.feeder = self._fed()
        eventually(self._has_sound, "Icecast has no sound")

    def _served(self) -> subprocess.Popen[bytes]:
        program = shutil.which("icecast2", path=f"{os.environ['PATH']}:/usr/sbin") or "icecast2"
        command = [program, "-c", str(self._folder / "icecast.xml")]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _fed(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _has_sound(self) -> bool:
        """Whether the mount is there; the feeder, which tries only once, is started again where it has ended."""
        if not self._listens():
            return False
        if self.feeder.poll() is not None:
            self.feeder = self._fed()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"GET /{self.mount} HTTP/1.0\r\n\r\n".encode("ascii"))
            return b" 200 " in connection.recv(64)
        return False

    def kill(self) -> None:
        for process in (self.feeder, self.server):
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listens(self) -> bool:
        """Whether it can be connected to; where it has ended, for its port was not free yet, it is started again."""
        if self.server.poll() is not None:
            self.server = self._served()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _config(self) -> str:
        owner = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>" if os.geteuid() == 0 else ""
        return f"""<icecast>
          <limits><sources>4</sources><burst-size>8192</burst-size></limits>
          <authentication><source-password>of-the-test</source-password><admin-user>admin</admin-user>
            <admin-password>of-the-test</admin-password></authentication>
          <hostname>localhost</hostname>
          <listen-socket><port>{self.port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
          <paths><basedir>{self._folder}</basedir><logdir>{self._folder}</logdir><webroot>{self._folder}</webroot>
            <adminroot>{self._folder}</adminroot></paths>
          <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>
          <security><chroot>0</chroot>{owner}</security>
        </icecast>"""


class Proxy:
    """A wire to a server that can be cut, and held: connections stay open, and nothing passes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.passes = threading.Event()
        self.passes.set()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections in the middle."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.passes.set()
        self.cut()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.passes.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def ffmpegs_of(pid: int, known: Collection[int] = ()) -> dict[int, bytes]:
    """Gives the processes of ffmpeg that listen to a network for a process, with what anybody can read of them.

    Args:
        pid: the process that started them.
        known: those that were seen before: they are found, too, where they have ended and were not waited for.
    """
    found: dict[int, bytes] = {}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                command = _content(child, "cmdline")
                # A server of the test may be an ffmpeg, too.
                if child in known or b"\0-protocol_whitelist\0" in command:
                    found[child] = command
    return found


def _content(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


class FfmpegWatch:
    """Looks all the time at how many processes of ffmpeg one process has, and at what others can read of them."""

    def __init__(self, pid: int | None = None) -> None:
        self.highest = 0
        self.seen: set[int] = set()
        self.readable = b""
        self._pid = os.getpid() if pid is None else pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> FfmpegWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            # Two looks, for an old one may end, and a new one begin, while /proc is read.
            before, found = ffmpegs_of(self._pid, self.seen), ffmpegs_of(self._pid, self.seen)
            self.highest = max(self.highest, len(before.keys() & found.keys()))
            for pid in found.keys() - self.seen:
                self.readable += found[pid] + _content(pid, "environ")
            self.seen |= found.keys()


class Listener:
    """Reads a source in a thread of its own, as the service does, and remembers what it heard."""

    def __init__(self, source: Reconnecting) -> None:
        self.source = source
        self.blocks: list[np.ndarray] = []
        self.error: BaseException | None = None
        self.first_s: float | None = None
        self.last_s = 0.0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def heard_s(self) -> float:
        return sum(map(len, self.blocks)) / 16_000

    def hear(self, seconds: float) -> None:
        """Waits until so much more was heard."""
        until_s = self.heard_s + seconds
        eventually(lambda: self.heard_s >= until_s or self.error is not None, f"no sound, {self.source.state}")
        assert self.error is None

    def close(self) -> None:
        self.source.close()
        ended(self._thread)

    def assert_all_time_is_accounted_for(self, tolerance_s: float) -> None:
        """What was heard and what was counted as lost add up to the time since the first sound.

        On a machine under load, what is on its way may be more than the tolerance for a while.
        """

        def missing_s() -> float:
            assert self.first_s is not None
            return self.last_s - self.first_s - self.source.lost_samples() / 16_000 - self.heard_s

        until(lambda: abs(missing_s()) <= tolerance_s, lambda: f"{missing_s():.2f} s are not accounted for")

    def assert_tone(self) -> None:
        """The last second is the servers' tone of 440 Hz."""
        sound = np.concatenate(self.blocks)[-16_000:]
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        assert np.argmax(power) * 16_000 / len(sound) == pytest.approx(440, abs=3)
        assert 10 * np.log10(np.mean(sound**2)) > -30

    def _read(self) -> None:
        try:
            while (block := self.source.read()) is not None:
                self.last_s = time.monotonic()
                if self.first_s is None:
                    self.first_s = self.last_s - len(block) / 16_000
                self.blocks.append(block)
        except BaseException as error:
            self.error = error


@pytest.fixture
def listeners() -> Iterator[Callable[[Reconnecting], Listener]]:
    """Starts listeners, and closes them."""
    started: list[Listener] = []

    def start(source: Reconnecting) -> Listener:
        started.append(Listener(source))
        return started[-1]

    yield start
    for listener in started:
        listener.close()


@pytest.fixture
def ffmpeg_watch() -> Iterator[FfmpegWatch]:
    """Watches the processes of ffmpeg of this process."""
    with FfmpegWatch() as watch:
        yield watch
