"""`edge-aac build-engine` of models that hear clips: CLAP, which ranks labels, and Pengi, which answers prompts.

TensorRT is stood in for, as in test_build_plans.py and test_plan_building.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import Bundle, check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models import clip_encoder as clip_module
from edge_aac.models import prompted as prompted_module
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.prompted import Prompted
from quantize.bundles.convert import Provenance
from quantize.bundles.convert_clap import convert_clap
from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
from quantize.device.build import BuildOptions, build_engines
from quantize.device.check_windows import check_scene
from quantize.device.cpu import forms as cpu_forms
from quantize.device.kinds.choice import checked_kind
from quantize.device.kinds.prompted import CheckedPrompted
from quantize.device.tensorrt.builder import BuildRequest
from quantize.device.tensorrt.plan_building import PlanRequest, build_plan
from quantize.graphs.calibration import read_calibration
from quantize.graphs.front_end import front_end
from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import OnnxFile
from tests.edge_aac.engines.tensor_rt.trt_api import VERSIONS
from tests.edge_aac.engines.tensor_rt.trt_cases import install
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.device.build_cases import built, contents, precisions, spoil
from tests.quantize.graphs.int8_cases import FLOAT
from tests.quantize.models.audio_language_reference import Reference

pytestmark = pytest.mark.usefixtures("quick_build")

PROMPTS = ("generate audio caption", "question: is it rain?")
WORDS = [f"the sound of {word}" for word in ("rain", "a dog", "thunder", "birds", "a clock")]
IN_INT8 = ["onnxruntime int8", "onnxruntime fp32"]
EXPORTED = ["onnxruntime fp32"]


@pytest.fixture(scope="module")
def clap_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Reference.of("EDGE_AAC_REFERENCE_CLAP", "clap_tiny").folder
    provenance = Provenance("clap", "1", "MIT", ())
    return convert_clap(folder, tmp_path_factory.mktemp("exported") / "clap", provenance, lambda line: None)


@pytest.fixture(scope="module")
def pengi_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = prompted_source(Reference.of("EDGE_AAC_REFERENCE_PENGI", "pengi_tiny").folder)
    assert source is not None
    output = tmp_path_factory.mktemp("exported") / "pengi"
    return convert_prompted(source, output, prompted_provenance(source, "pengi"), lambda line: None)


@pytest.fixture
def clap(clap_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clap_bundle, tmp_path / "clap")


@pytest.fixture
def pengi(pengi_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pengi_bundle, tmp_path / "pengi")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    (tmp_path / "sound").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "sound" / f"{number}.wav", check_scene(number)[: 4 * 16_000], 16_000)
    return tmp_path / "sound"


def _options(backend: str = "onnxruntime") -> EngineOptions:
    return EngineOptions(backend, 1)  # type: ignore[arg-type]


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.1, samples).astype(np.float32)


def _answers(bundle: Bundle, backend: str = "onnxruntime") -> list[str]:
    model = Prompted(bundle, _options(backend))
    heard = model.hear(_noise(model.manifest.clip.samples))
    return [text for prompt in PROMPTS for text in model.answer(heard, prompt).texts]


def _of_clip(bundle: Bundle, backend: str = "onnxruntime") -> np.ndarray:
    model = ClipEncoder(bundle, _options(backend))
    return np.concatenate([model.embed_clip(_noise(model.clip.samples))[np.newaxis], model.embed(WORDS)])


def test_int8_forms_of_a_clap(clap: Path) -> None:
    before = _of_clip(open_bundle(str(clap)))
    report, _ = built(BuildOptions(str(clap), backend="onnxruntime", threads=1))
    assert report.failure == "" and report.written and report.check_windows == 12
    bundle = open_bundle(str(clap))
    check_all(bundle)
    for form in report.forms:
        assert form.agreement is not None and form.agreement.captions_equal == 1.0 and form.timing is not None
        assert precisions(clap)[form.role] == (IN_INT8 if form.written else EXPORTED)
    assert any(form.written for form in report.forms)
    after = _of_clip(bundle)
    cosines = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosines.min() >= 0.99


def test_int8_forms_of_a_pengi(pengi: Path) -> None:
    report, _ = built(BuildOptions(str(pengi), backend="onnxruntime", threads=1))
    assert {form.role for form in report.forms} == {"encoder", "prompt_encoder", "decoder"}
    for form in report.forms:
        assert form.agreement is not None and form.timing is not None
        front = front_end(OnnxFile(pengi / f"{form.role}.fp32.onnx"))
        assert bool(front) == (form.role == "encoder")
        if form.written:
            left = {node.name for node in onnx.load(pengi / form.graph.file, load_external_data=False).graph.node}
            assert front <= left
    assert report.written == (report.failure == "")
    check_all(open_bundle(str(pengi)))
    assert len(_answers(open_bundle(str(pengi)))) == 10
    text = report.to_text()
    assert "greedy captions" not in text


def _spoil_forms(monkeypatch: pytest.MonkeyPatch, *roles: str) -> None:
    quantise = cpu_forms.dynamic_int8

    def spoiled(parent: Path, output: Path, *rest: Any) -> list[Path]:
        files = quantise(parent, output, *rest)
        if parent.name.startswith(roles):
            spoil(output)
        return files

    monkeypatch.setattr(cpu_forms, "dynamic_int8", spoiled)


def test_weights_in_blocks_of_a_pengi(pengi: Path, only_blocks: None) -> None:
    report, _ = built(BuildOptions(str(pengi), backend="onnxruntime", threads=1))
    assert report.failure == "" and {form.graph.precision for form in report.forms} == {"int8_blocks"}
    written = {form.role for form in report.forms if form.written}
    assert {"encoder", "decoder"} <= {form.role for form in report.forms}
    assert written and all(precisions(pengi)[role][0] == "onnxruntime int8_blocks" for role in written)
    bundle = open_bundle(str(pengi))
    check_all(bundle)
    encoder = OnnxFile(bundle.path(bundle.manifest.graphs["encoder"][0]))
    kept = {node_name(node) for node in encoder.graph.node}
    assert front_end(OnnxFile(bundle.path(bundle.manifest.graphs["encoder"][-1]))) <= kept, "up to the logarithm: fp32"
    assert all(_answers(bundle))


def test_of_forms_none_of_which_is_faithful_nothing_is_written(clap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil_forms(monkeypatch, "encoder", "text_embedder")
    before = contents(clap)
    report, _ = built(BuildOptions(str(clap), backend="onnxruntime", threads=1))
    assert "embeddings differ" in report.failure and not report.written
    assert contents(clap) == before


def test_a_decoder_that_writes_other_tokens_is_refused(pengi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil_forms(monkeypatch, "decoder")
    leave = ("encoder", "prompt_encoder")
    before = contents(pengi)
    report, _ = built(BuildOptions(str(pengi), backend="onnxruntime", threads=1, leave=leave))
    assert "of the likeliest tokens are equal" in report.failure and not report.written
    assert contents(pengi) == before


def test_forms_of_another_kind_of_processor_are_left_aside(
    clap: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    built(BuildOptions(str(clap), backend="onnxruntime", threads=1, leave=("encoder",)))
    table = json.loads((clap / MANIFEST).read_text())
    form = table["graphs"]["text_embedder"][0]
    assert form["precision"] == "int8"
    form["built_with"]["machine"] = "another"
    (clap / MANIFEST).write_text(json.dumps(table))
    model = ClipEncoder(open_bundle(str(clap)), _options("auto"))
    assert model.embed(WORDS).shape[0] == len(WORDS)
    (line,) = [record.getMessage() for record in caplog.records if "was built for processors of kind" in record.message]
    assert "another" in line and "build-engine --bundle" in line


def test_tensorrt_asks_for_recordings(clap: Path, pengi: Path, board: list[BuildRequest]) -> None:
    for folder in (clap, pengi):
        with pytest.raises(InputMissingError, match="--recordings"):
            build_engines(BuildOptions(str(folder), backend="tensorrt"), lambda line: None)
    assert not board


def test_plans_of_a_clap(clap: Path, board: list[BuildRequest], recordings: Path) -> None:
    before = _of_clip(open_bundle(str(clap)))
    report, lines = built(BuildOptions(str(clap), backend="tensorrt", threads=1, recordings=recordings))
    assert report.failure == "" and report.written and report.check_windows == 12 + 2
    first = {role: forms[0] for role, forms in precisions(clap).items()}
    assert first["text_embedder"] == "tensorrt fp16" and first["encoder"] == "tensorrt int8+fp16"
    assert any("Each layer quantised alone" in line for line in lines)
    profiles = {request.onnx.name.partition(".")[0]: request.profiles for request in board}
    assert profiles["text_embedder"]["token_ids"] == ((1, 1), (8, 32), (16, 64))
    assert profiles["encoder"]["log_mel"] == ((1, 401, 32),) * 3
    bundle = open_bundle(str(clap))
    check_all(bundle)
    assert ClipEncoder(bundle, _options("auto")).identity.backend == "tensorrt"
    after = _of_clip(bundle, "tensorrt")
    cosines = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosines.min() >= 0.99
    assert bundle.manifest.calibration is not None
    assert read_calibration(bundle.path(bundle.manifest.calibration)).windows == 2


def test_plans_of_a_pengi(pengi: Path, board: list[BuildRequest], recordings: Path) -> None:
    report, _ = built(BuildOptions(str(pengi), backend="tensorrt", threads=1, recordings=recordings))
    assert report.failure == "" and report.written
    forms = precisions(pengi)
    assert all(forms[role][0] == "tensorrt fp16" for role in ("prompt_encoder", "decoder"))
    profiles = {request.onnx.name.partition(".")[0]: request.profiles for request in board}
    assert profiles["encoder"] == profiles["prompt_encoder"] == {}
    assert profiles["decoder"]["prefix"] == ((1, 0, 32), (5, 0, 32), (8, 12, 32))
    assert profiles["decoder"]["token_ids"] == ((1, 0), (5, 1), (8, 52))
    assert profiles["decoder"]["self_keys_1"] == ((1, 4, 1, 8), (5, 4, 64, 8), (8, 4, 64, 8)), "all positions there are"
    assert any("the beams of one answer: 5, as the bundle says" in note for note in report.notes)
    bundle = open_bundle(str(pengi))
    source = bundle.path(bundle.manifest.graphs["encoder"][-1])
    file, exported = OnnxFile(source), OnnxFile(pengi / "encoder.fp32.onnx")
    types, exported_types = file.element_types(), exported.element_types()
    front = front_end(exported)
    made = {output for node in exported.graph.node if node.name in front for output in node.output}
    floats = [name for name in made if exported_types[name] == FLOAT]
    assert len(floats) > 5 and all(types[name] == FLOAT for name in floats), "the front end stays fp32"
    model = Prompted(bundle, _options("tensorrt"))
    assert model.identity.backend == "tensorrt"
    assert len(_answers(bundle, "tensorrt")) == 10


def _plans(bundle: Bundle, folder: Path, lines: Callable[[str], None]) -> dict[str, TensorRtEngine]:
    """The exported graphs of a bundle, built and loaded through the recorded interfaces."""
    kind = checked_kind(bundle)
    parents = {role: forms[0] for role, forms in bundle.manifest.graphs.items()}
    clip = [_noise(bundle.manifest.clip.samples)]  # type: ignore[attr-defined]
    reference = kind.outputs(bundle, clip, _options(), None)
    samples = kind.samples(bundle, clip, _options(), reference)
    engines = {}
    for role, parent in parents.items():
        request = PlanRequest(
            onnx=bundle.path(parent),
            output=folder / f"{role}.engine",
            timing_cache=folder / "timing.cache",
            profiles=kind.profiles(role, parents, samples, 1, None),
            workspace_bytes=1 << 28,
            tactic_dram_bytes=1 << 29,
            optimization_level=3,
        )
        build_plan(request, lines, lambda: True)
        engines[role] = TensorRtEngine(request.output, DeviceContext.shared())
    return engines


@pytest.mark.parametrize("version", VERSIONS)
def test_plans_through_the_recorded_interfaces(
    version: str, clap_bundle: Path, pengi_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built and run call by call as TensorRT and CUDA offer them; a step's empty prefix goes through them, too."""
    install(monkeypatch, Ways(version=version))
    for path, module, run in ((clap_bundle, clip_module, _of_clip), (pengi_bundle, prompted_module, _answers)):
        bundle = open_bundle(str(path))
        want = run(bundle)
        (tmp_path / path.name).mkdir()
        engines = _plans(bundle, tmp_path / path.name, lambda line: None)

        def load(opened: Bundle, role: str, options: EngineOptions, engines: Any = engines) -> tuple[Any, Any]:
            return engines[role], opened.manifest.graphs[role][0]

        with monkeypatch.context() as patched:
            patched.setattr(module, "load_engine", load)
            found = run(bundle)
        if isinstance(want, np.ndarray):
            np.testing.assert_allclose(np.asarray(found), want, atol=1e-5)
        else:
            assert found == want


