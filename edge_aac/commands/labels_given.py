"""Labels and templates as users give them: on the command line, or in a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from edge_aac.bundle import limits
from edge_aac.errors import DataError, EdgeAacError, InputMissingError, UsageError
from edge_aac.text_files import EncodingError, utf8_text

_BLANK = "{}"
MAX_GIVEN = 100_000
"""Labels of one run."""
MAX_TEXTS = 400_000
"""Texts of a run, each label in each template."""
_SHOWN = 40  # characters of a label in a message


def labels_given(labels: Sequence[str], path: Path | None) -> list[str]:
    """The labels of a run, each once, in their order; empty where none were asked for.

    Args:
        labels: of the command line.
        path: a file with one label a line; empty lines do not count.

    Raises:
        UsageError: a label of the command line is empty, too long or holds control characters, or there are too many.
        InputMissingError: the file is not there or cannot be read.
        DataError: the file is no UTF-8, holds no label, or one that is unusable.
    """
    found = [_checked(label, f"the label {_shown(label)}", UsageError) for label in labels]
    if path is not None:
        found += _read(path)
    if len(found) > MAX_GIVEN:
        raise UsageError(f"{len(found)} labels are more than {MAX_GIVEN}: give fewer")
    return list(dict.fromkeys(found))


def templates_given(templates: Sequence[str], labels: int) -> tuple[str, ...]:
    """The templates of a run, each once, in their order; empty where none were asked for.

    Args:
        templates: of the command line.
        labels: number of labels that stand in each.

    Raises:
        UsageError: one has no place for a label or several, is too long, or holds control characters; or there are too
            many, or more texts of labels than are embedded.
    """
    found = tuple(dict.fromkeys(map(_checked_template, templates)))
    if len(found) > limits.MAX_TEMPLATES:
        raise UsageError(f"{len(found)} templates are more than {limits.MAX_TEMPLATES}: give fewer")
    if (texts := len(found) * labels) > MAX_TEXTS:
        raise UsageError(
            f"{labels} labels in {len(found)} templates are {texts} texts, more than {MAX_TEXTS}: give fewer"
        )
    return found


def _checked_template(template: str) -> str:
    if template.count(_BLANK) != 1:
        raise UsageError(f"the template {_shown(template)} must hold {_BLANK} once, where the label goes")
    if len(template) > limits.MAX_PROMPT:
        raise UsageError(f"the template has {len(template)} characters, more than {limits.MAX_PROMPT}: shorten it")
    if _has_controls(template):
        raise UsageError(f"the template {_shown(template)} holds control characters: leave them out")
    return template


def _read(path: Path) -> list[str]:
    try:
        text = utf8_text(path.read_bytes())
    except OSError as error:
        raise InputMissingError(f"'{path}' cannot be read ({error.strerror or error}): check the path") from error
    except EncodingError as error:
        raise DataError(f"'{path}', line {error.line}: {error.reason}: save it as UTF-8") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    found = [_checked(line, f"the label in '{path}', line {number},", DataError) for number, line in lines if line]
    if not found:
        raise DataError(f"'{path}' holds no label: write one a line")
    return found


def _checked(label: str, where: str, error: type[EdgeAacError]) -> str:
    label = label.strip()
    if not label:
        raise error(f"{where} is empty: write a word, or leave it out")
    if len(label) > limits.MAX_LABEL:
        raise error(f"{where} has {len(label)} characters, more than {limits.MAX_LABEL}: shorten it")
    if _has_controls(label):
        raise error(f"{where} holds control characters: leave them out")
    return label


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
