"""`edge-aac bench`: how fast a bundle is on this machine, or what a board could do at best with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.boards import BOARDS
from benchmarks.report.command import ReportOptions, report_of, shipped
from benchmarks.report.plan import SECTIONS
from edge_aac.commands.setting_options import option

if TYPE_CHECKING:
    from benchmarks.boards import Board
    from benchmarks.roofline import Decoding, Model, Part
    from edge_aac.bundle.store import Bundle

bench = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac bench --report speed/

  edge-aac bench --report speed/ --only against --published-sizes random/ --history history.csv

  edge-aac bench --gpu --json

  edge-aac bench --board orin-nano-8gb

  edge-aac bench --board agx-orin-64gb --bundle my-bundle --candidates 12

  edge-aac bench --board thor-t5000 --json | jq '.models[].precisions.fp16.window_ms'
"""

WIDTH = 100
PART_NAMES = {"stem": "hearing patches", "encoder": "encoding", "decoder": "decoding", "text_embedder": "reranking"}
PUBLISHED = "dcase2023 (217 M) with instructor-xl"
INSTRUCTOR_TOKENS = 8
"""Of "Represent the audio caption: " and the end, about: the tokenizer comes with the weights, which are not needed."""


@bench.command(epilog=EXAMPLES)
def bench_verb(  # noqa: PLR0913, PLR0917 - one a flag
    board: Annotated[
        str | None,
        typer.Option(metavar="BOARD", help=f"One of {', '.join(BOARDS)}. It need not be at hand: nothing is run."),
    ] = None,
    bundle: Annotated[str | None, option("captioner.bundle")] = None,
    candidates: Annotated[int | None, option("captioner.candidates")] = None,
    method: Annotated[str | None, option("captioner.method")] = None,
    max_length: Annotated[int | None, option("captioner.max_length")] = None,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Measure the engines of TensorRT here, beside what this GPU can do, with and without CUDA graphs. "
            "Where there is no GPU, the table says so.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Measure this machine, and write report.html, report.json and report.md there. Some minutes; let "
            "nothing else run.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="BUNDLE", help="Another bundle in the report; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="SECTION", help=f"Of the report, one of {', '.join(SECTIONS)}; may be repeated."),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(metavar="NUMBER", help="Threads in the report; may be repeated. Default: 1 and 2."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few repetitions: to see that the report can be made, not for its numbers.")
    ] = False,
    published_sizes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="In the report, bundles of the published sizes with random weights as well, fp32 and INT8. They are "
            "made in this folder (5 GB) and taken from there the next time; needs torch.",
        ),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV file that gets a line with the report's ratios.")
    ] = None,
    note: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What a reader must know of the report's numbers, such as what else ran."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as one JSON object.")] = False,
) -> None:
    """Measure how fast this machine captions, or work out how fast a board could at best.

    With --report it measures: what a window costs, beside what a user would pick instead, beside what the machine could
    do at most, and how the cost grows; with --gpu what it costs on the engines of TensorRT. With --board it counts the
    multiply-accumulates and bytes of every graph and divides them by what the board's makers say that it can do: a
    bound, not a measurement. The bundle stands beside the full-size published captioner, and its text embedder beside
    INSTRUCTOR-XL, which are counted by their sizes: no weights are needed, but torch is.
    """
    from edge_aac.bundle.store import DEFAULT_BUNDLE
    from edge_aac.errors import UsageError

    if gpu:
        _check_alone("--gpu", board, candidates, method, max_length, report)
        _check_no_report_options(also, only, threads, quick, published_sizes, history, note)
        from benchmarks.gpu import gpu_report, show

        found = gpu_report([bundle] if bundle else shipped(), lambda line: typer.echo(line, err=True))
        typer.echo(json.dumps(found, indent=1)) if as_json else show(found)
        return
    if report is not None:
        _check_alone("--report", board, candidates, method, max_length)
        options = ReportOptions(
            report,
            bundle,
            tuple(also or ()),
            tuple(only or ()),
            tuple(threads or ()),
            quick,
            published_sizes,
            history,
            note,
        )
        _make_report(options, as_json)
        return
    if board not in BOARDS:
        complaint = "no board was given" if board is None else f"there is no board {board!r}"
        raise UsageError(
            f"{complaint}: give --board with one of {', '.join(BOARDS)}, or --report or --gpu to measure this machine"
        )
    _check_no_report_options(also, only, threads, quick, published_sizes, history, note)
    made = _board_report(bundle or DEFAULT_BUNDLE, board, candidates, method, max_length)
    if as_json:
        typer.echo(json.dumps(made, indent=1))
    else:
        _show(made)


