"""Several bundles at once, as a user calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE
from tests.edge_aac.models.ensemble_bundles import tiny_member
from tests.system.command import noise, records, run_edge_aac, write_wav

pytestmark = pytest.mark.one_python


def test_files_and_streams_are_captioned_by_several_bundles(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(10.0))
    one, two = (tiny_member(tmp_path / name, seed) for seed, name in enumerate(("one", "two")))
    arguments = ("--bundle", f"{one},{two}", "--weights", "0.6,0.4", "--no-fluency-check", "--format", "json")
    result = run_edge_aac("caption", sound, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert record["model"] == {
        "bundle": "one,two", "version": "0,1", "backend": "onnxruntime", "precision": "fp32",
    }  # fmt: skip
    config = tmp_path / "config.toml"
    config.write_text(f'[captioner]\nbundle = "{two},{one}"\nweights = [0.4, 0.6]\nfluency_check = false\n')
    result = run_edge_aac(
        "stream", "--config", config, "--device", f"file:{sound}", "--every-window", "--format", "json"
    )
    assert result.returncode == 0, result.stderr
    streamed = [each for each in records(result.stdout) if each["schema"] == "edge-aac/caption/1"]
    assert "listening to" in result.stderr and "with bundle two,one" in result.stderr
    assert [each["caption"] for each in streamed] == [record["caption"]]
    assert streamed[0]["score"]["hybrid"] == pytest.approx(record["score"]["hybrid"], abs=2e-4)


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(1.0))
    one = tiny_member(tmp_path / "one", 1)
    for arguments, code, words in (
        (("--bundle", f"{one},{one}", "--weights", "1"), 78, "1 weights (1) for 2 bundles"),
        (("--bundle", f"{one},{DEFAULT_BUNDLE}"), 65, "an ensemble needs bundles of one vocabulary"),
    ):
        result = run_edge_aac("caption", sound, *arguments)
        assert (result.returncode, result.stdout) == (code, "")
        assert words in result.stderr and result.stderr.count("\n") == 1
