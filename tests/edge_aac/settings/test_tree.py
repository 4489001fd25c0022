"""Settings: what wins over what, and what is refused with which code."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.errors import ConfigError, EdgeAacError, InputMissingError
from edge_aac.models.settings import CaptionerSettings
from edge_aac.settings.layers import Layer, Origin
from edge_aac.settings.tree import Settings, faults_of, load_settings
from edge_aac.streaming.settings import HealthSettings, SinkSettings, SourceSettings, StreamSettings, configured_sources


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _given(**sections: dict[str, Any]) -> Layer:
    origins = {(section, name): Origin("flag", f"--{name}") for section, values in sections.items() for name in values}
    return Layer(sections, origins)


def _refused(config: Path | None, kind: type[EdgeAacError], **given: dict[str, Any]) -> str:
    with pytest.raises(kind) as caught:
        load_settings(config, _given(**given))
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def _origins(settings: Settings, section: str) -> dict[str, str]:
    model = settings.values[section]
    assert not isinstance(model, tuple)
    own = settings.sections[section].settings
    return {
        name: str(settings.origin((section, name), setting, given=name in model.model_fields_set))
        for name, setting in own.items()
    }


def test_defaults() -> None:
    settings = load_settings()
    captioner, stream = settings.get(CaptionerSettings), settings.get(StreamSettings)
    assert (captioner.bundle, captioner.seed, captioner.candidates) == (DEFAULT_BUNDLE, 0, None)
    assert (stream.device, stream.hop_s, stream.silence_dbfs) == ("mic0", 2.0, -70.0)
    assert stream.node == socket.gethostname()
    assert settings.get(HealthSettings).interval_s == 60.0
    assert settings.tables(SourceSettings) == () == settings.chosen(SinkSettings)


def test_a_section_that_is_not_registered() -> None:
    settings = load_settings()
    for read in (settings.get, settings.tables, settings.chosen):
        with pytest.raises(KeyError, match="Layer"):
            read(type("Layer", (HealthSettings,), {}))


def test_file_over_default_and_given_over_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[stream]\nhop_s = 3.0\nnode = 'attic'\n[captioner]\nseed = 4\n")
    settings = load_settings(path, _given(stream={"hop_s": 5.0}), Layer({"captioner": {"threads": 3, "seed": 9}}))
    stream, captioner = settings.get(StreamSettings), settings.get(CaptionerSettings)
    assert (stream.hop_s, stream.node, captioner.seed, captioner.threads) == (5.0, "attic", 4, 3)
    # A zero is a value.
    assert load_settings(path, _given(captioner={"seed": 0})).get(CaptionerSettings).seed == 0


def test_where_each_value_comes_from(tmp_path: Path) -> None:
    path = _file(tmp_path, "\n[stream]\nhop_s = 3.0\nnode = 'attic'\n")
    settings = load_settings(path, _given(stream={"hop_s": 5.0}))
    origins = _origins(settings, "stream")
    assert origins["hop_s"] == "--hop_s"
    assert origins["node"] == f"{path}:4"
    assert origins["device"] == "default"
    assert _origins(settings, "captioner")["candidates"] == "default: the bundle's own"


def test_the_default_file(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "edge-aac"
    folder.mkdir(parents=True)
    _file(folder, "[stream]\ndevice = 'stdin:'\n")
    assert load_settings().get(StreamSettings).device == "stdin:"
    # A file that is named stands alone.
    assert load_settings(_file(tmp_path, "")).get(StreamSettings).device == "mic0"


def test_a_user_without_a_home_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    before = load_settings()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert load_settings().values == before.values


def test_the_users_file_overrules_the_machines_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, user = (tmp_path / name for name in ("etc.toml", "user.toml"))
    machine.write_text(
        "[stream]\nhop_s = 3.0\nnode = 'attic'\n[captioner]\nseed = 4\n"
        "[[sources]]\naddress = 'mic0'\n[[sources]]\naddress = 'mic1'\n",
        encoding="utf-8",
    )
    user.write_text("[stream]\nnode = 'cellar'\n[[sources]]\naddress = 'mic2'\n", encoding="utf-8")
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [machine, user])
    settings = load_settings()
    stream = settings.get(StreamSettings)
    assert (stream.hop_s, stream.node, settings.get(CaptionerSettings).seed) == (3.0, "cellar", 4)
    origins = _origins(settings, "stream")
    assert (origins["hop_s"], origins["node"]) == (f"{machine}:2", f"{user}:2")
    # An array of tables is overruled as a whole.
    assert [source.address for source in settings.tables(SourceSettings)] == ["mic2"]
    assert str(settings.origins["sources", 0]) == f"{user}:3" and ("sources", 1) not in settings.origins
    machine.write_text("[stream]\nhop_s = -1\n", encoding="utf-8")
    assert f"{machine}:2" in _refused(None, ConfigError)


def test_sources_have_what_the_stream_has_where_they_have_nothing_of_their_own(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "[stream]\nhop_s = 3.0\nsilence_dbfs = -50\n"
        "[[sources]]\naddress = 'mic0'\nname = 'garden'\nhop_s = 1.0\n"
        "[[sources]]\naddress = 'mic1'\nenabled = false\n"
        "[[sources]]\naddress = 'mic2'\nsilence_dbfs = -40\n",
    )
    settings = load_settings(path)
    heard = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    assert [(each.address, each.name, each.hop_s, each.silence_dbfs) for each in heard] == [
        ("mic0", "garden", 1.0, -50.0),
        ("mic2", None, 3.0, -40.0),
    ]


def test_the_device_of_the_stream_is_the_one_source_where_there_are_no_sources(tmp_path: Path) -> None:
    settings = load_settings(_file(tmp_path, "[stream]\ndevice = 'stdin:'\nhop_s = 5\n"))
    (channel,) = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    assert (channel.address, channel.name, channel.hop_s, channel.silence_dbfs) == ("stdin:", None, 5.0, -70.0)
    disabled = load_settings(_file(tmp_path, "[[sources]]\naddress = 'mic1'\nenabled = false\n"))
    assert configured_sources(disabled.get(StreamSettings), disabled.tables(SourceSettings)) == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[stream]\nhop = 2\n", "stream.hop"),
        ("\n[streams]\nhop_s = 2\n", "streams"),
        ("\nseed = 2\n", "seed"),
        ("[stream]\nhop_s = 'often'\n", "stream.hop_s"),
        ("[stream]\nhop_s = 0.0\n", "stream.hop_s"),
        ("[stream]\nhop_s = nan\n", "stream.hop_s"),
        ("[stream]\nsilence_dbfs = 3\n", "stream.silence_dbfs"),
        ("[stream]\nsame_similarity = 1.2\n", "stream.same_similarity"),
        ("[stream]\nnode = ''\n", "stream.node"),
        ("[captioner]\nbackend = 'abacus'\n", "captioner.backend"),
        ("[captioner]\ncandidates = 0\n", "captioner.candidates"),
        ("[captioner]\nseed = -1\n", "captioner.seed"),
        ("[captioner]\nthreads = 1.5\n", "captioner.threads"),
        ("[health]\ninterval_s = -1\n", "health.interval_s"),
        ("\nstream = 5\n", "stream"),
        ("\n[sources]\naddress = 'mic0'\n", "sources"),
        ("\nsources = 'mic0'\n", "sources"),
        ("\n[[sources]]\nname = 'garden'\n", "sources[0].address"),
        ("[[sources]]\nhop_s = 99999\naddress = 'mic0'\n", "sources[0].hop_s"),
        ("[[sources]]\nname = \"a\\u0007\"\naddress = 'mic0'\n", "sources[0].name"),
        ("\n[[sinks]]\nformat = 'json'\n", "sinks[0].kind"),
    ],
)
def test_what_the_file_has_wrong_is_named_with_its_line(tmp_path: Path, text: str, named: str) -> None:
    path = _file(tmp_path, text)
    # Flags that are right must not hide what is wrong.
    message = _refused(path, ConfigError, stream={"min_score": 0.5})
    assert f"setting {named} (in {path}:2): " in message


def test_what_a_flag_has_wrong_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[stream]\nhop_s = 3.0\n")
    message = _refused(path, ConfigError, stream={"hop_s": 0.0})
    assert "setting stream.hop_s (from --hop_s):" in message
    assert str(path) not in message
    assert "0.0" in message


@pytest.mark.parametrize("content", [b"[stream", b"a = \n", b"\xff\xfe"])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(path)


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    assert "none.toml" in _refused(tmp_path / "none.toml", InputMissingError)
    assert "folder" in _refused(tmp_path, InputMissingError)
    _refused(tmp_path / ("x" * 300), InputMissingError)
    assert "device" in _refused(Path("/dev/zero"), InputMissingError)


def test_a_file_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)  # as root every file can be read
    assert "permissions" in _refused(path, InputMissingError)


def test_a_pipe_is_read_and_nobody_is_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("[stream]\nhop_s = 5.0\n",), daemon=True)
    writer.start()
    assert load_settings(path).get(StreamSettings).hop_s == 5.0
    writer.join()
    monkeypatch.setattr("edge_aac.settings.layers._PIPE_TIMEOUT_S", 0.01)
    assert "pipe that nobody writes into" in _refused(path, InputMissingError)


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    assert "larger than 1 MiB" in _refused(_file(tmp_path, "#" * (1 << 20) + "\n"), ConfigError)


_GOOD = b"""[stream]
hop_s = 5.0
node = 'attic'
[[sources]]
address = "file:a.wav"
name = '''x
y'''
[captioner]
candidates = 3
[[sinks]]
kind = 'stdout'
records = ["caption", 'event',]
[health]
interval_s = 60 # a minute
a = {b = 1, c = [1, 2]}
"q.r".s = 1
"""
_PIECES = [b"[", b"]", b'"', b"'", b"=", b"\n", b"{", b"}", b",", b".", b"#", b"\\", b"'''", b'"""', b"\r", b"\r\n"]
_PIECES += [b"1", b"a", b"\xff", b"\0", b" ", b"[[", b"]]", b"1979-05-27", b"inf", b"nan", b"-", b"\xef\xbb\xbf"]


@given(st.lists(st.tuples(st.integers(0, len(_GOOD)), st.integers(0, 2), st.sampled_from(_PIECES)), max_size=5))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_mutation_of_a_good_file_is_a_fault_of_ours(tmp_path: Path, changes: list[tuple[int, int, bytes]]) -> None:
    content = bytearray(_GOOD)
    for at, length, piece in changes:
        content[at : at + length] = piece
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    assert all(fault.problem for fault in faults_of(path))