def _check_alone(flag: str, *others: object) -> None:
    from edge_aac.errors import UsageError

    if any(other is not None for other in others):
        others_words = "--board, --candidates, --method and --max-length"
        raise UsageError(f"{flag} goes without {'--report, ' if flag == '--gpu' else ''}{others_words}")


def _check_no_report_options(*given: object) -> None:
    from edge_aac.errors import UsageError

    if any(given):
        raise UsageError(
            "--also, --only, --threads, --quick, --published-sizes, --history and --note go with --report alone"
        )


def _make_report(options: ReportOptions, as_json: bool) -> None:
    made = report_of(options, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(made, indent=1))
    else:
        typer.echo(f"written: {options.folder / 'report.html'}, report.json and report.md beside it")


def _board_report(
    bundle: str, board: str, candidates: int | None, method: str | None, max_length: int | None
) -> dict[str, Any]:
    """What a board could do at best, as tables.

    Raises:
        EdgeAacError: the bundle cannot be opened or counted, or onnx is not installed.
    """
    from edge_aac.errors import DeviceError

    try:
        from benchmarks.roofline import bundle_model
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise DeviceError(
            "`edge-aac bench` needs the package 'onnx', which is not installed: pip install 'edge-aac[build]'"
        ) from error
    from edge_aac.bundle.store import open_bundle

    opened = open_bundle(bundle)
    student = bundle_model(opened, _decoding(opened, candidates, method, max_length))
    published, left_out = _published(student.decoding)
    models = [student, *([published] if published else [])]
    return _report(models, board, left_out)


def _decoding(bundle: Bundle, candidates: int | None, method: str | None, max_length: int | None) -> Decoding:
    from benchmarks.roofline import Decoding
    from edge_aac.models.choices import Choices
    from edge_aac.models.tokens import load_tokenizer

    manifest = bundle.manifest
    tokenizer = load_tokenizer(bundle.path(manifest.tokenizers.text))
    rules = Choices(method=method, max_length=max_length).rules(manifest, candidates)  # type: ignore[arg-type]
    return Decoding.of(rules, bool(manifest.rerank.similarity), len(tokenizer.encode(manifest.instruction.strip()).ids))


def _published(student: Decoding) -> tuple[Model | None, list[str]]:
    """The full-size captioner, decoding as the student does; or why it is left out."""
    from dataclasses import replace

    from benchmarks.roofline import Model, Part

    try:
        from benchmarks.published_costs import captioner_costs, instructor_costs
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"torch", "transformers"}:
            raise
        return None, [
            f"the published captioner and INSTRUCTOR-XL are left out: counting them needs {error.name}, "
            "pip install 'edge-aac[train]' brings it"
        ]
    from quantize.models.config import CaptionerConfig

    decoding = replace(student, text_tokens=student.tokens - 2 + INSTRUCTOR_TOKENS)
    costs = captioner_costs(CaptionerConfig(), decoding.rows, decoding.steps)
    parts = {
        "encoder": Part(costs["encoder"], 1),
        "decoder": Part(costs["decoder"], decoding.steps),
        "text_embedder": Part(instructor_costs("xl", decoding.texts, decoding.text_tokens), 1),
    }
    return Model(PUBLISHED, "the published sizes, without weights", decoding, parts), []


def _report(models: list[Model], name: str, left_out: list[str]) -> dict[str, Any]:
    from dataclasses import asdict

    from benchmarks.roofline import NOTE, SCHEMA, model_report

    board = BOARDS[name]
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "board": {"name": name, **asdict(board)},
        "models": [model_report(model, board) for model in models],
        "text_embedders": _text_embedders(models, board),
        "left_out": left_out,
    }


