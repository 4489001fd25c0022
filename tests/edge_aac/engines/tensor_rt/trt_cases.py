"""The built-in bundle's graphs as stand-in plans, and what loads them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Engine, EngineOptions
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.models import seq2seq as captioner_module
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.engines.tensor_rt.cuda_stand_in import StandInCuda
from tests.edge_aac.engines.tensor_rt.trt_stand_in import STAND_IN_VARIABLE, StandInTensorRt, Ways
from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import stand_in_plan
from tests.edge_aac.fakes import described

MAX_CANDIDATES, CAPACITY, MEMORY_STEPS, MAX_TOKENS = 6, 32, 248, 48
ONE_THREAD = EngineOptions(threads=1)
_LARGEST = {
    "capacity": CAPACITY,
    "memory_steps": MEMORY_STEPS,
    "texts": MAX_CANDIDATES,
    "tokens": MAX_TOKENS,
    "tokens_of_text": MAX_TOKENS,
    "patches": 64,
}


@dataclass
class Installed:
    """Stand-ins where ``tensorrt`` and ``cuda.bindings.runtime`` are looked for."""

    cuda: StandInCuda
    tensorrt: StandInTensorRt


def install(monkeypatch: pytest.MonkeyPatch, ways: Ways | None = None, cuda_version: str = "12.9.2") -> Installed:
    """Put stand-ins in place of the real modules."""
    cuda = StandInCuda(cuda_version)
    tensorrt = StandInTensorRt(cuda, ways)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda.module)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt.module)
    return Installed(cuda, tensorrt)


def install_in_children(monkeypatch: pytest.MonkeyPatch, folder: Path, ways: Ways) -> None:
    """Let processes that are started from now on find the stand-ins."""
    (folder / "cuda" / "bindings").mkdir(parents=True)
    take = "import sys; from tests.edge_aac.engines.tensor_rt.trt_stand_in import of_the_environment"
    for path, index in (("cuda/bindings/runtime.py", 0), ("tensorrt.py", 1)):
        (folder / path).write_text(f"{take}\nsys.modules[__name__] = of_the_environment()[{index}]\n")
    repository = Path(__file__).parents[4]
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{repository}")
    monkeypatch.setenv(STAND_IN_VARIABLE, json.dumps(asdict(ways)))


def ranges(shapes: dict[str, list[int | str]], inputs: list[str], windows: int = 1) -> dict[str, list[list[int]]]:
    """Smallest, best and largest shapes of the inputs that have dynamic axes, for so many windows at once."""
    found = {}
    sizes = {**_LARGEST, "windows": windows, "rows": windows * MAX_CANDIDATES}
    for name in inputs:
        if any(isinstance(size, str) for size in shapes[name]):
            largest = [sizes[size] if isinstance(size, str) else size for size in shapes[name]]
            smallest = [1 if isinstance(size, str) else size for size in shapes[name]]
            found[name] = [smallest, largest, largest]
    return found


def plan_of(bundle: Bundle, role: GraphRole, folder: Path, ways: Ways | None = None, windows: int = 1) -> Path:
    """A graph of a bundle as a plan."""
    graph = bundle.manifest.graphs[role][0]
    inputs = list(load_engine(bundle, role, ONE_THREAD)[0].input_shapes)
    path = folder / f"{role}.engine"
    ways = ways or Ways()
    stand_in_plan(path, bundle.path(graph), ranges(graph.shapes, inputs, windows), ways.version, ways.half)
    return path


def roles_of(bundle: Bundle) -> tuple[GraphRole, ...]:
    """All graphs of a bundle."""
    return tuple(bundle.manifest.graphs)


def encoder_inputs(bundle: Bundle, seed: int) -> dict[str, np.ndarray]:
    """Noise for the encoder, of one window; no padding."""
    engine, graph = load_engine(bundle, "encoder", ONE_THREAD)
    random = np.random.default_rng(seed)
    inputs = {}
    for name, tensor in engine.description.inputs.items():
        shape = [1 if isinstance(size, str) else size for size in graph.shapes[name]]
        noise = random.normal(0, 0.5, shape)
        inputs[name] = np.zeros(shape, bool) if tensor.dtype == "bool" else noise.astype(tensor.dtype)
    return inputs


def cross_shape(bundle: Bundle, windows: int, memory_steps: int) -> tuple[int, ...]:
    """Shape of cross-attention keys of so many windows: (windows, layers, heads, steps, head_size)."""
    shapes = bundle.manifest.graphs["decoder"][0].shapes
    _, heads, steps, head_size = shapes["cross_keys_0"]
    layers = sum(name.startswith("cross_keys_") for name in shapes)
    return windows, layers, int(heads), memory_steps if isinstance(steps, str) else steps, int(head_size)


def captioner_of(
    bundle: Bundle,
    engines: dict[GraphRole, Engine],
    monkeypatch: pytest.MonkeyPatch,
    choices: Choices | None = None,
    candidates: int | None = None,
) -> Captioner:
    """A captioner with these engines, and the bundle's own for the other graphs."""

    def load(opened: Bundle, role: GraphRole, options: EngineOptions) -> tuple[Engine, object]:
        if role in engines:
            return engines[role], opened.manifest.graphs[role][0]
        return load_engine(opened, role, options)

    monkeypatch.setattr(captioner_module, "load_engine", load)
    return Captioner(bundle, ONE_THREAD, candidates, choices)


def engines_of(
    bundle: Bundle, folder: Path, roles: tuple[GraphRole, ...], ways: Ways | None = None, graphs: bool = True
) -> dict[GraphRole, Engine]:
    """Plans of these graphs, loaded into one context."""
    context = DeviceContext()
    plans = {role: plan_of(bundle, role, folder, ways) for role in roles}
    return {role: TensorRtEngine(plan, context, bundle.build_command, graphs) for role, plan in plans.items()}


def fbank(seed: int) -> np.ndarray:
    """Noise that no two seeds share."""
    return np.random.default_rng(seed).normal(0, 0.5, (998, 128)).astype(np.float32)


def noise_described(captioner: Captioner, seed: int) -> Description:
    """A window of noise, captioned."""
    return described(captioner, fbank(seed), window_rng(seed, 0))


def same(one: Description, other: Description, tolerance: float) -> None:
    """Both say the same, with the same scores."""
    assert [each.text for each in one.ranked] == [each.text for each in other.ranked]
    for mine, theirs in zip(one.ranked, other.ranked, strict=True):
        assert mine.log_likelihood == pytest.approx(theirs.log_likelihood, abs=tolerance)
        assert mine.hybrid == pytest.approx(theirs.hybrid, abs=tolerance)
    assert np.abs(one.audio_embedding - other.audio_embedding).max() <= tolerance
