"""Ways that need neither torch nor transformers: a bundle as the runtime runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks.full_size import at_length
from benchmarks.report.scene import timed, window_samples
from benchmarks.report.worker import Way
from edge_aac.audio.windows import Window, file_windows
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.sinks.stdout import StdoutSink
from edge_aac.streaming.building import RecordBuilder, file_span


def captioner(
    threads: int,
    bundle: str,
    candidates: int | None = None,
    tokens: int | None = None,
    as_many_as_pay: bool = False,
) -> Way:
    """A bundle, from samples to a line of JSON.

    Args:
        threads: threads of a graph, and cores of the process.
        bundle: name or folder.
        candidates: number of candidates; None for the bundle's own.
        tokens: length of every caption; None leaves that to the model.
        as_many_as_pay: whether the runtime chooses the threads of each graph, as it does unless it is told otherwise.
    """
    opened = open_captioner(bundle, 0 if as_many_as_pay else threads, candidates, tokens)
    builder = RecordBuilder("benchmark", "demo", opened.identity)
    sink = StdoutSink("json", stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process

    def run(index: int) -> Mapping[str, float]:
        features_ms, window = timed(lambda: whole_window(index))
        description = describe(opened, window, index)
        span = file_span(window.start, window.start + window.samples)
        publish_ms, _ = timed(lambda: sink.publish(builder.caption(index, span, window, description)))
        latency = description.latency_ms
        return {
            "features": features_ms,
            "encode": latency.encode,
            "decode": latency.decode,
            "rerank": latency.rerank,
            "publish": publish_ms,
        }

    return Way(run, about(opened, tokens))


def open_captioner(bundle: str, threads: int, candidates: int | None = None, tokens: int | None = None) -> Captioner:
    """A captioner with captions of a fixed length, where ``tokens`` gives one."""
    opened = Captioner.open(bundle, EngineOptions(threads=threads), candidates)
    if tokens is not None:
        opened.rules = at_length(opened.rules, tokens)
        opened.decoder.check(opened.rules)
    return opened


def about(opened: Captioner, tokens: int | None) -> Mapping[str, object]:
    """Facts of a captioner: what runs, and how many captions of which length."""
    options = EngineOptions()
    roles = opened.bundle.manifest.graphs
    return {
        "bundle": opened.bundle.manifest.name,
        "version": opened.bundle.manifest.version,
        "precision": opened.identity.precision,
        "precisions": {role: load_engine(opened.bundle, role, options)[1].precision for role in roles},
        "candidates": opened.rules.candidates,
        "tokens": tokens,
        "megabytes": round(sum(path.stat().st_size for path in opened.bundle.folder.iterdir()) / 1e6, 1),
    }


def whole_window(index: int) -> Window:
    """A window of which nothing was heard before."""
    (window,) = file_windows([window_samples(index)])
    return window


def describe(opened: Captioner, window: Window, index: int) -> Description:
    """One window's description.

    Raises:
        DataError: its numbers are none.
    """
    (description,) = opened.describe([window], [window_rng(0, index)])
    if isinstance(description, DataError):
        raise description
    return description
