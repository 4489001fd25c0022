"""Settings: what wins over what, and what is refused with which code."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from edge_aac.commands import caption as caption_verb
from edge_aac.commands import stream as stream_verb
from edge_aac.errors import ConfigError, EdgeAacError, InputMissingError
from edge_aac.settings.tree import Settings, load_settings


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _refused(config: Path | None, kind: type[EdgeAacError], **given: dict[str, Any]) -> str:
    with pytest.raises(kind) as caught:
        load_settings(config, given)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def test_defaults() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert (settings.captioner.bundle, settings.captioner.seed, settings.captioner.candidates) == (
        "esc10-tiny",
        0,
        None,
    )
    assert (settings.stream.device, settings.stream.hop_s, settings.stream.silence_dbfs) == ("mic0", 2.0, -70.0)
    assert settings.stream.node == socket.gethostname()


def test_file_over_default_and_given_over_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[stream]\nhop_s = 3.0\nnode = 'attic'\n[captioner]\nseed = 4\n")
    settings = load_settings(path, {"stream": {"hop_s": 5.0, "node": None}, "captioner": {"seed": None}})
    assert (settings.stream.hop_s, settings.stream.node, settings.captioner.seed) == (5.0, "attic", 4)
    # A zero is a value.
    assert load_settings(path, {"captioner": {"seed": 0}}).captioner.seed == 0


def test_the_default_file(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "edge-aac"
    folder.mkdir(parents=True)
    _file(folder, "[stream]\ndevice = 'stdin:'\n")
    assert load_settings(None, {}).stream.device == "stdin:"
    # A file that is named stands alone.
    assert load_settings(_file(tmp_path, ""), {}).stream.device == "mic0"


def test_a_user_without_a_home_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert load_settings(None, {}) == Settings()


def _seen_by(verb: typer.Typer, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What settings a verb arrives at, without doing its work."""
    seen: list[Settings] = []

    def stop(config: Path | None, given: dict[str, dict[str, Any]], defaults: Any = None) -> Settings:
        seen.append(load_settings(config, given, defaults or {}))
        raise ConfigError("far enough")

    monkeypatch.setattr("edge_aac.settings.tree.load_settings", stop)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(ConfigError, match="far enough"):
        verb(args=arguments, prog_name="edge-aac")
    return seen[0]


def test_flag_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(
        tmp_path, "[captioner]\nseed = 1\ncandidates = 2\nthreads = 3\n[stream]\nnode = 'attic'\nhop_s = 7.0\n"
    )
    monkeypatch.setenv("EDGE_AAC_CONFIG", str(path))
    monkeypatch.setenv("EDGE_AAC_SEED", "10")
    monkeypatch.setenv("EDGE_AAC_CANDIDATES", "20")
    monkeypatch.setenv("EDGE_AAC_NODE", "")
    settings = _seen_by(stream_verb.app, ["--seed", "100"], monkeypatch)
    assert settings.captioner.seed == 100, "the flag"
    assert settings.captioner.candidates == 20, "the environment"
    assert settings.captioner.threads == 3, "the file"
    assert settings.captioner.backend == "auto", "the default"
    assert settings.stream.node == "attic", "an empty variable is none"
    assert settings.stream.hop_s == 7.0


