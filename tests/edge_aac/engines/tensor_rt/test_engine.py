"""Plans run through stand-ins of TensorRT and CUDA that compute: the captions are those of ONNX Runtime.

No GPU and no TensorRT took part. What these tests prove is that the right calls of each version are made in the right
order, with the right buffers; not what a GPU gives for them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import DecodingMethod, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Engine
from edge_aac.engines.steps import CROSS_ATTENTION, Memory
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError, DeviceError, InputMissingError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.engines.tensor_rt.trt_api import VERSIONS
from tests.edge_aac.engines.tensor_rt.trt_cases import (
    MAX_CANDIDATES,
    ONE_THREAD,
    captioner_of,
    cross_shape,
    encoder_inputs,
    engines_of,
    fbank,
    install,
    noise_described,
    plan_of,
    roles_of,
    same,
)
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


@pytest.mark.parametrize(
    ("version", "cuda_version"), [*((version, "12.9.2") for version in VERSIONS), (VERSIONS[-1], "13.5.0")]
)
def test_captions_are_those_of_onnx_runtime(
    version: str, cuda_version: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = Ways(version=version)
    installed = install(monkeypatch, ways, cuda_version)
    engines = engines_of(bundle, tmp_path, roles_of(bundle), ways)
    plain = Captioner(bundle, ONE_THREAD)
    here = captioner_of(bundle, engines, monkeypatch)
    for seed in range(3):
        same(noise_described(here, seed), noise_described(plain, seed), 1e-5)
    assert installed.cuda.did["cudaGraphInstantiate"] == 1, "one graph serves all windows of a shape"
    assert "IExecutionContext.execute_async_v3" in installed.tensorrt.calls


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
def test_every_way_of_decoding(
    method: DecodingMethod, graphs: bool, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch)
    choices = Choices(method=method)
    plain = Captioner(bundle, ONE_THREAD, choices=choices)
    engines = engines_of(bundle, tmp_path, ("encoder", "decoder"), graphs=graphs)
    here = captioner_of(bundle, engines, monkeypatch, choices)
    for seed in range(2):
        same(noise_described(here, seed), noise_described(plain, seed), 1e-5)
    assert (installed.cuda.did["cudaGraphLaunch"] > 5) == graphs


@pytest.mark.parametrize(("encoded", "decoded", "runs"), [(2, 2, 3), (5, 2, 3), (2, 5, 3), (5, 5, 1), (1, 5, 5)])
def test_as_many_windows_at_once_as_both_plans_take(
    encoded: int, decoded: int, runs: int, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the encoder left on the device is decoded before it runs again, and each window is what it is alone."""
    installed = install(monkeypatch)
    context = DeviceContext()
    sizes: tuple[tuple[GraphRole, int], ...] = (("encoder", encoded), ("decoder", decoded))
    engines: dict[GraphRole, Engine] = {
        role: TensorRtEngine(plan_of(bundle, role, tmp_path, windows=windows), context) for role, windows in sizes
    }
    plain, here = Captioner(bundle, ONE_THREAD), captioner_of(bundle, engines, monkeypatch)
    windows = [Window(seed, WINDOW_SAMPLES, fbank(seed), -20.0, -3.0, -20.0) for seed in range(5)]
    found = here.describe(windows, [window_rng(seed, 0) for seed in range(5)])
    for seed, description in enumerate(found):
        assert isinstance(description, Description)
        same(description, noise_described(plain, seed), 1e-5)
    assert installed.cuda.did["cudaMemcpy2DAsync"] > 0, "within the device's memory"
    encoder = engines["encoder"]
    assert isinstance(encoder, TensorRtEngine) and encoder._runs == runs


