"""The last `edge-aac build-engine`: which engines it made, which it refused and why, and what runs in INT8."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_aac.doctor.bundle import of_each_bundle
from edge_aac.doctor.contract import Context, Finding, Part


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return of_each_bundle(context, _last_build)


def _last_build(name: str) -> Iterator[Finding]:
    from edge_aac.bundle.build_reports import last_report, unfinished_build

    kept, unfinished = last_report(name), unfinished_build(name)
    if unfinished:
        yield _unfinished(name, unfinished)
    if kept is None and unfinished:
        return
    if kept is None:
        yield Finding(
            "warning", f"this user has built no engines of {name} here", f"run `edge-aac build-engine --bundle {name}`"
        )
        return
    report = kept["report"]
    yield Finding("ok", f"engines of {name} were built at {kept.get('made')} with edge-aac {kept.get('edge_aac')}")
    if failure := report.get("failure"):
        yield Finding("failed", f"nothing was written: {failure}")
    plans = [form for form in report.get("forms", []) if form.get("backend") == "tensorrt"]
    # A form that lost against another of its graph is no fault.
    kept_graphs = {form.get("graph") for form in plans if form.get("written")}
    for form in report.get("forms", []):
        missing = form in plans and form.get("graph") not in kept_graphs
        yield Finding("warning" if missing else "ok", "; ".join(_facts(form)))
    for note in report.get("notes", []):
        yield Finding("ok", str(note))


def _unfinished(name: str, build: Mapping[str, Any]) -> Finding:
    """A build that is running, or that nobody ended: the kernel ends what takes too much memory without a word."""
    since = f"a build of engines of {name} that began at {build.get('begun')} with edge-aac {build.get('edge_aac')}"
    last = f"; it said last: {build['said']}" if build.get("said") else ""
    if build["running"]:
        return Finding("warning", f"{since} is running{last}", "run this again when it has ended")
    return Finding(
        "failed",
        f"{since} was killed, or the power failed{last}",
        f"if memory was short (`sudo dmesg | grep -i killed` says so), end other programs and run "
        f"`edge-aac build-engine --bundle {shlex.quote(name)}` again, with fewer --candidates if need be",
    )


def _facts(form: Mapping[str, Any]) -> Iterator[str]:
    """What is known of a form, as clauses; see :meth:`quantize.device.report.FormReport.to_table`."""
    outcome = form.get("outcome") or "not tried to the end"
    written = "" if form.get("written") else ", not written"
    yield f"{form.get('graph')} {form.get('backend')} {form.get('precision')}: {outcome}{written}"
    if timing := form.get("timing"):
        yield f"{timing['form_ms']:.3g} ms a window, {timing['reference_ms']:.3g} ms without it"
    built = form.get("built") or {}
    if layers := built.get("layers_by_precision"):
        yield f"layers: {', '.join(f'{count} {precision}' for precision, count in layers.items())}"
    for narrow in ("int8", "fp8"):
        products = built.get(f"{narrow}_matmuls")
        if products and narrow in str(form.get("precision")).split("+"):
            yield f"{products[0]} of {products[1]} large products in {narrow.upper()}"
    if "seconds" in built:
        yield f"built in {built['seconds']:g} s and {built.get('attempts', 1)} attempts"
    if gpu := form.get("built_with", {}).get("gpu"):
        yield f"for {gpu} with TensorRT {form['built_with'].get('tensorrt')}"
