"""Secrets of every kind in one real run: none is in anything that leaves the process, but where it is to be sent to."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.edge_aac.audio.sources.network.servers import PASSWORD as CAMERA
from tests.edge_aac.audio.sources.network.servers import USER, RtspServer, free_port, require_parts
from tests.edge_aac.sinks.mqtt.brokers import Certificates, Mosquitto, Subscriber
from tests.edge_aac.sinks.web_server import WebServer, answer
from tests.system.command import run_edge_aac, started_edge_aac
from tests.waiting import eventually

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_LIMIT_S = 240.0
SECRETS = {
    "password at the broker": "Br0ker %41:/?#pass",
    "password at the broker that is refused": "Refused-Br0ker-pass",
    "token of the webhook": "W3bhook-T0ken-7f1c",
    "token in the webhook's address": "Path-T0ken-55aa",
    "signing key of the webhook": "S1gning-key-90210",
    "path of the webhook": "Literal-secret-path-31",
    "header of the webhook": "H3ader-of-hook-82",
    "password of the camera": CAMERA,
    "password of the camera in its address": "Addr3ss-camera-pass",
}


def forms(secret: str) -> set[bytes]:
    """A secret as it is, as addresses and JSON have it, and in base64 wherever it begins."""
    found = {
        secret.encode(),
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].encode(),
    }
    for before in range(3):
        text = base64.b64encode(b"x" * before + secret.encode()).rstrip(b"=")
        found.add(text[4 if before else 0 : -2])
    return found


def found_in(content: bytes, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if any(form in content for form in forms(secret))]


def test_what_is_looked_for_is_found() -> None:
    for secret in SECRETS.values():
        for content in (
            f"a {secret} b".encode(),
            f"//me:{quote(secret, safe='')}@".encode(),
            base64.b64encode(f"kitchen:{secret}".encode()),
            base64.b64encode(f"me:{secret}".encode()),
            json.dumps({"a": secret}).encode(),
        ):
            assert found_in(content, {"it": secret}) == ["it"], content
    assert found_in(b"nothing of it", SECRETS) == []


class House:
    """A broker with TLS, passwords and client certificates, a server for webhooks, and a camera."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificates = Certificates(folder / "certificates")
        certificates.signed("server")
        self.certificate, self.key = certificates.signed("device")
        self.ca = certificates.ca
        passwords = folder / "passwords"
        passwords.touch(0o600)
        words = ["mosquitto_passwd", "-b", str(passwords), "kitchen", SECRETS["password at the broker"]]
        subprocess.run(words, check=True, capture_output=True)
        self.plain = free_port()
        self.broker = Mosquitto(
            folder / "broker",
            *certificates.listener("server"),
            *("require_certificate true", f"password_file {passwords}"),
            f"listener {self.plain} 127.0.0.1",
            anonymous=False,
        ).start()
        self.web = WebServer(answer(401), answer(500))
        self.camera = RtspServer("digest")
        self.watcher = Subscriber(self.plain, login=("kitchen", SECRETS["password at the broker"]))

    def close(self) -> None:
        self.watcher.close()
        self.camera.kill()
        self.web.close()
        self.broker.stop()

    def secret_file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(f"{text}\n")
        return path

    def config(self) -> Path:
        login = self.secret_file("mqtt", f"kitchen:{SECRETS['password at the broker']}")
        key = self.secret_file("hook", SECRETS["signing key of the webhook"])
        camera = self.secret_file("camera", f"{USER}:{CAMERA}")
        program = self.folder / "program.py"
        program.write_text("import sys\nfor line in sys.stdin: print('taken', len(line), flush=True)\n")
        path = self.folder / "config.toml"
        path.write_text(
            f"""
[metrics]
listen = "127.0.0.1:{(port := free_port())}"

[health]
interval_s = 1

[[sources]]
address = "rtsp://127.0.0.1:{self.camera.port}/aac?credentials=file:{camera}"
name = "camera"
hop_s = 1

[[sources]]
address = "rtsp://me:{SECRETS["password of the camera in its address"]}@127.0.0.1:{self.camera.port}/aac"
name = "wrong"

[[sinks]]
kind = "jsonl"
path = "{self.folder}/heard.jsonl"

[[sinks]]
kind = "mqtt"
url = "mqtts://localhost:{self.broker.port}"
credentials = "file:{login}"
ca = "{self.ca}"
certificate = "{self.certificate}"
key = "{self.key}"
node = "kitchen"
commands = true
records = ["caption", "event", "health"]

[[sinks]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{self.plain}"
credentials = "env:BROKER_LOGIN"
client_id = "refused"
node = "refused"

[[sinks]]
kind = "webhook"
url = "{self.web.url("/" + SECRETS["path of the webhook"])}"
token = "env:HOOK"
secret = "file:{key}"
headers = {{X-Api = "{SECRETS["header of the webhook"]}"}}
records = ["caption"]

[[sinks]]
kind = "webhook"
url = "{self.web.url("/bot{token}/send")}"
token = "env:BOT"
records = ["caption"]

[[sinks]]
kind = "exec"
command = ["{sys.executable}", "{program}"]
"""
        )
        self.metrics = port
        return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    require_parts("gstreamer", "ffmpeg", "mosquitto", "openssl")
    made = House(tmp_path)
    yield made
    made.close()


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found |= {child, *descendants(child)}
    return found