@pytest.mark.parametrize("role", roles_of(open_bundle(DEFAULT_BUNDLE)))
def test_one_graph_swapped_alone(
    role: GraphRole, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the gate does it: what comes from the other backend goes through the host."""
    install(monkeypatch)
    plain = Captioner(bundle, ONE_THREAD)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, (role,)), monkeypatch)
    same(noise_described(here, 5), noise_described(plain, 5), 1e-5)


@pytest.mark.parametrize("cuda_version", ["12.9.2", "13.5.0"])
@pytest.mark.parametrize("one_memory", [True, False])
def test_nothing_goes_by_the_host_but_ids_and_logits(
    one_memory: bool, cuda_version: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a board, whose GPU has no memory of its own, logits are written where the host reads them."""
    installed = install(monkeypatch, cuda_version=cuda_version)
    installed.cuda.properties["integrated"] = int(one_memory)
    plain = Captioner(bundle, ONE_THREAD)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder")), monkeypatch)
    noise_described(here, 0)
    copied = installed.cuda.copied
    copied.clear()
    installed.cuda.did.clear()
    same(noise_described(here, 1), noise_described(plain, 1), 1e-5)
    steps = installed.cuda.did["cudaGraphLaunch"]
    logits = 0 if one_memory else 4 * here.rules.candidates * bundle.manifest.vocabulary_size
    encoder, _ = load_engine(bundle, "encoder", ONE_THREAD)
    heard = encoder_inputs(bundle, 0)
    given = encoder.run(heard)
    told = sum(array.nbytes for name, array in given.items() if name not in CROSS_ATTENTION)
    assert copied["device to pinned"] == told + steps * logits
    padding = given["cross_keys"].shape[3]
    fed = copied["pinned to device"] - sum(array.nbytes for array in heard.values()) - padding
    assert 0 < fed <= steps * (256 + 8), "token ids, aligned, and the step"
    assert installed.cuda.did["cudaMalloc"] == installed.cuda.did["cudaMallocHost"] == 0
    assert installed.cuda.did["cudaHostAlloc"] == 0
    assert installed.cuda.did["cudaStreamSynchronize"] == steps + 2
    assert installed.cuda.did["cudaStreamBeginCapture"] == 0


def test_a_graph_is_captured_anew_for_another_shape(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch)
    engines = engines_of(bundle, tmp_path, ("encoder", "decoder"))
    for count, captures in ((6, 1), (2, 2), (2, 2), (6, 3)):
        plain = Captioner(bundle, ONE_THREAD, count)
        here = captioner_of(bundle, engines, monkeypatch, candidates=count)
        same(noise_described(here, count), noise_described(plain, count), 1e-5)
        assert installed.cuda.did["cudaGraphInstantiate"] == captures


def test_half_precision_in_the_cache(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan's own types are kept on the device; the host sees float32."""
    half = tuple(
        name
        for role in ("encoder", "decoder")
        for name in bundle.manifest.graphs[role][0].shapes  # type: ignore[index]
        if name not in {"token_ids", "step"}
    )
    ways = Ways(half=half)
    install(monkeypatch, ways)
    choices = Choices(method="greedy")
    plain = Captioner(bundle, ONE_THREAD, choices=choices)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder"), ways), monkeypatch, choices)
    captioned = noise_described(here, 2)
    assert captioned.audio_embedding.dtype == np.float32
    same(captioned, noise_described(plain, 2), 0.05)
    assert captioned.best.log_likelihood != noise_described(plain, 2).best.log_likelihood, "nothing was rounded"


def test_types_that_differ_between_encoder_and_decoder(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch)
    context = DeviceContext()
    half = tuple(name for name in bundle.manifest.graphs["decoder"][0].shapes if name.startswith("cross"))
    engines = {
        "encoder": TensorRtEngine(plan_of(bundle, "encoder", tmp_path), context),
        "decoder": TensorRtEngine(plan_of(bundle, "decoder", tmp_path, Ways(half=half)), context),
    }
    here = captioner_of(bundle, engines, monkeypatch, Choices(method="greedy"))  # type: ignore[arg-type]
    greedy = Captioner(bundle, ONE_THREAD, choices=Choices(method="greedy"))
    same(noise_described(here, 2), noise_described(greedy, 2), 0.05)
    assert "pass through the host" in caplog.text


def test_a_plain_run_between_steps_spoils_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same context serves both; the graph of the step must not outlive what it was captured with."""
    install(monkeypatch)
    engine = engines_of(bundle, tmp_path, ("decoder",))["decoder"]
    onnx = load_engine(bundle, "decoder", ONE_THREAD)[0]
    random = np.random.default_rng(0)
    cross = random.standard_normal((2, *cross_shape(bundle, 1, 17))).astype(np.float32)
    _, layers, heads, memory_steps, head_size = cross[0].shape
    memory = Memory(cross[0], cross[1], np.zeros((1, memory_steps), bool))
    cache = np.zeros((1, heads, 8, head_size), np.float32)
    alone, disturbed = [], []
    inputs = {
        "token_ids": np.array([[5]]),
        "step": np.array([0]),
        "memory_padding": memory.padding,
        **{f"self_{kind}_{i}": cache for kind in ("keys", "values") for i in range(layers)},
        **{f"cross_{kind}_{i}": cross[k, :, i] for k, kind in enumerate(("keys", "values")) for i in range(layers)},
    }
    for found, between in ((alone, False), (disturbed, True)):
        steps = engine.open_steps(3, 8, memory)  # type: ignore[attr-defined]
        for step in range(6):
            found.append(steps.step(np.array([[4], [5], [6]]) + step, step))
            if between:
                outputs = engine.run(inputs)
                for name, expected in onnx.run(inputs).items():
                    assert np.abs(outputs[name] - expected).max() < 1e-5, name
    assert np.abs(np.array(alone) - np.array(disturbed)).max() < 1e-6


def _memory(cross: np.ndarray) -> Memory:
    """Keys that are values, and nothing is padding."""
    return Memory(cross, cross, np.zeros((len(cross), cross.shape[3]), bool))


def test_only_the_newest_window_owns_the_cache(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engine = engines_of(bundle, tmp_path, ("decoder",))["decoder"]
    memory = _memory(np.zeros(cross_shape(bundle, 1, 17), np.float32))
    older = engine.open_steps(1, 8, memory)  # type: ignore[attr-defined]
    newer = engine.open_steps(1, 8, memory)  # type: ignore[attr-defined]
    newer.step(np.array([[2]]), 0)
    with pytest.raises(RuntimeError, match="other windows"):
        older.step(np.array([[2]]), 0)
    with pytest.raises(IndexError, match="step 8"):
        newer.step(np.array([[2]]), 8)


def test_what_a_plan_was_not_built_for(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engines = engines_of(bundle, tmp_path, roles_of(bundle))
    cross = np.zeros(cross_shape(bundle, 1, 17), np.float32)
    decoder = engines["decoder"]
    rebuild = re.escape(bundle.build_command)
    known = cross.shape[3]
    for count, positions, steps in ((MAX_CANDIDATES + 1, 8, known), (1, 33, known), (1, 8, 249)):
        array = np.zeros((*cross.shape[:3], steps, cross.shape[4]), np.float32)
        command = f"{rebuild} --candidates {count}" if count > MAX_CANDIDATES else rebuild
        with pytest.raises(DataError, match=rf"decoder\.engine was built for .* up to .*run `{command}`"):
            decoder.open_steps(count, positions, _memory(array))  # type: ignore[attr-defined]
    two = np.concatenate([cross, cross])
    with pytest.raises(DataError, match="memory_padding up to"):
        decoder.open_steps(2, 8, _memory(two))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="do not fit"):
        decoder.open_steps(1, 8, _memory(cross[:, :-1]))  # type: ignore[attr-defined]
    before = decoder.open_steps(1, 8, _memory(cross)).step(np.array([[2]]), 0)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="memory_padding up to"):
        decoder.open_steps(2, 8, _memory(array))  # type: ignore[attr-defined]
    after = decoder.open_steps(1, 8, _memory(cross)).step(np.array([[2]]), 0)  # type: ignore[attr-defined]
    assert np.array_equal(before, after), "a refusal leaves the engine usable, with no shape half set"
    ids = np.ones((1, 200), np.int64)
    with pytest.raises(DataError, match=f"token_ids up to.*run `{rebuild}`"):
        engines["text_embedder"].run({"token_ids": ids, "attention_mask": ids})
    many = np.ones((MAX_CANDIDATES + 2, 9), np.int64)
    with pytest.raises(DataError, match=f"token_ids up to.*`{rebuild} --candidates {len(many)}`"):
        engines["text_embedder"].run({"token_ids": many, "attention_mask": many})
    with pytest.raises(DataError, match="takes"):
        engines["encoder"].run({"no such sound": np.zeros((1, 998, 128), np.float32)})
    with pytest.raises(DataError, match="is no decoder"):
        engines["encoder"].open_steps(1, 8, _memory(cross))  # type: ignore[attr-defined]


def test_a_window_of_rubbish_leaves_nothing_behind(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    engine = engines_of(bundle, tmp_path, ("decoder",))["decoder"]
    random = np.random.default_rng(1)
    good = random.standard_normal(cross_shape(bundle, 1, 17)).astype(np.float32)
    rubbish = np.full_like(good, np.nan)

    def logits() -> np.ndarray:
        steps = engine.open_steps(2, 8, _memory(good))  # type: ignore[attr-defined]
        return np.array([steps.step(np.array([[2], [7]]), step) for step in range(3)])

    before = logits()
    steps = engine.open_steps(2, 8, _memory(rubbish))  # type: ignore[attr-defined]
    with np.errstate(invalid="ignore"):
        assert np.isnan(steps.step(np.array([[2], [7]]), 0)).all()
    assert np.array_equal(logits(), before)


@pytest.mark.parametrize("content", [b"", b"stand-in plan\n", b"x" * 4000])
def test_a_file_that_is_no_plan(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    path = tmp_path / "encoder.engine"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"TensorRT 10\.3\.0 cannot load .*encoder\.engine \(.*magic.*\): run `build it`"
    ) as caught:
        TensorRtEngine(path, DeviceContext(), "build it")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputMissingError, match="absent.*run `build it`"):
        TensorRtEngine(tmp_path / "absent.engine", DeviceContext(), "build it")


def test_no_room_on_the_gpu(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    path = plan_of(bundle, "encoder", tmp_path)
    context = DeviceContext()
    installed.cuda.memory_bytes = 1_000
    with pytest.raises(DeviceError, match=r"could not give \d+ bytes .*out of memory.*fewer --candidates"):
        TensorRtEngine(path, context)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("cudaStreamSynchronize", "could not finish its work .*illegal memory access.*restart"),
        ("cudaMemcpyAsync", "could not copy from the host"),
        ("cudaMemcpy2DAsync", "could not copy within its memory"),
    ],
)
def test_a_gpu_that_fails(
    function: str, sentence: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder")), monkeypatch)
    installed.cuda.failing[function] = "cudaErrorIllegalAddress"
    with pytest.raises(DeviceError, match=sentence):
        noise_described(here, 0)


def test_memory_goes_back_with_the_engine(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    for _ in range(2):
        here = captioner_of(bundle, engines_of(bundle, tmp_path, roles_of(bundle)), monkeypatch)
        noise_described(here, 0)
        assert installed.cuda.allocated("device") > 1_000_000
        monkeypatch.undo()
        installed_again = install(monkeypatch)
        del here
        assert installed.cuda.allocated("device") == installed.cuda.allocated("pinned") == 0
        installed = installed_again
