"""CLAP's published weights to a bundle that the runtime runs: same embeddings as `load_clap`, in the graphs and INT8.

Another folder of the layout of ``clap_tiny``:

    EDGE_AAC_REFERENCE_CLAP=FOLDER pytest tests/quantize/bundles/test_convert_clap.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import quantize
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.cli import main
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError, EdgeAacError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.registry import open_model
from quantize.bundles.convert import Provenance
from quantize.bundles.convert_clap import convert_clap
from quantize.device.build import BuildOptions, build_engines
from quantize.models.audio_language.audio_stages import unit
from quantize.models.clap.microsoft import Clap
from tests.quantize.models.audio_language_reference import LOG_MEL, Reference

ONE_THREAD = EngineOptions("onnxruntime", 1)
EMBEDDINGS = 1e-3


@pytest.fixture(scope="module")
def clap_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_CLAP", "clap_tiny")


@pytest.fixture(scope="module")
def folder(clap_reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bundles") / "clap"
    # In this process: importing torch takes longest.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        # How fast the forms are here does not count.
        patch.setattr("quantize.device.timing.MAX_PAIRS", 9)
        main(["convert", str(clap_reference.folder), "--int8", "--output", str(output)])
    assert not ended.value.code
    return output


def _exported(folder: Path, copy: Path) -> Path:
    """A copy of a bundle without its INT8 forms."""
    shutil.copytree(folder, copy)
    table = json.loads((copy / MANIFEST).read_text())
    for role, forms in table["graphs"].items():
        table["graphs"][role] = [form for form in forms if form["precision"] == "fp32"]
    (copy / MANIFEST).write_text(json.dumps(table))
    for path in copy.glob("*.int8.onnx*"):
        path.unlink()
    return copy


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    """The bundle without its INT8 forms."""
    return ClipEncoder(open_bundle(str(_exported(folder, tmp_path_factory.mktemp("exported") / "clap"))), ONE_THREAD)


def test_the_bundle_says_what_it_is(folder: Path, clap_reference: Reference) -> None:
    bundle = open_bundle(str(folder))
    check_all(bundle)
    manifest = bundle.manifest_of(DualEncoderManifest)
    assert manifest.clip is not None and not manifest.hears_windows
    assert manifest.clip.samples == clap_reference.expected["audio.waveform"].shape[1]
    assert manifest.logit_scale == pytest.approx(float(clap_reference.expected["logit_scale_exp"]), rel=1e-5)
    assert {graph.file for forms in manifest.graphs.values() for graph in forms} <= {
        path.name for path in folder.iterdir()
    }
    assert all(
        graph.max_abs_difference <= EMBEDDINGS
        for forms in manifest.graphs.values()
        for graph in forms
        if not graph.in_int8
    )
    assert "CLAP" in (folder / "README.md").read_text()


def test_sounds_as_the_original_code_embeds_them(exported: ClipEncoder, clap_reference: Reference) -> None:
    expected = clap_reference.expected
    for number, waveform in enumerate(expected["audio.waveform"]):
        log_mel = exported.log_mel(waveform)
        assert float(np.abs(log_mel - expected["audio.logmel"][number, 0]).max()) < LOG_MEL
        assert float(np.abs(exported.embed_clip(waveform) - expected["audio.embedding"][number]).max()) < EMBEDDINGS


def test_files_as_the_original_code_hears_them(exported: ClipEncoder, clap_reference: Reference) -> None:
    """Resampled, laid end to end, repeated; of longer ones the first clip is what `load_clap` hears without a draw."""
    clap = quantize.load_clap(clap_reference.folder)
    lengths = clap_reference.expected["audio.length_and_crop_start"][:, 0]
    samples = clap_reference.expected["audio.waveform"].shape[1]
    short = 0
    for number, name in enumerate(clap_reference.given["audio"]):
        parts = list(exported.hear(clap_reference.folder / "audio" / name))
        want = clap_reference.expected["audio.embedding"][number]
        if lengths[number] <= samples:
            short += 1
            assert len(parts) == 1
            assert float(np.abs(parts[0].embedding - want / np.linalg.norm(want)).max()) < EMBEDDINGS
        else:
            assert len(parts) == -(-lengths[number] // samples)
    assert short, "no file is as short as a clip"
    assert isinstance(clap, Clap)


def test_texts_as_the_original_code_embeds_them(exported: ClipEncoder, clap_reference: Reference) -> None:
    texts, long = clap_reference.given["texts"], clap_reference.given["long_text"]
    want = np.concatenate([clap_reference.expected["text.embedding"], clap_reference.expected["long_text.embedding"]])
    got = exported.embed([*texts, long])
    assert float(np.abs(got - want / np.linalg.norm(want, axis=1, keepdims=True)).max()) < EMBEDDINGS


def test_similarities_as_the_original_code_gives_them(exported: ClipEncoder, clap_reference: Reference) -> None:
    expected = clap_reference.expected
    audio = unit(torch.from_numpy(np.stack([exported.embed_clip(one) for one in expected["audio.waveform"]]))).numpy()
    scale = exported.logit_scale
    assert scale is not None
    logits = scale * audio @ exported.embed(clap_reference.given["texts"]).T
    assert float(np.abs(logits - expected["similarity"]).max()) < EMBEDDINGS * scale


def test_in_int8_too(folder: Path, exported: ClipEncoder, clap_reference: Reference) -> None:
    bundle = open_bundle(str(folder))
    in_int8 = {role for role, forms in bundle.manifest.graphs.items() if forms[0].in_int8}
    assert in_int8, "no INT8 form was faithful"
    card = (folder / "README.md").read_text()
    for role in in_int8:
        assert bundle.manifest.graphs[role][0].file in card
    small = ClipEncoder(bundle, ONE_THREAD)
    texts = clap_reference.given["texts"][:2]
    left, right = exported.embed(texts), small.embed(texts)
    assert float((left * right).sum(axis=1).min()) >= 0.99


def test_build_engine_makes_the_forms_of_this_processor(
    folder: Path, exported: ClipEncoder, clap_reference: Reference, tmp_path: Path
) -> None:
    copy, lines = _exported(folder, tmp_path / "clap"), list[str]()
    report = build_engines(BuildOptions(str(copy), leave=("text_embedder",)), lines.append)
    assert report.forms and not report.failure
    assert all(form.role == "encoder" and form.graph.precision != "fp32" and form.outcome for form in report.forms)
    bundle = open_bundle(str(copy))
    check_all(bundle)
    first = bundle.manifest.graphs["encoder"][0]
    # A model as small as this one may be no faster.
    written = [form.graph.precision for form in report.forms if form.written]
    assert report.written == bool(written) and [first.precision] == (written or ["fp32"])
    assert [each.precision for each in bundle.manifest.graphs["text_embedder"]] == ["fp32"]
    waveform = clap_reference.expected["audio.waveform"][0]
    left, right = exported.embed_clip(waveform), ClipEncoder(bundle, ONE_THREAD).embed_clip(waveform)
    assert float(left @ right / np.linalg.norm(left) / np.linalg.norm(right)) >= 0.99


def test_it_hears_no_windows(folder: Path) -> None:
    with pytest.raises(DataError, match="hears clips of .* no windows: open it with"):
        open_model(open_bundle(str(folder)), ONE_THREAD, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window_s": 3.0}, "clip.samples is"),
        ({"patches": {"frames": 98, "hop_frames": 50}}, "no patches"),
        ({"clip": None}, "labels is empty"),
        ({"logit_scale": 0.0}, "logit_scale"),
        ({"text": {"suffix": "", "max_tokens": 10**9}}, "max_tokens"),
    ],
)
def test_manifests_that_contradict_themselves(
    folder: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    copy = tmp_path / "clap"
    shutil.copytree(folder, copy)
    table = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**table, **change}))
    with pytest.raises(EdgeAacError, match=words):
        open_bundle(str(copy))


def test_filters_that_are_none(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clap"
    shutil.copytree(folder, copy)
    np.save(copy / "mel_filters.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match="manifest vouches for"):
        ClipEncoder(open_bundle(str(copy)), ONE_THREAD)


def test_a_transform_that_is_no_hann_window_is_refused(clap_reference: Reference, tmp_path: Path) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(clap_reference.folder, copy)
    (weights,) = copy.rglob("CLAP_weights_2023.pth")
    weights.chmod(0o644)
    content = torch.load(weights, weights_only=True)
    key = "audio_encoder.base.htsat.spectrogram_extractor.stft.conv_real.weight"
    content["model"][key] *= 1.5
    torch.save(content, weights)
    with pytest.raises(DataError, match="their Fourier transform is another"):
        convert_clap(copy, tmp_path / "out", Provenance("x", "1", "MIT", ()), lambda _line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["."], 2, "--instructor"),
        (["none"], 66, "none"),
        ([".", "--instructor", ".", "--int8"], 2, "build-engine"),
    ],
)
def test_what_is_no_clap(
    tmp_path: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["convert", *words, "--output", "out"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (code, "")
    assert said in err and len(err.splitlines()) == 1
