"""A check of `edge-aac doctor --gpu`: how fast a bundle's engines caption here, beside the bound of the board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.boards import board_of
from edge_aac.board.gpu_clock import gpu_clock
from edge_aac.bundle.store import Bundle
from edge_aac.doctor.bundle import of_each_bundle
from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.engines.contract import TENSORRT

if TYPE_CHECKING:
    from benchmarks.boards import Board
    from benchmarks.roofline import Precision
    from edge_aac.engines.tensor_rt.engine import GpuIdentity
    from edge_aac.models.seq2seq import Captioner

LIMIT_S = 300.0
WARM_UP_WINDOWS, WINDOWS = 3, 12
SCENE_S = 20.0
STAGES = {"encode": ("stem", "encoder"), "decode": ("decoder",), "rerank": ("text_embedder",)}
"""Stage of a window → the graphs that it runs."""


@dataclass(frozen=True)
class Measured:
    """Medians over the windows of the demo scene.

    Attributes:
        stage_ms: milliseconds of each of :data:`STAGES`.
        tokens: length of the longest caption of a window, start and end counted.
    """

    stage_ms: Mapping[str, float]
    tokens: int


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return of_each_bundle(context, partial(_engines, context), LIMIT_S)


def _engines(context: Context, name: str) -> Iterator[Finding]:
    from edge_aac.bundle.store import open_bundle
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.engines.tensor_rt.engine import this_gpu
    from edge_aac.models.seq2seq import Captioner
    from edge_aac.models.settings import CaptionerSettings

    gpu = this_gpu()
    bundle = plans_first(open_bundle(name))
    planned = [role for role, forms in bundle.manifest.graphs.items() if forms[0].backend == TENSORRT]
    if not planned:
        yield Finding("failed", f"{name} holds no engine of TensorRT", f"run `{bundle.build_command}`")
        return
    settings = context.settings.get(CaptionerSettings)
    captioner = Captioner(bundle, EngineOptions("auto", cuda_graphs=settings.cuda_graph), settings.candidates)
    left = [role for role in bundle.manifest.graphs if role not in planned]
    beside = f", beside the processor's {' and '.join(left)}" if left else ""
    yield Finding("warning" if left else "ok", f"the engines of {', '.join(planned)} were loaded{beside}")
    measured = measure(captioner)
    stages = ", ".join(f"{stage} {ms:.2f} ms" for stage, ms in measured.stage_ms.items())
    total_ms = sum(measured.stage_ms.values())
    yield Finding("ok", f"a window takes {total_ms:.2f} ms: {stages} (captions of {measured.tokens} tokens)")
    runs = [f"{role} {ms:.3f} ms" for role, ms in run_ms(bundle).items()]
    yield Finding("ok", f"a run of each engine takes, with its copies: {', '.join(runs)}")
    clock = gpu_clock(context.root)
    board = board_of(gpu.architecture, gpu.multiprocessors, gpu.memory_gb, clock.highest if clock else None)
    if board is None:
        yield Finding("ok", f"what {gpu.name} could do at best is not known to edge-aac")
        return
    yield _share(captioner, gpu, board, measured)


def plans_first(bundle: Bundle) -> Bundle:
    """The bundle with TensorRT's engines before all other forms, whichever were faster when they were built."""
    graphs = {
        role: sorted(forms, key=lambda form: form.backend != TENSORRT) for role, forms in bundle.manifest.graphs.items()
    }
    return Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), bundle.opened_as)


def measure(captioner: Captioner) -> Measured:
    """Caption windows of the demo scene, one at a time."""
    from edge_aac.audio.features import filter_bank
    from edge_aac.audio.sources.demo import synthesise_demo
    from edge_aac.models.seq2seq import window_rng
    from edge_aac.timebase import SAMPLE_RATE
    from quantize.captioning import described, heard

    waveform = synthesise_demo(SCENE_S, 0)
    hop, length = SAMPLE_RATE // 100, 10 * SAMPLE_RATE
    fbanks = (filter_bank(waveform[index * hop : index * hop + length]) for index in range(WARM_UP_WINDOWS + WINDOWS))
    given = ((heard(fbank), window_rng(0, index)) for index, fbank in enumerate(fbanks))
    descriptions = list(described(captioner, given, 1))[WARM_UP_WINDOWS:]
    stages = {stage: median(getattr(each.latency_ms, stage) for each in descriptions) for stage in STAGES}
    longest = (
        max(len(captioner.tokenizer.encode(caption.text).ids) for caption in each.ranked) for each in descriptions
    )
    return Measured(stages, round(median(longest)) + 2)


def run_ms(bundle: Bundle) -> dict[str, float]:
    """Role → median milliseconds of a run of its engine in this process; of the decoder, that is a step."""
    from edge_aac.engines.tensor_rt.engine import DeviceContext

    times = DeviceContext.shared().times
    found = {
        role: times[path].median_ms
        for role, forms in bundle.manifest.graphs.items()
        for path in map(bundle.path, forms)
        if path in times
    }
    return {role: ms for role, ms in found.items() if ms is not None}


def _share(captioner: Captioner, gpu: GpuIdentity, board: Board, measured: Measured) -> Finding:
    """How much of each stage's time the board's peak rates explain."""
    try:
        from benchmarks.roofline import Decoding, bound, bundle_model
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        return Finding(
            "ok", "how near that is to the board's bound needs the package 'onnx'", "pip install 'edge-aac[build]'"
        )
    from edge_aac.bundle.manifest import Seq2SeqManifest
    from edge_aac.models.tokens import load_tokenizer

    manifest = captioner.bundle.manifest_of(Seq2SeqManifest)
    tokenizer = load_tokenizer(captioner.bundle.path(manifest.tokenizers.text))
    instruction = len(tokenizer.encode(manifest.instruction.strip()).ids)
    decoding = replace(
        Decoding.of(captioner.rules, bool(manifest.rerank.similarity), instruction), tokens=measured.tokens
    )
    parts = bundle_model(captioner.bundle, decoding).parts
    shares = []
    for stage, roles in STAGES.items():
        precisions = {role: _precision(captioner, gpu, role) for role in roles if role in parts}
        bounds = [bound(role, parts[role], board, precision) for role, precision in precisions.items() if precision]
        if len(bounds) < len(precisions):
            continue  # the processor's, of which the bound says nothing
        at_best = sum(each.ms for each in bounds)
        shares.append(f"{stage} {at_best:.3f} ms ({at_best / max(measured.stage_ms[stage], 1e-9):.0%})")
    return Finding("ok", f"at best it would take, on a {board.title}: {', '.join(shares)} of what it takes")


def _precision(captioner: Captioner, gpu: GpuIdentity, role: str) -> Precision | None:
    """The precision of the plan that runs here, as the bound knows it; None where none does."""
    from benchmarks.roofline import PRECISIONS

    here = [
        form.precision
        for form in captioner.bundle.manifest.graphs[role]
        if form.backend == TENSORRT and form.built_with.get("gpu") == gpu.name
    ]
    return next((precision for precision in PRECISIONS if precision in here[:1]), None)
