"""`edge-aac build-engine`: faithful and faster forms are written, nothing else is, whatever happens meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_aac.bundle.build_reports import last_report
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines import processor
from edge_aac.engines.tensor_rt import engine as tensor_rt
from edge_aac.errors import DataError, DeviceError, EdgeAacError
from edge_aac.models.seq2seq import Captioner
from quantize.cli.build_engine import build_engine
from quantize.device import build
from quantize.device.build import BuildOptions, build_engines
from quantize.device.cpu import forms as cpu_forms
from quantize.device.kinds import captioners
from quantize.device.timing import Timing
from tests.edge_aac.fakes import described
from tests.quantize.device.build_cases import (
    FASTER,
    ROLES,
    SLOWER,
    SMALL,
    built,
    contents,
    precisions,
    spoil,
)
from tests.system.command import environment

pytestmark = pytest.mark.usefixtures("quick_build")

ROOT = Path(__file__).parents[3]


def test_int8_forms_of_every_graph_come_first(folder: Path) -> None:
    before = contents(folder)
    report, _ = built(BuildOptions(str(folder), threads=1))
    assert report.failure == "" and report.written
    assert precisions(folder) == {role: ["onnxruntime int8", "onnxruntime fp32"] for role in ROLES}
    bundle = open_bundle(str(folder))
    for forms in bundle.manifest.graphs.values():
        int8, parent = forms
        assert int8.parent_sha256 == parent.sha256
        assert 0 < int8.max_abs_difference < 1
        if int8.file != "stem.int8.onnx":  # its depthwise convolutions stay fp32, and are exported in FP16
            assert bundle.size(int8) < bundle.size(parent)
        assert {"onnxruntime", "edge_aac"} <= set(int8.built_with)
        assert processor.built_here().items() <= int8.built_with.items()
    assert Captioner(bundle).encoder_graph.precision == "int8"
    after = contents(folder)
    assert all(after[name] == content for name, content in before.items() if name != MANIFEST)
    for form in report.to_table()["forms"]:
        assert form["agreement"]["captions_equal"] >= 0.95
        assert form["written"] and form["file"] in after


def test_a_build_without_vnni_has_smaller_weights_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "saturates", lambda: True)
    built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL))
    bundle = open_bundle(str(folder))
    int8 = bundle.manifest.graphs["text_embedder"][0]
    assert (int8.precision, int8.built_with["largest_weight"]) == ("int8", "63")
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(str(bundle.path(int8))).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
    ]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == 63


def test_a_form_that_is_slower_here_is_not_written_and_goes_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=("encoder",))
    built(options)

    def slow_decoder(role: str, *_: object) -> Timing:
        return SLOWER if role == "decoder" else FASTER

    monkeypatch.setattr(cpu_forms, "timing", slow_decoder)
    report, _ = built(options)
    assert precisions(folder)["decoder"] == ["onnxruntime fp32"]
    assert precisions(folder)["text_embedder"] == ["onnxruntime int8", "onnxruntime fp32"]
    assert not list(folder.glob("decoder.int8*"))
    (entry,) = (form for form in report.to_table()["forms"] if form["graph"] == "decoder")
    assert not entry["written"] and "1.30" in entry["outcome"] and "file" not in entry
    assert "1.30 of fp32's time" in report.to_text()


def test_where_nothing_is_faster_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: SLOWER)
    before = contents(folder)
    report, _ = built(BuildOptions(str(folder), threads=1, leave=SMALL))
    assert not report.written and report.failure == ""
    assert contents(folder) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_form_that_is_not_faithful_gives_way_to_fp32(
    folder: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise = cpu_forms.dynamic_int8

    def spoiled(parent: Path, output: Path, *rest: Any) -> list[Path]:
        files = quantise(parent, output, *rest)
        if parent.name.startswith(role):
            spoil(output)
        return files

    monkeypatch.setattr(cpu_forms, "dynamic_int8", spoiled)
    report, _ = built(BuildOptions(str(folder), threads=1))
    assert report.written and report.failure == ""
    (refused,) = [form for form in report.forms if "unfaithful" in form.outcome]
    assert refused.role == role and not refused.written and refused.outcome.endswith("fp32 stays")
    assert "it parts from " in refused.outcome and " to /" in refused.outcome
    for other in ROLES:
        assert ("onnxruntime int8" in precisions(folder)[other]) == (other != role)


def test_a_graph_can_be_left_as_it_was_exported(folder: Path) -> None:
    report, _ = built(BuildOptions(str(folder), threads=1, leave=SMALL))
    assert report.written and [form.role for form in report.forms] == ["text_embedder"]
    assert all(precisions(folder)[role] == ["onnxruntime fp32"] for role in SMALL)


def test_the_verb_says_what_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quantise = cpu_forms.dynamic_int8

    def spoiled(parent: Path, output: Path, *rest: Any) -> list[Path]:
        files = quantise(parent, output, *rest)
        spoil(output)
        return files

    monkeypatch.setattr(cpu_forms, "dynamic_int8", spoiled)
    with pytest.raises(DataError, match=r"nothing was written.*--leave") as caught:
        build_engine(
            args=["--bundle", str(folder), "--backend", "onnxruntime", "--leave", "encoder", "--leave", "decoder"],
            standalone_mode=False,
        )
    assert "\n" not in str(caught.value)
    table = json.loads(capsys.readouterr().out)
    assert table["schema"] == "edge-aac/build/1" and not table["written"]
    assert table["failure"] in str(caught.value)


def test_tensorrt_where_it_is_missing_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tensor_rt.GpuIdentity:
        raise DeviceError("TensorRT is not installed: install JetPack")

    monkeypatch.setattr(build, "this_gpu", missing)
    with pytest.raises(DeviceError, match="TensorRT is not installed"):
        build_engines(BuildOptions(str(folder), backend="tensorrt"), lambda line: None)
    report, _ = built(BuildOptions(str(folder), threads=1, leave=SMALL))
    assert report.written
    assert any("TensorRT is not installed" in note for note in report.notes)
    report, _ = built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL))
    assert report.notes == []


KILLED = """
import os, signal, sys
from pathlib import Path
from quantize.device import build, timing as form_timing
from quantize.device.cpu import forms as cpu_forms
from quantize.device.kinds import captioners
from quantize.graphs.calibration import Calibration, GraphCalibration, observe
from quantize.device.check_windows import check_windows

