"""Export: bundles that pass the gate run in the runtime, others are not written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

from edge_aac.bundle.store import open_bundle
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.bundles.export import export_bundle, graph_specs, text_part
from quantize.bundles.onnx_writer import OPSET, write_onnx
from quantize.bundles.training_data import left_out, training_data_of
from quantize.bundles.verify import gate, max_abs_difference, parent_outputs
from quantize.data.manifests import BrokenClip
from quantize.data.waveform_cache import CacheReport
from quantize.graphs.calibration import read_calibration
from quantize.models.graph_modules import GraphSpec, fold_weight_norm
from quantize.training.recipe import Recipe, recipe_from
from quantize.training.settings import CorpusRecipe, EventRecipe
from quantize.training.sources import SceneSource
from quantize.training.train import Run, load_run
from tests.edge_aac.fakes import described


class Quiet:
    def epoch(self, number: int, total: int, steps: int) -> None: ...
    def step(self, loss: float, scenes_per_s: float) -> None: ...
    def validated(self, scores: dict[str, float]) -> None: ...


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_recipe: Recipe, recordings: Path) -> Path:
    """A trained run."""
    folder = tmp_path_factory.mktemp("run")
    one_epoch = replace(
        small_recipe, events=EventRecipe(0.5), train=replace(small_recipe.train, epochs=1, scenes_per_epoch=16)
    )
    Run(one_epoch, SceneSource(one_epoch, recordings), folder).train(Quiet())
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Its bundle, and what was told meanwhile."""
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    return export_bundle(run, recordings, folder, {"measured": 1}, lines.append), lines


def test_bundle_runs_and_says_where_it_comes_from(run: Path, exported: tuple[Path, list[str]]) -> None:
    folder, lines = exported
    bundle = open_bundle(str(folder))
    assert {line.split(":")[0] for line in lines} == {"encoder", "decoder", "text_embedder"}
    assert all("max abs difference" in line for line in lines)
    for forms in bundle.manifest.graphs.values():
        for graph in forms:
            open_axes = {axis for shape in graph.shapes.values() for axis in shape if isinstance(axis, str)}
            assert open_axes <= {"windows", "rows", "capacity", "memory_steps", "texts", "tokens"}
            assert graph.max_abs_difference <= 1e-3
            model = onnx.load(str(bundle.path(graph)))
            assert [entry.version for entry in model.opset_import if not entry.domain] == [OPSET]
            # ONNX Runtime 1.23, the last for JetPack 6, reads up to IR version 11.
            assert model.ir_version <= 11
    captioner = Captioner(bundle)
    description = described(captioner, np.zeros((998, 128), np.float32), window_rng(0, 0))
    assert description.ranked
    assert bundle.manifest.quality == {"measured": 1}
    assert bundle.manifest.same_similarity == load_run(run)[2]["events"]["same_similarity"] == 0.5
    attributions = (folder / "ATTRIBUTIONS.csv").read_text(encoding="utf-8")
    assert attributions.count("author") == 1 + 6  # the header and the clips of fold 1
    card = (folder / "README.md").read_text(encoding="utf-8")
    for wanted in ("CC BY 3.0", "cannot do", "3 classes", "rain", '"measured": 1', "ATTRIBUTIONS.csv"):
        assert wanted in card


