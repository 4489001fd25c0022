"""``edge-aac caption`` as a user runs it: records on stdout, one sentence for each thing that is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from edge_aac.bundle.manifest import MANIFEST, Seq2SeqManifest, read_manifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, built_in_bundles
from tests.edge_aac.models.ensemble_bundles import tiny_member
from tests.system.command import (
    CAPTION_FIELDS,
    COMMAND,
    FILE_TIMES,
    TIMEOUT_S,
    environment,
    noise,
    records,
    run_edge_aac,
    write_wav,
)

_MANIFEST = cast(Seq2SeqManifest, read_manifest(built_in_bundles()[DEFAULT_BUNDLE] / MANIFEST))
_DECODER = _MANIFEST.graphs["decoder"][0].file


@pytest.fixture(scope="module")
def five_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(5))


def _missing(folder: Path) -> Path:
    return folder / "none.wav"


def _folder(folder: Path) -> Path:
    return folder


def _empty(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def _renamed(folder: Path) -> Path:
    (folder / "text.wav").write_text("This is a text.\n" * 100)
    return folder / "text.wav"


def _truncated(folder: Path) -> Path:
    path = folder / "cut.flac"
    soundfile.write(path, noise(12), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    return path


def _not_a_number(folder: Path) -> Path:
    samples = noise(5)
    samples[40_000] = np.nan
    return write_wav(folder / "nan.wav", samples, subtype="FLOAT")


def _no_samples(folder: Path) -> Path:
    return write_wav(folder / "nothing.wav", np.zeros(0))


def _one_sentence(stderr: str) -> str:
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("edge-aac: ")
    return lines[0]


def _tampered_bundle(folder: Path) -> Path:
    bundle = folder / "tampered"
    shutil.copytree(built_in_bundles()[DEFAULT_BUNDLE], bundle)
    with (bundle / _DECODER).open("ab") as graph:
        graph.write(b"!")
    return bundle


def test_one_record(five_seconds: Path) -> None:
    result = run_edge_aac("caption", five_seconds, "--node", "kitchen")
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert set(record) == CAPTION_FIELDS | FILE_TIMES
    assert record["schema"] == "edge-aac/caption/1"
    assert (record["node"], record["source"], record["seq"]) == ("kitchen", str(five_seconds), 0)
    assert (record["start_s"], record["end_s"], record["dropped_ms"]) == (0.0, 5.0, 0)
    assert isinstance(record["caption"], str)
    told = {name for name in ("familiarity", "sounds") if name in record["score"]}
    assert set(record["score"]) - told == {"hybrid", "log_likelihood", "similarity"}
    assert ("familiarity" in told) == (_MANIFEST.familiarity is not None)
    assert "sounds" not in told or _MANIFEST.sureness is not None
    assert -25 < record["rms_dbfs"] < -15
    assert record["candidates"] >= 1
    assert record["model"] == {
        "bundle": DEFAULT_BUNDLE,
        "version": record["model"]["version"],
        "backend": "onnxruntime",
        "precision": record["model"]["precision"],
    }
    assert set(record["latency_ms"]) == {"total", "encode", "decode", "rerank"}
    assert record["latency_ms"]["total"] > 0


def test_same_seed_same_caption(five_seconds: Path) -> None:
    first, again = (
        records(run_edge_aac("caption", five_seconds, "--seed", "5", "--threads", "1").stdout)[0] for _ in range(2)
    )
    assert (first["caption"], first["score"]) == (again["caption"], again["score"])


def test_settings_come_from_the_environment_and_a_file(five_seconds: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[captioner]\ncandidates = 2\n[stream]\nnode = 'attic'\n")
    result = run_edge_aac("caption", five_seconds, "--config", config, env={"EDGE_AAC_NODE": "cellar"})
    (record,) = records(result.stdout)
    assert (record["candidates"], record["node"]) == (2, "cellar")


def test_a_long_file_is_cut_into_windows(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(23))
    times = [(each["seq"], each["start_s"], each["end_s"]) for each in records(run_edge_aac("caption", path).stdout)]
    assert times == [(0, 0.0, 10.0), (1, 10.0, 20.0), (2, 13.0, 23.0)]


def test_text_for_people(five_seconds: Path) -> None:
    result = run_edge_aac("caption", five_seconds, "--format", "text")
    assert result.returncode == 0
    assert result.stdout.startswith(f"{five_seconds}  ")
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_missing, 66),
        (_folder, 66),
        (_empty, 65),
        (_renamed, 65),
        (_truncated, 65),
        (_not_a_number, 65),
        (_no_samples, 65),
    ],
)
def test_what_is_wrong_with_a_file(make: Callable[[Path], Path], code: int, tmp_path: Path) -> None:
    path = make(tmp_path)
    result = run_edge_aac("caption", path)
    assert result.returncode == code, result.stderr
    assert str(path) in _one_sentence(result.stderr)
    records(result.stdout)


@pytest.mark.parametrize(("rate", "channels"), [(192_000, 1), (16_000, 6), (8_000, 2)])
def test_any_rate_and_channels(rate: int, channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (rate * 2, channels))
    result = run_edge_aac("caption", write_wav(tmp_path / "odd.wav", samples, rate))
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert record["end_s"] == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--bundle", "no-such-bundle"], 66),
        (["--bundle", "x" * 300], 66),
        (["--config", "/nonexistent/config.toml"], 66),
        (["--backend", "abacus"], 78),
        (["--candidates", "0"], 78),
        (["--hop", "0"], 78),
        (["--hop", "0.105"], 78),
        (["--hop", "nan"], 78),
        (["--seed", "-1"], 78),
        (["--silence-dbfs", "3"], 78),
    ],
)
def test_what_is_wrong_with_a_setting(words: list[str], code: int, five_seconds: Path) -> None:
    # Twice the file: what is wrong with the settings is said once.
    result = run_edge_aac("caption", five_seconds, five_seconds, *words)
    assert (result.returncode, result.stdout) == (code, "")
    _one_sentence(result.stderr)


@pytest.mark.parametrize(
    "words", [["--hop", "often"], ["--nope"], ["--format", "xml"], ["--candidates", "some"], ["--seed", "1.5"]]
)
def test_what_is_no_option_or_no_number(words: list[str], five_seconds: Path) -> None:
    result = run_edge_aac("caption", five_seconds, *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1


def test_unknown_verb() -> None:
    result = run_edge_aac("captoin", "a.wav")
    assert (result.returncode, result.stdout) == (2, "")
    assert "captoin" in _one_sentence(result.stderr)


def test_unknown_setting_in_the_file(five_seconds: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[captioner]\ncandidate = 2\n")
    result = run_edge_aac("caption", five_seconds, "--config", config)
    assert (result.returncode, result.stdout) == (78, "")
    assert "captioner.candidate" in _one_sentence(result.stderr)


def test_tampered_bundle(five_seconds: Path, tmp_path: Path) -> None:
    result = run_edge_aac("caption", five_seconds, "--bundle", _tampered_bundle(tmp_path))
    assert (result.returncode, result.stdout) == (65, "")
    assert _DECODER in _one_sentence(result.stderr)


def test_a_bundle_in_a_folder(five_seconds: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "copy"
    shutil.copytree(built_in_bundles()[DEFAULT_BUNDLE], bundle)
    result = run_edge_aac("caption", five_seconds, "--bundle", bundle)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(records(result.stdout)) == 1


def test_a_bad_file_among_good_ones(five_seconds: Path, tmp_path: Path) -> None:
    missing, renamed = _missing(tmp_path), _renamed(tmp_path)
    result = run_edge_aac("caption", missing, five_seconds, renamed, five_seconds)
    assert result.returncode == 66, "the first failure decides"
    assert [(each["source"], each["seq"]) for each in records(result.stdout)] == 2 * [(str(five_seconds), 0)]
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert str(missing) in errors[0] and str(renamed) in errors[1]


def test_damage_at_the_end_leaves_what_came_before(tmp_path: Path) -> None:
    samples = noise(15)
    samples[-100] = np.nan
    path = write_wav(tmp_path / "nan.wav", samples, subtype="FLOAT")
    result = run_edge_aac("caption", "--hop", "2", path)
    assert result.returncode == 65
    assert [each["start_s"] for each in records(result.stdout)] == [0.0, 2.0, 4.0]
    _one_sentence(result.stderr)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        os.rename(write_wav(tmp_path / "plain.wav", noise(2)), path)
    except OSError:
        pytest.skip("this file system takes no such name")
    result = run_edge_aac("caption", os.fsdecode(path))
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert record["source"].endswith("/caf\ufffd.wav")


def test_silence_says_nothing(tmp_path: Path) -> None:
    result = run_edge_aac("caption", write_wav(tmp_path / "silence.wav", np.zeros(160_000)))
    assert (result.returncode, result.stdout) == (0, "")
    assert "silent" in _one_sentence(result.stderr)


def test_a_caption_that_scores_too_low_is_not_published(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(10))
    (record,) = records(run_edge_aac("caption", sound).stdout)
    score = record["score"]["hybrid"]
    result = run_edge_aac("caption", sound, "--min-score", str(score + 0.01))
    assert (result.returncode, result.stdout) == (0, "") and "unsure" in _one_sentence(result.stderr)
    assert records(run_edge_aac("caption", sound, "--min-score", str(score - 0.01)).stdout)


def test_a_sound_that_is_not_familiar_enough(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(10))
    words = ["rain", "falls", "a"]
    bundle = tiny_member(tmp_path / "scoring", 1, familiarity={"threshold": 0.0, "words": words})
    given = "caption", sound, "--bundle", bundle, "--no-fluency-check"
    (record,) = records(run_edge_aac(*given, "--min-familiarity", "-1000").stdout)
    familiarity = record["score"]["familiarity"]
    above = "--min-familiarity", str(familiarity + 0.1)
    (unfamiliar,) = records(run_edge_aac(*given, *above).stdout)
    assert set(unfamiliar["caption"].split()) <= set(words) and not set(record["caption"].split()) <= set(words)
    assert unfamiliar["score"]["familiarity"] == familiarity
    result = run_edge_aac(*given, *above, "--familiar-only")
    assert (result.returncode, result.stdout) == (0, "")
    assert f"familiarity {familiarity:.2f}" in _one_sentence(result.stderr)


def test_the_reader_may_leave(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(60))
    command = [*COMMAND, "caption", "--hop", "1", "--candidates", "1", "--format", "json", str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(records(process.stdout.readline().decode())) == 1
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [["--help"], ["caption", "--help"], ["--version"]])
def test_nobody_reads_the_help(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [*COMMAND, *words], env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT_S
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(five_seconds: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*COMMAND, "caption", str(five_seconds)],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=TIMEOUT_S,
        )
    assert result.returncode == 69
    assert "No space left" in _one_sentence(result.stderr.decode())


def test_the_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("edge-aac")
    if not script.exists():
        pytest.skip("edge-aac is not installed beside this Python")
    result = subprocess.run([script, "--version"], check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.stdout == run_edge_aac("--version").stdout
