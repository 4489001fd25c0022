"""How captions are decoded and ranked, decided by flag, environment or file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.app import open_model
from edge_aac.models.settings import CaptionerSettings
from tests.system.command import noise, records, run_edge_aac, write_wav

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(10.0))


def _record(*arguments: str | Path, env: dict[str, str] | None = None) -> dict:
    result = run_edge_aac("caption", *arguments, "--format", "json", env=env)
    assert result.returncode == 0, result.stderr
    (record,) = records(result.stdout)
    return record


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_method(sound: Path, tmp_path: Path, method: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[captioner]\nmethod = "{method}"\n', encoding="utf-8")
    by_flag = _record(sound, "--method", method)
    assert by_flag["candidates"] == 1
    for record in (_record(sound, env={"EDGE_AAC_METHOD": method}), _record(sound, "--config", config)):
        assert (record["caption"], record["candidates"]) == (by_flag["caption"], 1)


def test_weights(sound: Path) -> None:
    likelihood = _record(sound, "--similarity-weight", "0", "--likelihood-weight", "1")
    assert "similarity" not in likelihood["score"]
    assert likelihood["score"]["hybrid"] == pytest.approx(likelihood["score"]["log_likelihood"], abs=1e-3)
    similarity = _record(sound, env={"EDGE_AAC_SIMILARITY_WEIGHT": "1", "EDGE_AAC_LIKELIHOOD_WEIGHT": "0"})
    assert similarity["score"]["hybrid"] == pytest.approx(similarity["score"]["similarity"], abs=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-length", "500"),
        ("--max-length", "1"),
        ("--method", "guess"),
        ("--likelihood-weight", "inf"),
        ("--similarity-weight", "-1"),
    ],
)
def test_unusable_choices_are_refused_before_anything_is_heard(sound: Path, arguments: tuple[str, str]) -> None:
    result = run_edge_aac("stream", "--device", f"file:{sound}", *arguments)
    assert result.returncode == 78
    assert "listening" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_setting_reaches_the_captioner() -> None:
    settings = CaptionerSettings(
        method="beam", max_length=9, candidates=3, likelihood_weight=0.125, similarity_weight=0.25, fluency_check=False
    )
    captioner = open_model(settings)
    assert (captioner.rules.method, captioner.rules.max_length, captioner.rules.candidates) == ("beam", 9, 3)
    ranking = captioner.reranker
    assert (ranking.weights.log_likelihood, ranking.weights.similarity) == (0.125, 0.25)
    assert not ranking._fluency_check
    assert open_model(CaptionerSettings()).reranker._fluency_check