def test_calibrated_bundle_holds_the_ranges_of_its_own_graphs(run: Path, recordings: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    folder = export_bundle(run, recordings, tmp_path / "bundle", {}, lines.append, calibration_windows=3)
    manifest = open_bundle(str(folder)).manifest
    assert manifest.calibration and manifest.calibration.file == "calibration.json"
    calibration = read_calibration(folder / "calibration.json")
    assert (calibration.windows, calibration.source) == (3, "scenes of 6 recordings that it was trained on")
    assert {role: found.parent_sha256 for role, found in calibration.graphs.items()} == {
        role: forms[0].sha256 for role, forms in manifest.graphs.items()
    }
    assert any("quantising each of its layers" in line for line in lines)
    uncalibrated = export_bundle(run, recordings, tmp_path / "bundle", {}, lines.append)
    assert open_bundle(str(uncalibrated)).manifest.calibration is None
    assert not (uncalibrated / "calibration.json").exists()


def test_export_replaces_a_bundle_but_nothing_else(
    run: Path, exported: tuple[Path, list[str]], recordings: Path, tmp_path: Path
) -> None:
    target = shutil.copytree(exported[0], tmp_path / "bundle")
    export_bundle(run, recordings, target, {}, lambda line: None)
    assert open_bundle(str(target)).manifest.quality == {}
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(DataError, match="holds no bundle"):
        export_bundle(run, recordings, other, {}, lambda line: None)
    (other / "manifest.json").write_text('{"name": "a browser extension"}', encoding="utf-8")
    with pytest.raises(DataError, match="schema"):
        export_bundle(run, recordings, other, {}, lambda line: None)
    assert (other / "cat.jpg").read_bytes() == b"cat"
    (target / "my-notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"my-notes\.txt"):
        export_bundle(run, recordings, target, {}, lambda line: None)
    assert (target / "my-notes.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(DataError, match="is a file"):
        export_bundle(run, recordings, target / "my-notes.txt", {}, lambda line: None)


def test_failed_gate_leaves_the_old_bundle(
    run: Path,
    exported: tuple[Path, list[str]],
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = shutil.copytree(exported[0], tmp_path / "bundle")
    before = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    monkeypatch.setattr("quantize.bundles.verify.MAX_ABS_DIFFERENCE", 1e-12)
    with pytest.raises(DataError, match="differs from torch"):
        export_bundle(run, recordings, target, {}, lambda line: None)
    assert json.loads((target / "manifest.json").read_text(encoding="utf-8")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_gate_measures_a_changed_weight(run: Path, exported: tuple[Path, list[str]], recordings: Path) -> None:
    folder, _ = exported
    trainee, tokenizer, recipe = load_run(run)
    text = text_part(run, trainee, tokenizer)
    fold_weight_norm(trainee.captioner)
    make_spec = graph_specs(trainee.captioner, text, training_data_of(recipe_from(recipe), recordings))["decoder"]

    def difference() -> float:
        spec: GraphSpec = make_spec()
        return max_abs_difference(folder / "decoder.fp32.onnx", spec.checks, parent_outputs(spec))

    gate("decoder", difference())
    with torch.no_grad():
        trainee.captioner.lm_head.weight[7] *= 3.0
    with pytest.raises(DataError, match="decoder differs"):
        gate("decoder", difference())


def test_gate_takes_no_number_that_is_none(run: Path, recordings: Path, tmp_path: Path) -> None:
    trainee, tokenizer, recipe = load_run(run)
    fold_weight_norm(trainee.captioner)
    data_used = training_data_of(recipe_from(recipe), recordings)
    specs = graph_specs(trainee.captioner, text_part(run, trainee, tokenizer), data_used)
    spec = specs["text_embedder"]()
    (path,) = write_onnx(spec, tmp_path / "graph.onnx")
    expected = parent_outputs(spec)
    assert max_abs_difference(path, spec.checks, expected) < 1e-4
    expected[0][0][0, 0] = np.nan
    assert max_abs_difference(path, spec.checks, expected) == float("inf")


@pytest.mark.parametrize("difference", [2e-3, float("inf"), float("nan")])
def test_gate_refuses(difference: float) -> None:
    with pytest.raises(DataError):
        gate("encoder", difference)


def test_training_data_of_a_corpus_leave_out_what_the_run_left_out(small_recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    rows = ["file,caption,license,author"]
    for number in range(3):
        sound = 0.1 * np.random.default_rng(number).standard_normal(32_000)
        soundfile.write(tmp_path / "clips" / f"{number}.wav", np.clip(sound, -1, 1), 16_000)
        rows.append(f"{number}.wav,thing {number} rattles,CC0,somebody")
    (tmp_path / "clips" / "broken.wav").write_bytes(b"no sound at all")
    (tmp_path / "captions.csv").write_text("\n".join([*rows, "broken.wav,a door slams,CC0,nobody"]))
    recipe = replace(small_recipe, corpus=CorpusRecipe("folder", "captions.csv", "clips"))
    run = tmp_path / "run"
    run.mkdir()
    CacheReport((), (BrokenClip("broken.wav", "no sound"),)).write(run)
    data_used = training_data_of(recipe, tmp_path, left_out(run))
    assert [recording.file for recording in data_used.recordings] == ["0.wav", "1.wav", "2.wav"]
    assert {(recording.license, recording.author) for recording in data_used.recordings} == {("CC0", "somebody")}
    assert data_used.fbanks.shape == (3, 998, 128) and data_used.texts[2] == "thing 2 rattles"
    with pytest.raises(DataError):
        training_data_of(recipe, tmp_path)


def test_export_of_nothing_is_one_sentence(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(InputMissingError, match="edge-aac train"):
        export_bundle(tmp_path, recordings, tmp_path / "out", {}, lambda line: None)
