"""Addresses of sources: schemes, options, and what a user is told about a wrong one."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac import plugins
from edge_aac.audio.sources import address as source
from edge_aac.audio.sources.address import (
    Address,
    SourceContext,
    integer_option,
    number_option,
    open_source,
    split_query,
)
from edge_aac.errors import ConfigError, DeviceError, UsageError

_POINTS = {
    "file": "edge_aac.audio.sources.file:open_file",
    "stdin": "edge_aac.audio.sources.stdin:open_stdin",
    "mic": "edge_aac.audio.sources.microphone:open_microphone",
    "demo": "edge_aac.audio.sources.demo:open_demo",
    "broken": "edge_aac.audio.sources.demo:no_such_factory",
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[EntryPoint]:
        assert group == source.ENTRY_POINT_GROUP
        return [EntryPoint(name, value, group) for name, value in _POINTS.items()]

    monkeypatch.setattr(plugins, "entry_points", points)


def test_file_and_demo_open(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1600), 16_000)
    opened = open_source(f"file:{path}")
    assert opened.label == str(path)
    opened.close()
    demo = open_source("demo:?seconds=1")
    assert demo.label == "demo"
    demo.close()


@pytest.mark.parametrize("uri", ["mic0", "mic12", "alsa:hw:1,0", "usb-id:0d8c:0014"])
def test_all_names_of_microphones_reach_one_factory(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, SourceContext]] = []
    monkeypatch.setattr(
        "edge_aac.audio.sources.microphone.open_microphone",
        lambda address, context: opened.append((address.uri, context)),
    )
    context = SourceContext(name="kitchen", wait_for_device=True)
    open_source(uri, context)
    open_source(uri)
    assert opened == [(uri, context), (uri, SourceContext())]


@pytest.mark.parametrize("uri", ["", "mic", "micro", "nonsense", "/no/such/file", "demo", "a\0b"])
def test_unknown_source_names_what_exists(uri: str) -> None:
    with pytest.raises(DeviceError, match="edge-aac devices") as caught:
        open_source(uri)
    assert "mic0" in str(caught.value)
    assert "file:" in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("hw:1,0", "use 'alsa:hw:1,0'"),
        ("hw:CARD=PCH,DEV=0", "use 'alsa:hw:CARD=PCH,DEV=0'"),
        ("plughw:1,0", "use 'alsa:plughw:1,0'"),
        ("default", "use 'alsa:default'"),
        ("sysdefault:CARD=1", "use 'alsa:sysdefault:CARD=1'"),
        ("pulse", "use 'alsa:pulse'"),
        ("stdin", "named 'stdin:'"),
        ("-", "named 'stdin:'"),
        ("/dev/stdin", "named 'stdin:'"),
        ("pipe:0", "named 'stdin:'"),
        ("rtmp://camera/1", "`ffmpeg -i rtmp://camera/1 -f s16le -ac 1 -ar 16000 -`"),
        ("srt://radio:8000?mode=caller", "`ffmpeg -i srt://radio:8000 "),
    ],
)
def test_names_of_other_programs_get_a_hint(uri: str, form: str) -> None:
    with pytest.raises(DeviceError, match="There is no source") as caught:
        open_source(uri)
    assert form in str(caught.value)


def test_a_hint_holds_no_password() -> None:
    with pytest.raises(DeviceError) as caught:
        open_source("rtmp://me:secret@camera/1?token=secret")
    assert "rtmp://camera/1 " in str(caught.value) and "secret" not in str(caught.value)


def test_a_bare_path_gets_its_scheme(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.touch()
    with pytest.raises(DeviceError, match=f"file:{path}"):
        open_source(str(path))


def test_broken_package_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no_such_factory"):
        open_source("broken:x")


def test_nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    with pytest.raises(DeviceError, match="install edge-aac"):
        open_source("mic0")


def test_split_query() -> None:
    assert split_query("a.wav", ("speed",)) == ("a.wav", {})
    assert split_query("a?b.wav?speed=1", ("speed",)) == ("a?b.wav", {"speed": "1"})
    assert split_query("?rate=8000&channels=2", ("rate", "channels")) == ("", {"rate": "8000", "channels": "2"})
    assert split_query("?", ("rate",)) == ("", {})


@pytest.mark.parametrize(
    ("uri", "scheme", "label"),
    [
        ("mic0", "mic", "mic0"),
        ("alsa:hw:1,0", "mic", "alsa:hw:1,0"),
        ("usb-id:0d8c:0014@1-1.2#1", "mic", "usb-id:0d8c:0014@1-1.2#1"),
        ("file:garden.flac", "file", "garden.flac"),
        ("file:a@b/garden.flac?speed=1", "file", "a@b/garden.flac"),
        ("file:what?.wav", "file", "what?.wav"),
        ("demo:?seed=3", "demo", "demo"),
        ("STDIN:", "stdin", "STDIN"),
        ("serial:/dev/ttyACM0?rate=8000", "serial", "serial:/dev/ttyACM0"),
        ("udp://0.0.0.0:5005", "udp", "udp://0.0.0.0:5005"),
        ("rtsp://camera:554/street", "rtsp", "rtsp://camera:554/street"),
        ("http://host/a%40b.mp3", "http", "http://host/a%40b.mp3"),
        ("nonsense", "", "nonsense"),
        ("", "", ""),
    ],
)
def test_labels(uri: str, scheme: str, label: str) -> None:
    address = Address.parse(uri)
    assert (address.uri, address.scheme, address.label) == (uri, scheme, label)
    assert SourceContext().label(address) == label
    assert SourceContext(name="garden").label(address) == "garden"


_SECRETIVE = [
    "rtsp://admin:hunter2@camera/x",
    "rtsp://admin:hunter2@camera:554/x?channel=1&token=hunter2#hunter2",
    "RTSP://admin:p@hunter2@camera/x",
    "rtsp://admin:p/hunter2@camera/x",
    "rtsp://admin:p?hunter2@camera/x",
    "rtsp://admin:p#hunter2@camera/x",
    "rtsp://admin:hunter2%40camera/x",
    "rtsp%3A//admin:hunter2%40camera/x",
    "rtsp%3a%2f%2fadmin:hunter2%40camera/x",
    "rtsp://admin:hunter%32hunter2@camera/x%3Ftoken=hunter2",
    "rtsp:/admin:hunter2@camera/x",
    "rtsp//admin:hunter2@camera/x",
    "admin:hunter2@camera/x",
    "//admin:hunter2@camera/x",
    "https://camera/x?hunter2",
    "mic://admin:hunter2@camera/x",
    "alsa://admin:hunter2@camera/x",
]


@pytest.mark.parametrize("uri", _SECRETIVE)
def test_nothing_shows_a_secret(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address.parse(uri)
    assert address.label.endswith(("camera/x", "camera:554/x"))
    assert "hunter2" not in f"{address.label} {address} {address!r}"
    monkeypatch.delitem(_POINTS, "mic")
    with pytest.raises(DeviceError) as caught:
        open_source(uri)
    assert "hunter2" not in str(caught.value)
    assert address.label in str(caught.value)


@pytest.mark.parametrize("query", ["?hunter2", "?token=hunter2", "?speed=1&hunter2=1", "?speed=1&speed=hunter2"])
def test_a_wrong_option_shows_no_value(query: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_query(f"//camera/x{query}", ("speed",))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("query", ["?sped=1", "?speed", "?speed=", "?speed=1&speed=2"])
def test_wrong_query(query: str) -> None:
    with pytest.raises(UsageError):
        split_query(f"a.wav{query}", ("speed",))


@pytest.mark.parametrize("text", ["0", "65", "-1", "1.5", "x", "", "9" * 30, "１"])
def test_integer_option_out_of_bounds(text: str) -> None:
    with pytest.raises(UsageError):
        integer_option({"n": text}, "n", 1, 1, 64)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", ""])
def test_number_option_out_of_bounds(text: str) -> None:
    with pytest.raises(UsageError):
        number_option({"n": text}, "n", 1.0, 0.0, 10.0)


def test_options_have_defaults() -> None:
    assert integer_option({}, "n", 7, 1, 64) == 7
    assert number_option({}, "n", 0.0, 1.0, 2.0) == 0.0
    assert integer_option({"n": "64"}, "n", 7, 1, 64) == 64
    assert number_option({"n": "2"}, "n", 0.0, 1.0, 2.0) == 2.0
