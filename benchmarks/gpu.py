"""`edge-aac bench --gpu`: a window on TensorRT's engines, beside what the GPU can do, with and without CUDA graphs.

Without a GPU the same table says of each bundle that this has not run yet, and why. It never ran on a GPU: the tests
run it through stand-ins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.board_report import STAGES, plans_first
from benchmarks.report.scene import timed
from benchmarks.report.spread import Spread, by_stage, ratio, spread
from benchmarks.report.words import number, spread_words
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import TENSORRT, EngineOptions
from edge_aac.errors import DeviceError

if TYPE_CHECKING:
    from benchmarks.gpu_rates import GpuRates
    from benchmarks.roofline import Precision
    from edge_aac.models.seq2seq import Captioner
    from quantize.progress import Log

SCHEMA = "edge-aac/bench-gpu/1"
NOT_YET_RUN = "not yet run"
WINDOWS, WARM_UP = 30, 3
WIDTH = 140
"""Columns of the shown table."""
HEADS = ("", *(f"{stage} ms" for stage in ("features", *STAGES)), "share of the limit", "step ms", "without graphs")


def gpu_report(bundles: Sequence[str], log: Log, windows: int = WINDOWS, warm_up: int = WARM_UP) -> dict[str, Any]:
    """Measure each bundle on its engines; or say why that is not possible.

    Args:
        bundles: names or folders.
        log: is told each step.
        windows: how often a window is measured.
        warm_up: how often before that.

    Raises:
        EdgeAacError: a bundle cannot be opened, or an engine is of another GPU or fails.
    """
    from edge_aac.engines.tensor_rt.engine import DeviceContext, this_gpu

    opened = {name: plans_first(open_bundle(name)) for name in bundles}
    try:
        gpu = this_gpu()
        context = DeviceContext.shared()
    except DeviceError as why:
        return _report("none", {}, {name: _not_run(str(why)) for name in bundles})
    with_plans = {name: bundle for name, bundle in opened.items() if _planned(bundle)}
    rates = _rates(context, log) if with_plans else None
    rows = {}
    for name, bundle in opened.items():
        if rates is None or name not in with_plans:
            rows[name] = _not_run(f"{name} holds no engine of TensorRT: run `{bundle.build_command}`")
        else:
            rows[name] = _measured(bundle, context, rates, (warm_up, windows), log)
    return _report(f"{gpu.name}, TensorRT {gpu.tensorrt}", vars(rates) if rates else {}, rows)


def _report(gpu: str, rates: Mapping[str, float], rows: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: round(rate, 2) for name, rate in rates.items()}
    return {"schema": SCHEMA, "gpu": gpu, "rates": found, "bundles": dict(rows)}


def _not_run(why: str) -> dict[str, Any]:
    return {NOT_YET_RUN: why}


def _planned(bundle: Bundle) -> list[str]:
    return [role for role, forms in bundle.manifest.graphs.items() if forms[0].backend == TENSORRT]


def _rates(context: Any, log: Log) -> GpuRates:
    from benchmarks.gpu_rates import measure_rates

    with tempfile.TemporaryDirectory() as folder:
        return measure_rates(context, Path(folder), log)


def _measured(bundle: Bundle, context: Any, rates: GpuRates, repetitions: tuple[int, int], log: Log) -> dict[str, Any]:
    """One bundle: two captioners take turns, whose decoding steps are captured or not."""
    from edge_aac.models.seq2seq import Captioner

    warm_up, windows = repetitions
    log(f"{bundle.manifest.name}: loading its engines twice, with CUDA graphs and without")
    captioners, step_times = {}, {}
    for graphs in (True, False):
        context.times.clear()  # each captioner's engines have their own
        captioners[graphs] = Captioner(bundle, EngineOptions("auto", cuda_graphs=graphs))
        step_times[graphs] = context.times.get(bundle.path(bundle.manifest.graphs["decoder"][0]))
    rows: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    tokens: list[int] = []
    log(f"{bundle.manifest.name}: {windows} windows")
    for index in range(warm_up + windows):
        for graphs in (True, False) if index % 2 else (False, True):
            row, longest = _window(captioners[graphs], index)
            if index >= warm_up:
                rows[graphs].append(row)
                tokens.append(longest)
    steps = {graphs: times.median_ms for graphs, times in step_times.items() if times is not None}
    ms = by_stage(rows[True])
    return {
        "graphs": {role: forms[0].precision for role, forms in bundle.manifest.graphs.items()},
        "on_the_processor": [role for role in bundle.manifest.graphs if role not in _planned(bundle)],
        "tokens": round(spread(tokens)["median"]),
        "ms": ms,
        "share_of_limit": _shares(captioners[True], rates, ms, round(spread(tokens)["median"])),
        "decode_step_ms": {"with_cuda_graphs": steps.get(True), "without": steps.get(False)},
        "decode_without_over_with": ratio(rows[False], rows[True], "decode"),
    }


def _window(captioner: Captioner, index: int) -> tuple[dict[str, float], int]:
    """Milliseconds of each stage, and the tokens of the longest caption, start and end counted."""
    from benchmarks.report.ways import describe, whole_window

    features_ms, window = timed(lambda: whole_window(index))
    description = describe(captioner, window, index)
    latency = description.latency_ms
    longest = max(len(captioner.tokenizer.encode(caption.text).ids) for caption in description.ranked)
    return {"features": features_ms, **{stage: getattr(latency, stage) for stage in STAGES}}, longest + 2


def _shares(captioner: Captioner, rates: GpuRates, ms: Mapping[str, Spread], tokens: int) -> dict[str, float]:
    """Stage → the least time by the measured rates, of the time that it took; stages on the processor are left out."""
    from benchmarks.roofline import NARROW_ROLES, PRECISIONS, Decoding, bundle_model, run_bytes
    from edge_aac.models.tokens import load_tokenizer

    bundle, manifest = captioner.bundle, captioner.bundle.manifest
    tokenizer = load_tokenizer(bundle.path(manifest.tokenizers.text))
    instruction = len(tokenizer.encode(manifest.instruction.strip()).ids)
    decoding = replace(Decoding.of(captioner.rules, bool(manifest.rerank.similarity), instruction), tokens=tokens)
    parts, planned = bundle_model(bundle, decoding).parts, _planned(bundle)

    def least_ms(role: str) -> float:
        part = parts[role]  # type: ignore[index]
        precision: Precision = next(known for known in PRECISIONS if known == manifest.graphs[role][0].precision)  # type: ignore[index]
        narrow = part.costs.weight_macs if precision != "fp16" and role in NARROW_ROLES else 0
        moved = run_bytes(role, part.costs, precision)
        return part.runs * rates.bound_ms(part.costs.macs - narrow, narrow, moved)

    return {
        stage: round(sum(least_ms(role) for role in roles if role in parts) / max(ms[stage]["median"], 1e-9), 4)
        for stage, roles in STAGES.items()
        if all(role in planned for role in roles if role in parts)
    }


def table(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Rows under :data:`HEADS`."""
    for name, row in report["bundles"].items():
        if NOT_YET_RUN in row:
            yield name, *[NOT_YET_RUN] * (len(HEADS) - 1)
            continue
        shares = ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in row["share_of_limit"].items())
        steps = [number(step) if step is not None else "" for step in row["decode_step_ms"].values()]
        yield name, *(spread_words(row["ms"][stage]) for stage in ("features", *STAGES)), shares, *steps


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What stands around the table."""
    rates = report["rates"]
    if rates:
        yield (
            f"{report['gpu']}: {number(rates['fp16_gmacs_per_s'])} · 10⁹ multiply-accumulates a second in FP16 (8 bits "
            f"count as twice that), {number(rates['copy_gb_per_s'])} GB/s, measured in this run"
        )
    for name, row in report["bundles"].items():
        if NOT_YET_RUN in row:
            yield f"{name}: {NOT_YET_RUN}: {row[NOT_YET_RUN]}"
        else:
            slower = spread_words(row["decode_without_over_with"])
            yield f"{name}: decoding without CUDA graphs takes {slower} times as long as with them"


def show(report: Mapping[str, Any]) -> None:
    """Print the report for a person."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)  # a pipe has none of its own, and no number is to be cut
    shown = Table(box=None, pad_edge=False)
    for title in HEADS:
        shown.add_column(title)
    for row in table(report):
        shown.add_row(*row)
    console.print(shown)
    for line in lines(report):
        console.print(line)