def _text_embedders(models: list[Model], board: Board) -> list[dict[str, Any]]:
    """Reranking alone: of each model, in FP16, as engines of a text embedder are."""
    from benchmarks.roofline import FP16_BYTES, bound, run_bytes

    def row(model: Model, part: Part) -> dict[str, Any]:
        limit = bound("text_embedder", part, board, "fp16")
        return {
            "model": model.name,
            "texts": model.decoding.texts,
            "text_tokens": model.decoding.text_tokens,
            "macs": part.costs.macs,
            "bytes": run_bytes("text_embedder", part.costs, "fp16"),
            "weights_bytes": FP16_BYTES * part.costs.stored,
            "bound_ms": limit.ms,
            "limited_by": limit.limited_by,
        }

    return [row(model, model.parts["text_embedder"]) for model in models]


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)  # a pipe has none of its own, and no number is to be cut
    board = report["board"]
    fp8 = f"FP8 {board['fp8_tflops']} TFLOPS, " if board["fp8_tflops"] else ""
    console.print(
        f"{board['title']}: FP16 {board['fp16_tflops']} TFLOPS, INT8 {board['int8_tops']} TOPS, {fp8}"
        f"{board['bandwidth_gb_s']} GB/s, {board['memory_gb']} GB\n{report['note']}"
    )
    for model in report["models"]:
        decoding = model["decoding"]
        console.print(
            f"\n{model['model']}, counted from {model['counted_from']}: {decoding['candidates']} captions of "
            f"{decoding['tokens']} tokens, {decoding['texts']} reranked"
        )
        table = Table(box=None, pad_edge=False)
        for title in ("", "", "runs", "MMAC a run", "MB a run", "arithmetic ms", "bandwidth ms", "least ms", "share"):
            table.add_column(title, justify="right" if title else "left", no_wrap=True)
        for precision, numbers in model["precisions"].items():
            for role, part in numbers["parts"].items():
                table.add_row(precision, *_cells(role, part))
            table.add_row(precision, "window", *[""] * 5, f"{numbers['window_ms']:.2f}", "100 %")
        console.print(table)
        console.print(_memory(model, board["memory_gb"]))
    if len(report["text_embedders"]) > 1:
        console.print(f"\n{_reranking(report['text_embedders'])}")
    for sentence in report["left_out"]:
        console.print(f"\n{sentence}")


def _cells(role: str, part: dict[str, Any]) -> list[str]:
    return [
        PART_NAMES[role],
        str(part["runs"]),
        f"{part['macs_a_run'] / 1e6:,.1f}",
        f"{part['bytes_a_run'] / 1e6:,.1f}",
        f"{part['arithmetic_ms']:.3f}",
        f"{part['bandwidth_ms']:.3f}",
        f"{part['bound_ms']:.3f}",
        f"{100 * part['share']:.0f} %",
    ]


def _memory(model: dict[str, Any], board_gb: float) -> str:
    sizes = [f"fp32 {model['weights_and_caches_fp32_bytes'] / 1e6:,.1f} MB"]
    for precision, numbers in model["precisions"].items():
        share = numbers["memory_share_of_board"]
        fits = f"{100 * share:.1f} % of {board_gb} GB" if share < 1 else f"more than its {board_gb} GB"
        sizes.append(f"{precision} {numbers['memory_bytes'] / 1e6:,.1f} MB ({fits})")
    return f"memory at least: {', '.join(sizes)}"


def _reranking(rows: list[dict[str, Any]]) -> str:
    student, teacher = rows
    megabytes = [row["weights_bytes"] / 1e6 for row in (student, teacher)]
    return (
        f"reranking alone, FP16: INSTRUCTOR-XL takes {teacher['bound_ms']:.2f} ms and {megabytes[1]:,.0f} MB of "
        f"weights, {student['model']}'s text embedder {student['bound_ms']:.3f} ms and {megabytes[0]:,.1f} MB: "
        f"{teacher['macs'] / student['macs']:,.0f} times the arithmetic, {megabytes[1] / megabytes[0]:,.0f} times the "
        "weights"
    )
