"""A stream whose bundle chooses from a user's labels: what it takes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_aac.cli import main
from tests.edge_aac.models.clip_bundles import write_clip_bundle
from tests.edge_aac.models.tiny_bundle import dual_encoder_table, write
from tests.system.command import noise, records, run_edge_aac, write_wav

CONFIG_EXIT = 78


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundles")
    return write(folder, dual_encoder_table(folder))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(2.5))


def _configured(folder: Path, labels: list[str], prompt: str = "{}") -> Path:
    path = folder / "settings.toml"
    table = f"labels = {json.dumps(labels, ensure_ascii=False)}\nprompt = {json.dumps(prompt)}\n"
    path.write_text(f"[captioner]\n{table}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("labels", "prompt", "words"),
    [
        ([], "{}", ("labels",)),
        ([" "], "{}", ("labels are words",)),
        ([f"sound {number}" for number in range(10_000)], "{}", ("labels", "at most 4096 entries, but it has 10000")),
        (["rain", "x" * 10_000], "{}", ("labels", "200")),
        (["rain"], "no place for a label", ("prompt", "once")),
        (["rain"], "x" * 10_000 + "{}", ("prompt", "at most 500 characters, but it has 10002")),
    ],
)
def test_labels_that_no_stream_takes(  # noqa: PLR0913, PLR0917
    bundle: str,
    sound: Path,
    tmp_path: Path,
    labels: list[str],
    prompt: str,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = _configured(tmp_path, labels, prompt)
    with pytest.raises(SystemExit) as ended:
        main(["stream", "--config", str(config), "--bundle", bundle, "--device", f"file:{sound}"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (CONFIG_EXIT, ""), err
    assert all(word in err for word in words), err
    assert "Traceback" not in err and len(err.splitlines()) == 1 and len(err) < 1_000


def test_a_bundle_of_clips_needs_labels_on_a_stream(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    words = ["stream", "--bundle", write_clip_bundle(tmp_path / "clap"), "--device", f"file:{sound}"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (CONFIG_EXIT, "") and len(err.splitlines()) == 1, err
    assert "names no sounds of its own" in err and "labels" in err
    with pytest.raises(SystemExit) as ended:
        main([*words, "--label", "rain", "--label", "a dog"])
    out, _ = capsys.readouterr()
    assert (ended.value.code or 0) == 0 and records(out)[0]["caption"] in {"the sound of rain", "the sound of a dog"}
    with pytest.raises(SystemExit) as ended:
        main([*words, "--label", "rain", "--label", "a dog", "--template", "rain falls on {}", "--template", "{} once"])
    other, _ = capsys.readouterr()
    assert (ended.value.code or 0) == 0 and records(other)[0]["caption"].startswith("the sound of")
    assert records(other)[0]["score"] != records(out)[0]["score"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--label", "rain", "--template", "rain"])
    _, err = capsys.readouterr()
    assert ended.value.code == CONFIG_EXIT and "each template holds {} once" in err and len(err.splitlines()) == 1


def test_labels_in_other_scripts_in_a_stream_of_a_tenth_of_a_second_and_of_ten_minutes(
    bundle: str, tmp_path: Path
) -> None:
    words = ["雨が降る", "собака лает", "🐶", "rain"]
    config = _configured(tmp_path, words, "{} !")
    short = write_wav(tmp_path / "short.wav", noise(0.1))
    long = write_wav(tmp_path / "long.wav", np.tile(noise(60.0, seed=1), 10))
    arguments = ("--config", config, "--bundle", bundle, "--every-window", "--hop", "10")
    for file, count, end_s in ((short, 1, 0.1), (long, 60, 600.0)):
        done = run_edge_aac("stream", *map(str, arguments), "--device", f"file:{file}")
        assert done.returncode == 0, done.stderr
        found = [record for record in records(done.stdout) if record["schema"].startswith("edge-aac/caption/")]
        assert len(found) == count and found[-1]["end_s"] == pytest.approx(end_s)
        assert {record["caption"] for record in found} <= set(words)
