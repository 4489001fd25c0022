"""docs/configuration.md names every setting of every section, with its range, default, flag and variable."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import get_args

import pytest

from edge_aac.settings.fields import Setting
from edge_aac.settings.sections import registered_sections
from edge_aac.settings.toml import shown
from edge_aac.settings.tree import faults_of

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"

pytestmark = pytest.mark.one_python

Row = dict[str, str]


def _tables(page: str) -> dict[str, dict[str, Row]]:
    """Heading of each table of settings → key → column → text.

    The heading is ``clips`` for ``[clips]``, ``sinks jsonl`` for ``[[sinks]]`` of that kind.
    """
    tables: dict[str, dict[str, Row]] = {}
    for block in page.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if not lines or not (head := re.match(r"\| `\[+(\w+)\]+`(?: `(\w+)`)? \|", lines[0])):
            continue
        columns = ["key", "text", *(cell.strip() for cell in lines[0].strip("|").split("|")[2:])]
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]
        name = " ".join(word for word in head.groups() if word)
        tables[name] = {row[0].strip("`"): dict(zip(columns, row, strict=True)) for row in rows}
    return tables


def _registered() -> dict[str, dict[str, Setting]]:
    found: dict[str, dict[str, Setting]] = {}
    for name, section in registered_sections().items():
        found[name] = section.settings
        found |= {f"{name} {kind.name}": kind.settings(name) for kind in section.kinds.values()}
    return found


def _plain(text: str) -> str:
    return text.replace("`", "")


def _default(setting: Setting) -> str:
    if setting.field.is_required():
        return "required"
    if setting.absent is not None:
        return setting.absent
    return "" if setting.default is None else shown(setting.default, setting)


def _problems(where: str, setting: Setting, row: Row) -> list[str]:
    found = []
    default = _plain(row["default"]).partition("; caption:")[0]
    if default != _default(setting):
        found.append(f"{where}: the default is {_default(setting)!r}, the page has {default!r}")
    # Limits of nine figures keep out what no float holds, and tell a reader nothing.
    choices = [str(choice) for choice in get_args(setting.type)] if setting.expected().startswith("one of") else []
    limits = [] if choices else re.findall(r"-?\d+(?:\.\d+)?", setting.expected().partition("(")[0])
    for limit in [each for each in limits if abs(float(each)) < 1e9] + choices:
        if not re.search(rf"(?<![\w.]){re.escape(limit)}(?![\w.]*\d)", _plain(row["text"])):
            found.append(f"{where}: {setting.expected()!r}, but the page's text has no {limit}")
    flags = [flag for flag in (setting.flag or "").split("/") if flag]
    if re.findall(r"--[\w-]+", row.get("flag", "")) != flags:
        found.append(f"{where}: the flag is {setting.flag}, the page has {row.get('flag')!r}")
    variables = re.findall(r"EDGE_AAC_\w+", row.get("variable", "").partition("`caption`")[0])
    if variables != ([setting.env] if setting.env else []):
        found.append(f"{where}: the variable is {setting.env}, the page has {row.get('variable')!r}")
    return found


def test_the_page_names_every_setting_as_it_is() -> None:
    tables, registered = _tables(PAGE.read_text(encoding="utf-8")), _registered()
    assert tables.keys() == registered.keys()
    problems = []
    for name, settings in registered.items():
        if settings.keys() != tables[name].keys():
            problems.append(f"[{name}]: not on the page, or no setting: {settings.keys() ^ tables[name].keys()}")
            continue
        for key, setting in settings.items():
            problems += _problems(f"[{name}] {key}", setting, tables[name][key])
    assert not problems, "\n".join(problems)


def test_the_comparison_finds_what_differs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    cases = [
        ("| `2.0` | `--same-level`", "| `3.0` | `--same-level`"),
        ("0.1 to 3600", "0.1 to 360"),
        ("`--min-gap`", "`--gap`"),
        ('`"local3"`', '`"local9"`'),
        ("EDGE_AAC_COOLDOWN", "EDGE_AAC_COOL"),
    ]
    for right, wrong in cases:
        assert right in page
        tables = _tables(page.replace(right, wrong))
        found = [
            problem
            for name, settings in _registered().items()
            for key, setting in settings.items()
            for problem in _problems(key, setting, tables[name][key])
        ]
        assert found, wrong


def test_examples_of_the_pages_have_no_fault(tmp_path: Path) -> None:
    found, path = [], tmp_path / "config.toml"
    for page in (PAGE.parents[1] / "README.md", *sorted(PAGE.parent.glob("*.md"))):
        # In a list a block is indented.
        for indented in re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.M | re.S):
            block = textwrap.dedent(indented)
            headers = re.findall(r"^\[+([\w-]+)\]+", block, re.MULTILINE)
            if not set(headers) & registered_sections().keys():
                continue  # a package's entry points, or a recipe of a training
            path.write_text(block, encoding="utf-8")
            found += [(page.name, *headers)]
            assert not [(fault.key, fault.problem) for fault in faults_of(path)], f"{page.name}: {block}"
    pages = {name for name, *_ in found}
    assert {"README.md", "network.md", "privacy.md", "service.md"} <= pages