def content(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def fetched(port: int, name: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=_LIMIT_S) as reply:
        whole: bytes = reply.read()
        return whole


def shown_afterwards(config: Path, archive: Path, env: dict[str, str]) -> dict[str, bytes]:
    """What ``config --show`` and ``support-dump`` tell of a configuration."""
    shown = run_edge_aac("config", "--show", "--config", config, env=env)
    dumped = run_edge_aac("support-dump", "--config", config, "--output", archive, env=env)
    assert (shown.returncode, dumped.returncode) == (0, 0), shown.stderr + dumped.stderr
    packed = (dumped.stdout + dumped.stderr).encode()
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            file = files.extractfile(member)
            assert file is not None
            packed += file.read()
    return {"config --show": (shown.stdout + shown.stderr).encode(), "support-dump": packed}


def test_no_secret_is_told(house: House, tmp_path: Path) -> None:
    key_lines = [line for line in house.key.read_text().splitlines() if not line.startswith("-")]
    secrets = {**SECRETS, "key of the client": key_lines[0][:40]}
    config, state = house.config(), tmp_path / "state"
    env = {
        "BROKER_LOGIN": f"kitchen:{SECRETS['password at the broker that is refused']}",
        "HOOK": SECRETS["token of the webhook"],
        "BOT": SECRETS["token in the webhook's address"],
        "XDG_STATE_HOME": str(state),
    }
    places: dict[str, bytes] = {}
    words = ("--debug", "stream", "--config", str(config), "--every-window", "--threads", "1")
    with started_edge_aac(*words, env=env) as process:
        assert process.stderr is not None
        stderr = process.stderr
        logged: list[bytes] = []
        reader = threading.Thread(target=lambda: logged.extend(iter(stderr.readline, b"")), daemon=True)
        reader.start()
        timer = threading.Timer(_LIMIT_S, process.kill)
        timer.start()
        watcher, base = house.watcher, "edge-aac/kitchen"
        for topic in (f"{base}/camera/caption", f"{base}/camera/health", f"{base}/wrong/health"):
            eventually_long(lambda topic=topic: bool(watcher.of(topic)), topic, process)  # type: ignore[misc]
        watcher.publish(f"{base}/camera/set/hop", b"bad")
        watcher.await_messages(f"{base}/camera/error")
        eventually_long(lambda: len(house.web.requests) >= 4, "webhooks", process)
        children = descendants(process.pid)
        names = b"".join(content(f"/proc/{child}/comm") for child in children)
        assert b"ffmpeg" in names and b"python" in names, "the camera's and the program's"
        places["arguments"] = b"".join(content(f"/proc/{each}/cmdline") for each in {process.pid, *children})
        places["environments"] = b"".join(content(f"/proc/{child}/environ") for child in children)
        places["metrics"], places["health endpoint"] = (fetched(house.metrics, each) for each in ("metrics", "health"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(_LIMIT_S) == 0, b"".join(logged).decode()
        timer.cancel()
        reader.join(_LIMIT_S)
    places["log"] = b"".join(logged)
    late = Subscriber(house.plain, client="late", login=("kitchen", SECRETS["password at the broker"]))
    eventually(lambda: any(message.topic == f"{base}/status" for message in late.messages), "what is retained")
    late.close()
    messages = [*house.watcher.messages, *late.messages]
    places["topics"] = b"".join(message.topic.encode() + b" " + message.payload + b"\n" for message in messages)
    places["records"] = (tmp_path / "heard.jsonl").read_bytes()
    # What waits for the broker and the webhooks: records and topics, as they will be sent; the server refused some.
    stored = [path for path in state.rglob("*") if path.is_file()]
    assert [path for path in stored if path.suffix == ".sqlite"]
    places["state, with the spools"] = b"".join(str(path).encode() + path.read_bytes() for path in stored)
    places |= shown_afterwards(config, tmp_path / "dump.tar.gz", env)
    # They were used, and what is looked through holds what it should.
    request = next(each for each in house.web.requests if "Literal" in each.path)
    assert request.headers["authorization"] == f"Bearer {SECRETS['token of the webhook']}"
    assert request.headers["x-api"] == SECRETS["header of the webhook"] and "webhook-signature" in request.headers
    assert any(SECRETS["token in the webhook's address"] in each.path for each in house.web.requests)
    assert b"refuses user and password" in places["log"] and b"a command is refused" in places["log"]
    assert b"homeassistant/device/" in places["topics"] and b"edge_aac" in places["metrics"]
    for place in places.values():
        assert place
    told = {place: found for place, text in places.items() if (found := found_in(text, secrets))}
    assert told == {}
    assert os.stat(next(path for path in stored if path.suffix == ".sqlite")).st_mode & 0o077 == 0


def eventually_long(condition: object, what: str, process: subprocess.Popen[bytes]) -> None:
    """Waits for something that a machine with other work may take long for."""
    give_up = threading.Event()
    timer = threading.Timer(_LIMIT_S, give_up.set)
    timer.start()
    try:
        while not condition():  # type: ignore[operator]
            assert process.poll() is None and not give_up.wait(0.1), what
    finally:
        timer.cancel()