def test_a_table_of_labels_takes_as_many_runs_as_a_plan_needs(
    clap_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Ways())
    bundle = open_bundle(str(clap_bundle))
    engines = _plans(bundle, tmp_path, lambda line: None)
    labels = [f"sound {number}" for number in range(40)]
    want = ClipEncoder(bundle, _options()).embed(labels)
    monkeypatch.setattr(
        clip_module, "load_engine", lambda opened, role, _: (engines[role], opened.manifest.graphs[role][0])
    )
    np.testing.assert_allclose(ClipEncoder(bundle, _options()).embed(labels), want, atol=1e-5)


def test_more_beams_than_a_plan_was_built_for_are_refused_in_a_sentence(
    pengi_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Ways())
    bundle = open_bundle(str(pengi_bundle))
    engines = _plans(bundle, tmp_path, lambda line: None)
    monkeypatch.setattr(
        prompted_module, "load_engine", lambda opened, role, _: (engines[role], opened.manifest.graphs[role][0])
    )
    model = Prompted(bundle, _options(), {"beams": 9})
    heard = model.hear(_noise(model.manifest.clip.samples))
    with pytest.raises(DataError, match="--candidates 9"):
        model.answer(heard, PROMPTS[0])


def test_a_bundle_without_prompts_is_checked_by_its_captions(tmp_path: Path) -> None:
    source = prompted_source(Reference.of("EDGE_AAC_REFERENCE_CLAPCAP", "clapcap_tiny").folder)
    assert source is not None
    bundle = open_bundle(
        str(convert_prompted(source, tmp_path / "c", prompted_provenance(source, "c"), lambda _: None))
    )
    kind = CheckedPrompted(bundle)
    sounds = kind.check_sounds()[:2]
    found = kind.outputs(bundle, sounds, _options(), None)
    assert len(found.answers) == 1 and found.prompts.size == 0
    agreed = found.compared(kind.outputs(bundle, sounds, _options(), found))
    assert agreed.complaints() == [] and agreed.text_cosine == 1.0