@pytest.mark.parametrize(
    ("variable", "value", "section", "setting", "expected"),
    [
        ("EDGE_AAC_BUNDLE", "/data/mine", "captioner", "bundle", "/data/mine"),
        ("EDGE_AAC_BACKEND", "onnxruntime", "captioner", "backend", "onnxruntime"),
        ("EDGE_AAC_THREADS", "2", "captioner", "threads", 2),
        ("EDGE_AAC_CANDIDATES", "9", "captioner", "candidates", 9),
        ("EDGE_AAC_SEED", "7", "captioner", "seed", 7),
        ("EDGE_AAC_DEVICE", "file:a.wav", "stream", "device", "file:a.wav"),
        ("EDGE_AAC_NODE", "attic", "stream", "node", "attic"),
        ("EDGE_AAC_HOP", "4.5", "stream", "hop_s", 4.5),
        ("EDGE_AAC_SILENCE_DBFS", "-55", "stream", "silence_dbfs", -55.0),
        ("EDGE_AAC_LEAST_FAMILIARITY", "-1.6", "captioner", "least_familiarity", -1.6),
        ("EDGE_AAC_FAMILIAR_ONLY", "1", "stream", "familiar_only", True),
        ("EDGE_AAC_SAME_SIMILARITY", "0.6", "stream", "same_similarity", 0.6),
    ],
)
def test_every_variable(
    variable: str, value: str, section: str, setting: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(getattr(_seen_by(stream_verb.app, [], monkeypatch), section), setting) == expected


def test_files_have_a_hop_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _seen_by(caption_verb.app, ["a.wav"], monkeypatch).stream.hop_s == 10.0
    assert _seen_by(caption_verb.app, ["a.wav", "--hop", "2"], monkeypatch).stream.hop_s == 2.0
    monkeypatch.setenv("EDGE_AAC_CAPTION_HOP", "4")
    assert _seen_by(caption_verb.app, ["a.wav"], monkeypatch).stream.hop_s == 4.0


def test_caption_takes_the_hop_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "[stream]\nhop_s = 3.0\n")
    assert _seen_by(caption_verb.app, ["a.wav", "--config", str(path)], monkeypatch).stream.hop_s == 3.0


def test_all_settings_of_the_sections_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that only a file can give would break the promise of the precedence."""
    given: dict[str, dict[str, Any]] = {}

    def note(config: Path | None, seen: dict[str, dict[str, Any]]) -> Annotated[Settings, "unused"]:
        given.update(seen)
        raise ConfigError("far enough")

    monkeypatch.setattr("edge_aac.settings.tree.load_settings", note)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(ConfigError):
        stream_verb.app(args=[], prog_name="edge-aac")
    for section, field in Settings.model_fields.items():
        assert field.annotation is not None
        assert set(given[section]) == set(field.annotation.model_fields)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[stream]\nhop = 2\n", "stream.hop"),
        ("[streams]\nhop_s = 2\n", "streams"),
        ("seed = 2\n", "seed"),
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
        ("stream = 5\n", "stream"),
    ],
)
def test_what_the_file_has_wrong_is_named_with_the_file(tmp_path: Path, text: str, named: str) -> None:
    path = _file(tmp_path, text)
    # Flags that are right must not hide what is wrong.
    message = _refused(path, ConfigError, stream={"device": "mic1"})
    assert f"setting {named} " in message
    assert str(path) in message


def test_what_a_flag_has_wrong_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[stream]\nhop_s = 3.0\n")
    message = _refused(path, ConfigError, stream={"hop_s": 0.0})
    assert "setting stream.hop_s:" in message
    assert str(path) not in message
    assert "0.0" in message


@pytest.mark.parametrize("content", [b"[stream", b"a = \n", b"\xff\xfe"])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(path, {})


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    assert "--config" in _refused(tmp_path / "none.toml", InputMissingError)
    _refused(tmp_path, InputMissingError)
    _refused(tmp_path / ("x" * 300), InputMissingError)


def test_a_file_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # as root every file can be read
    assert "permissions" in _refused(path, InputMissingError)


def test_the_users_file_overrules_the_machines_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, user = (tmp_path / name for name in ("etc.toml", "user.toml"))
    machine.write_text("[stream]\nhop_s = 3.0\nnode = 'attic'\n[captioner]\nseed = 4\n", encoding="utf-8")
    user.write_text("[stream]\nnode = 'cellar'\n", encoding="utf-8")
    monkeypatch.setattr("edge_aac.settings.tree._default_files", lambda: [machine, user])
    settings = load_settings(None, {})
    assert (settings.stream.hop_s, settings.stream.node, settings.captioner.seed) == (3.0, "cellar", 4)
    machine.write_text("[stream]\nhop_s = -1\n", encoding="utf-8")
    assert str(machine) in _refused(None, ConfigError)