folder, point = sys.argv[1:]
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
captioners.check_windows = lambda: check_windows(2)
cpu_forms.timing = lambda *_: form_timing.Timing(10.0, 5.0, 0.5, 9)
cpu_forms.in_blocks = lambda *_: None

def half_written(parent, output, *rest):
    output.write_bytes(b"half")
    kill()

if point == "quantising":
    cpu_forms.dynamic_int8 = half_written
if point == "gate":
    cpu_forms.agreement = lambda *_: kill()
if point == "committing":
    replace = os.replace
    def replace_and_die(source, target):
        replace(source, target)
        kill()
    os.replace = replace_and_die
options = build.BuildOptions(folder, backend="onnxruntime", threads=1, leave=("encoder", "decoder"))
build.build_engines(options, lambda line: None)
"""


@pytest.mark.parametrize("point", ["quantising", "gate", "committing"])
def test_a_killed_build_leaves_the_old_engines_working(small_build: Path, tmp_path: Path, point: str) -> None:
    folder = shutil.copytree(small_build, tmp_path / "bundle")
    options = BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL)
    before = open_bundle(str(folder)).manifest
    assert before.graphs["text_embedder"][0].precision == "int8"
    command = [sys.executable, "-c", KILLED, str(folder), point]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    bundle = open_bundle(str(folder))
    assert bundle.manifest == before
    assert described(Captioner(bundle), np.zeros((998, 128), np.float32), np.random.default_rng(0)).ranked
    built(options)
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "ATTRIBUTIONS.csv", MANIFEST} | {
        file.file for file in open_bundle(str(folder)).manifest.files()
    }


FRESH = """
import json, sys
sys.modules["optimum"] = None  # it stands on torch, which a device has not
from edge_aac.errors import EdgeAacError
from quantize.cli.build_engine import build_engine

