"""Options of verbs: what flags and environment give, and that both verbs have them from the settings alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from edge_aac.commands import caption as caption_verb
from edge_aac.commands import stream as stream_verb
from edge_aac.commands.setting_options import GivenSettings, settings_options
from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.models.settings import CaptionerSettings
from edge_aac.settings.sections import Section, registered_sections
from edge_aac.settings.tree import Settings
from edge_aac.streaming.settings import HealthSettings, SourceSettings, StreamSettings

Read = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def _seen_by(verb: typer.Typer, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What settings a verb arrives at, without doing its work."""
    seen: list[Settings] = []
    load = GivenSettings.load

    def stop(self: GivenSettings) -> Settings:
        seen.append(load(self))
        raise ConfigError("far enough")

    with monkeypatch.context() as patches:
        patches.setattr(GivenSettings, "load", stop)
        patches.setattr("signal.signal", lambda *_: None)
        with pytest.raises(ConfigError, match="far enough"):
            verb(args=arguments, prog_name="edge-aac")
    return seen[0]


def _origin(settings: Settings, section: str, name: str) -> str:
    return str(settings.origin((section, name), settings.sections[section].settings[name]))


def test_flag_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "[captioner]\nseed = 1\ncandidates = 2\nthreads = 3\n[stream]\nnode = 'attic'\nhop_s = 7.0\n", encoding="utf-8"
    )
    monkeypatch.setenv("EDGE_AAC_CONFIG", str(path))
    monkeypatch.setenv("EDGE_AAC_SEED", "10")
    monkeypatch.setenv("EDGE_AAC_CANDIDATES", "20")
    monkeypatch.setenv("EDGE_AAC_NODE", "")
    settings = _seen_by(stream_verb.app, ["--seed", "100", "--unfamiliar-too", "--no-cuda-graph"], monkeypatch)
    captioner, stream = settings.get(CaptionerSettings), settings.get(StreamSettings)
    assert (captioner.seed, _origin(settings, "captioner", "seed")) == (100, "--seed")
    assert (captioner.candidates, _origin(settings, "captioner", "candidates")) == (20, "EDGE_AAC_CANDIDATES")
    assert (captioner.threads, _origin(settings, "captioner", "threads")) == (3, f"{path}:4")
    assert captioner.backend == "auto", "the default"
    assert (captioner.cuda_graph, _origin(settings, "captioner", "cuda_graph")) == (False, "--no-cuda-graph")
    assert stream.node == "attic", "an empty variable is none"
    assert stream.hop_s == 7.0
    assert (stream.familiar_only, _origin(settings, "stream", "familiar_only")) == (False, "--unfamiliar-too")


