"""Calls of `edge-aac evaluate` in this process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from edge_aac.errors import EdgeAacError
from quantize.cli.evaluate import evaluate


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, EdgeAacError):
        raise result.exception
    return result


def complaint(*arguments: object) -> EdgeAacError:
    error = call(*arguments).exception
    assert isinstance(error, EdgeAacError)
    assert len(str(error).splitlines()) == 1
    return error
