"""Bundles of an ensemble and their weights as flags, environment and file give them, and where a list is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edge_aac.commands.config import app as config_app
from edge_aac.doctor import bundle as bundle_check
from edge_aac.doctor.contract import Context
from edge_aac.doctor.dump import Dump
from edge_aac.errors import ConfigError, EdgeAacError, InputMissingError
from edge_aac.models.ensemble import Ensemble
from edge_aac.models.seq2seq import Captioner
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service.opening import open_model, privacy_gate
from edge_aac.service.reload import _needs_model
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from tests.edge_aac.models.ensemble_bundles import tiny_member

pytestmark = pytest.mark.one_python


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundles")
    return f"{tiny_member(folder / 'one', 1)},{tiny_member(folder / 'two', 2)}"


def _shown(*arguments: str) -> str:
    result = CliRunner().invoke(config_app, ["--show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def _settings(**captioner: object) -> Settings:
    return load_settings(given=Layer({"captioner": captioner}))


def test_by_flag_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[captioner]\nbundle = "a,b"\nweights = [3, 1.0]\n', encoding="utf-8")
    shown = _shown("--config", str(path))
    assert 'bundle = "a,b"' in shown and f"weights = [3.0, 1.0]  # {path}:3" in shown
    monkeypatch.setenv("EDGE_AAC_WEIGHTS", "0.25, 0.75")
    assert "weights = [0.25, 0.75]  # EDGE_AAC_WEIGHTS" in _shown("--config", str(path))
    assert "weights = [0.6, 0.4]  # --weights" in _shown("--weights", "0.6,0.4")
    monkeypatch.setenv("EDGE_AAC_WEIGHTS", "")
    assert "# weights: default: all alike" in _shown()


@pytest.mark.parametrize("given", ["0.6,x", "0.6;0.4", "", "1,,1", "1,0", "1,-2", "nan,1", "inf,1", "1001"])
def test_weights_that_are_none(given: str) -> None:
    for value in (given, given.split(",")):
        with pytest.raises(ConfigError) as caught:
            _settings(weights=value)
        assert str(caught.value).startswith("setting captioner.weights: expected a list of numbers")
        assert "\n" not in str(caught.value)


def test_a_number_alone_is_no_list() -> None:
    with pytest.raises(ConfigError, match="expected a list of numbers, but it is 0.6"):
        _settings(weights=0.6)


def test_the_example_is_right(tmp_path: Path) -> None:
    result = CliRunner().invoke(config_app, ["--example"], catch_exceptions=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("#weights = ")]
    assert lines == ["#weights = [0.6, 0.4]"]
    assert "a list of numbers; default: all alike; --weights; EDGE_AAC_WEIGHTS" in result.stdout


def test_the_service_opens_what_is_set(pair: str) -> None:
    model = open_model(_settings(bundle=pair, weights=[3.0, 1.0], threads=1, candidates=2).get(CaptionerSettings))
    assert isinstance(model, Ensemble)
    assert (model.shares, model.rules.candidates) == ((0.75, 0.25), 2)
    one = open_model(_settings(bundle=pair.partition(",")[0], threads=1).get(CaptionerSettings))
    assert isinstance(one, Captioner)
    with pytest.raises(ConfigError, match="3 weights .* for 2 bundles"):
        open_model(_settings(bundle=pair, weights=[1.0, 1.0, 1.0]).get(CaptionerSettings))


def test_a_reload_with_other_weights_opens_another_model() -> None:
    before = CaptionerSettings(bundle="a,b", weights=(0.5, 0.5))
    assert _needs_model(before, CaptionerSettings(bundle="a,b", weights=(0.6, 0.4)))
    assert _needs_model(before, CaptionerSettings(bundle="a,b,a", weights=(0.5, 0.5)))
    assert not _needs_model(before, CaptionerSettings(bundle="a,b", weights=(0.5, 0.5), seed=1))


def test_what_may_be_told_goes_by_the_language_of_all(pair: str) -> None:
    settings = load_settings(given=Layer({"captioner": {"bundle": pair}, "privacy": {"speech": "suppress"}}))
    privacy_gate(settings)
    with pytest.raises(InputMissingError, match="no bundle 'nowhere'"):
        privacy_gate(
            load_settings(given=Layer({"captioner": {"bundle": "nowhere,x"}, "privacy": {"speech": "suppress"}}))
        )


def test_doctor_hashes_every_bundle(pair: str, tmp_path: Path) -> None:
    (part,) = bundle_check.check(Context(_settings(bundle=pair)))
    texts = [finding.text for finding in part.run()]
    assert [text.partition(" ")[0] for text in texts] == ["one", "two"]
    broken = tiny_member(tmp_path / "broken", 3)
    (tmp_path / "broken" / "encoder.onnx").write_bytes(b"other")
    (part,) = bundle_check.check(Context(_settings(bundle=f"{pair},{broken}")))
    with pytest.raises(EdgeAacError, match="SHA-256 differs"):
        list(part.run())


def test_a_dump_holds_every_manifest(pair: str) -> None:
    def manifests(bundle: str) -> dict[str, str]:
        dump = Dump(Context(_settings(bundle=bundle)))
        return {entry.name: entry.make() for entry in dump._entries() if entry.name.startswith("manifest")}

    found = manifests(pair)
    assert list(found) == ["manifest.json", "manifest-2.json"]
    assert '"name": "one"' in found["manifest.json"] and '"name": "two"' in found["manifest-2.json"]
    assert list(manifests(pair.partition(",")[0])) == ["manifest.json"]


@pytest.mark.parametrize("verb", ["build-engine", "bench"])
def test_verbs_of_one_bundle_refuse_a_list(verb: str, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is exported for all commands reaches them, too."""
    pytest.importorskip("onnx", reason="both need pip install 'edge-aac[build]'")
    from benchmarks.commands import bench
    from quantize.cli.build_engine import build_engine

    monkeypatch.setenv("EDGE_AAC_BUNDLE", pair)
    app: typer.Typer = {"build-engine": build_engine, "bench": bench}[verb]
    result = CliRunner().invoke(app, ["--board", "orin-nano-8gb"] if verb == "bench" else [])
    assert isinstance(result.exception, InputMissingError)
    assert "one bundle is wanted here, not a list" in str(result.exception)