@pytest.mark.parametrize(
    ("variable", "value", "model", "setting", "expected"),
    [
        ("EDGE_AAC_BUNDLE", "/data/mine", CaptionerSettings, "bundle", "/data/mine"),
        ("EDGE_AAC_BACKEND", "onnxruntime", CaptionerSettings, "backend", "onnxruntime"),
        ("EDGE_AAC_CUDA_GRAPH", "0", CaptionerSettings, "cuda_graph", False),
        ("EDGE_AAC_THREADS", "2", CaptionerSettings, "threads", 2),
        ("EDGE_AAC_CANDIDATES", "9", CaptionerSettings, "candidates", 9),
        ("EDGE_AAC_SEED", "7", CaptionerSettings, "seed", 7),
        ("EDGE_AAC_METHOD", "beam", CaptionerSettings, "method", "beam"),
        ("EDGE_AAC_MAX_LENGTH", "12", CaptionerSettings, "max_length", 12),
        ("EDGE_AAC_LIKELIHOOD_WEIGHT", "0.5", CaptionerSettings, "likelihood_weight", 0.5),
        ("EDGE_AAC_SIMILARITY_WEIGHT", "0", CaptionerSettings, "similarity_weight", 0.0),
        ("EDGE_AAC_FLUENCY_CHECK", "0", CaptionerSettings, "fluency_check", False),
        ("EDGE_AAC_MIN_FAMILIARITY", "-1.6", CaptionerSettings, "min_familiarity", -1.6),
        ("EDGE_AAC_MIN_CONFIDENCE", "0.35", CaptionerSettings, "min_confidence", 0.35),
        ("EDGE_AAC_NODE", "attic", StreamSettings, "node", "attic"),
        ("EDGE_AAC_HOP", "4.5", StreamSettings, "hop_s", 4.5),
        ("EDGE_AAC_SILENCE_DBFS", "-55", StreamSettings, "silence_dbfs", -55.0),
        ("EDGE_AAC_MIN_SCORE", "0.1", StreamSettings, "min_score", 0.1),
        ("EDGE_AAC_FAMILIAR_ONLY", "1", StreamSettings, "familiar_only", True),
        ("EDGE_AAC_SAME_SIMILARITY", "0.6", StreamSettings, "same_similarity", 0.6),
        ("EDGE_AAC_HEALTH_INTERVAL", "0", HealthSettings, "interval_s", 0.0),
    ],
)
def test_every_variable(
    variable: str,
    value: str,
    model: type[BaseModel],
    setting: str,
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(_seen_by(stream_verb.app, [], monkeypatch).get(model), setting) == expected


@pytest.mark.parametrize(
    ("flags", "variable", "expected"),
    [
        ([], None, []),
        (["--device", "mic1"], "mic9", ["mic1"]),
        (["--device", "mic1", "--device", "file:a b.wav"], None, ["mic1", "file:a b.wav"]),
        ([], "file:a b.wav", ["file:a b.wav"]),
        ([], "mic0\n\n  mic1 \n", ["mic0", "mic1"]),
        ([], "", []),
    ],
)
def test_sources_by_flag_and_environment(
    flags: list[str], variable: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("EDGE_AAC_DEVICE", variable)
    settings = _seen_by(stream_verb.app, flags, monkeypatch)
    assert [source.address for source in settings.tables(SourceSettings)] == expected
    path = tmp_path / "config.toml"
    path.write_text("[[sources]]\naddress = 'mic7'\nname = 'attic'\n", encoding="utf-8")
    settings = _seen_by(stream_verb.app, [*flags, "--config", str(path)], monkeypatch)
    assert [source.address for source in settings.tables(SourceSettings)] == (expected or ["mic7"])
    origin = "--device" if flags else "EDGE_AAC_DEVICE" if expected else f"{path}:1"
    assert str(settings.origins["sources", 0]) == origin


def test_files_have_a_hop_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def hop_s(*arguments: str) -> float:
        return _seen_by(caption_verb.app, ["a.wav", *arguments], monkeypatch).get(StreamSettings).hop_s

    monkeypatch.setenv("EDGE_AAC_HOP", "3")
    assert hop_s() == 10.0
    assert hop_s("--hop", "2") == 2.0
    monkeypatch.setenv("EDGE_AAC_CAPTION_HOP", "4")
    assert hop_s() == 4.0
    monkeypatch.delenv("EDGE_AAC_CAPTION_HOP")
    assert _seen_by(stream_verb.app, [], monkeypatch).get(StreamSettings).hop_s == 3.0


def test_caption_takes_the_hop_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[stream]\nhop_s = 3.0\n", encoding="utf-8")
    settings = _seen_by(caption_verb.app, ["a.wav", "--config", str(path)], monkeypatch)
    assert settings.get(StreamSettings).hop_s == 3.0


def test_all_settings_can_be_given_by_flag_and_by_environment() -> None:
    """A setting that only a file can give would break the promise of the precedence; these few are a source's own, or a
    rule's for alerts."""
    of_sources = {f"sources.{name}" for name in ("name", "hop_s", "silence_dbfs", "enabled")}
    settings = [each for section in registered_sections().values() for each in section.settings.values()]
    settings = [each for each in settings if each.section != "alerts"]
    without = {f"{each.section}.{each.name}" for each in settings if not (each.flag and each.env)}
    assert without == of_sources | {"stream.device"}


def test_both_verbs_have_the_options_of_the_captioner() -> None:
    texts = [CliRunner().invoke(verb, ["--help"]).output for verb in (caption_verb.app, stream_verb.app)]
    of_streams = {"ask", "ask_every", "ask_bundle"}  # files are asked about by `edge-aac ask`
    for name, setting in registered_sections()["captioner"].settings.items():
        assert setting.flag and setting.env
        told = [setting.flag.partition("/")[0] in text and setting.env in text.replace("\n", " ") for text in texts]
        assert told == [name not in of_streams, True]


def test_a_named_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissingError, match="correct --config or leave it out"):
        _seen_by(stream_verb.app, ["--config", str(tmp_path / "none.toml")], monkeypatch)


class _Odd(BaseModel):
    """Options of every kind."""

    words: list[str] = Field(default=["a"], json_schema_extra={"flag": "--word", "env": "ODD_WORDS"})
    count: int = Field(default=1, json_schema_extra={"env": "ODD_COUNT"})
    folder: Path = Field(default=Path("x"), json_schema_extra={"flag": "--folder", "env": "ODD_FOLDER"})


def _odd_verb(monkeypatch: pytest.MonkeyPatch, *, others: bool = False) -> typer.Typer:
    sections = {**registered_sections(), "odd": Section("odd", _Odd)}
    for module in ("commands.setting_options", "settings.tree"):
        monkeypatch.setattr(f"edge_aac.{module}.registered_sections", lambda: sections)
    app = typer.Typer()

    @app.command()
    @settings_options("odd", others=others)
    def verb(name: Annotated[str, typer.Argument()], given: GivenSettings, loud: bool = False) -> None:
        typer.echo(f"{name} {loud} {given.load().get(_Odd)!r}")

    return app


def test_lists_paths_and_variables_without_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    app = _odd_verb(monkeypatch, others=True)

    def output(*arguments: str, **env: Any) -> str:
        result = CliRunner().invoke(app, ["me", *arguments], env=env)
        assert result.exit_code == 0, result.output
        return result.output.strip()

    assert output() == "me False _Odd(words=['a'], count=1, folder=PosixPath('x'))"
    given = output("--word", "b c", "--word", "d", "--folder", "/y", "--loud", ODD_COUNT="5", ODD_WORDS="z")
    assert given == "me True _Odd(words=['b c', 'd'], count=5, folder=PosixPath('/y'))"
    assert output(ODD_WORDS="e f\ng") == "me False _Odd(words=['e f', 'g'], count=1, folder=PosixPath('x'))"


def test_two_settings_with_one_flag_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = _Odd.model_fields["folder"].json_schema_extra
    assert isinstance(extra, dict)
    monkeypatch.setitem(extra, "flag", "--hop")
    with pytest.raises(ConfigError, match="both odd.folder and stream.hop_s have the flag --hop"):
        _odd_verb(monkeypatch, others=True)


def test_a_section_that_is_not_registered() -> None:
    with pytest.raises(ConfigError, match="'none'"):
        settings_options("none")(lambda given: None)