try:
    build_engine(args=sys.argv[1:], prog_name="edge-aac build-engine", standalone_mode=False)
    code = 0
except EdgeAacError as error:
    print(error, file=sys.stderr)
    code = error.exit_code
loaded = {"torch", "transformers", "huggingface_hub", "requests"} & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
sys.exit(code)
"""


def _fresh(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FRESH, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(env), capture_output=True, text=True, timeout=300, check=False
    )


def test_the_verb_in_a_process_of_its_own_without_torch(folder: Path, tmp_path: Path) -> None:
    """As on a device, timings and all, of the two graphs that build soonest; a built-in bundle is built among the
    user's."""
    data = tmp_path / "data"
    built_roles = ["decoder", "text_embedder"]
    left = [word for role in ROLES if role not in built_roles for word in ("--leave", role)]
    result = _fresh("--bundle", DEFAULT_BUNDLE, "--threads", "1", *left, env={"XDG_DATA_HOME": str(data)})
    assert result.returncode == 0, result.stderr
    table = json.loads(result.stdout)
    assert table["gate"]["check_windows"] >= 40
    assert list(dict.fromkeys(form["graph"] for form in table["forms"])) == built_roles
    for form in table["forms"]:
        lost = any(words in form["outcome"] for words in ("unfaithful", "not beside the others", "but slower than"))
        assert form["written"] == (form["timing"]["ratio"] <= cpu_forms.FASTER and not lost)
    for role, (first, *_) in table["order"].items():
        written = [form["precision"] for form in table["forms"] if form["graph"] == role and form["written"]]
        assert [first] == ([f"onnxruntime {precision}" for precision in written] or ["onnxruntime fp32"])
    assert {form["graph"] for form in table["forms"] if form["precision"] == "int8_blocks"} >= {"decoder"}
    assert "decoder" in result.stderr and "ratio" in result.stderr
    assert "text_embedder: optimum is not installed here, so its INT8 form was not tried" in table["notes"]
    own = data / "edge-aac" / "bundles" / DEFAULT_BUNDLE
    assert table["folder"] == str(own)
    assert own.is_dir() == table["written"]
    if table["written"]:
        assert precisions(own) == table["order"]


def test_tensorrt_in_a_process_of_its_own(folder: Path) -> None:
    if _has_tensorrt():
        pytest.skip("TensorRT is here")
    result = _fresh("--bundle", str(folder), "--backend", "tensorrt")
    assert result.returncode == DeviceError.exit_code
    assert len(result.stderr.splitlines()) == 1 and "TensorRT" in result.stderr


def _has_tensorrt() -> bool:
    try:
        tensor_rt.this_gpu()
    except EdgeAacError:
        return False
    return True


def test_a_build_that_leaves_every_graph_says_that_it_made_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No time is spent on a reference that nothing is compared with.
    monkeypatch.setattr(captioners, "caption_check_windows", lambda *_: pytest.fail("the check windows were captioned"))
    words = ["--bundle", str(folder), *(word for role in ROLES for word in ("--leave", role))]
    before = contents(folder)
    build_engine(args=words, standalone_mode=False)
    captured = capsys.readouterr()
    assert f"all {len(ROLES)} graphs stay as they were exported: no engine was made" in captured.err
    assert "engines written" not in captured.err and "nothing was written" in captured.err
    table = json.loads(captured.out)
    assert (table["forms"], table["written"]) == ([], False) and len(table["notes"]) >= 1
    kept = last_report(str(folder))
    assert kept is not None and kept["report"] == table, "for `edge-aac doctor --gpu`"
    assert contents(folder) == before


def test_leaving_every_graph_takes_earlier_engines_away(folder: Path) -> None:
    built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL))
    report, _ = built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=ROLES))
    assert report.written and report.outcome().startswith("no engine was made")
    assert precisions(folder) == {role: ["onnxruntime fp32"] for role in ROLES} == report.order
