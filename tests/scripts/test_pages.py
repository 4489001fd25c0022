"""README.md and docs/: links lead somewhere, and commands name verbs and options that there are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from edge_aac.cli import GROUP
from edge_aac.plugins import registered

ROOT = Path(__file__).parents[2]
PAGES = {page: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}

pytestmark = pytest.mark.one_python

_CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """Anchors of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    seen = 0
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", _CODE.sub("", text)):
            if re.match(r"\w+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in _anchors(file.read_text(encoding="utf-8")), f"{page.name}: {target}"
            seen += 1
    assert seen > 50, "or the test looks at nothing"


def test_no_number_is_left_open() -> None:
    assert not [
        f"{page.name}: {number}" for page, text in PAGES.items() for number in re.findall(r"{{NUMBER[^}]*", text)
    ]


@cache
def _options(words: tuple[str, ...]) -> frozenset[str] | None:
    """Options of a verb, or of a verb of a verb; None where its packages are not installed."""
    try:
        app = registered(GROUP)[words[0]].load()
    except ModuleNotFoundError:
        return None
    command: Any = typer.main.get_command(app) if isinstance(app, typer.Typer) else app
    for word in words[1:]:
        command = command.commands[word]
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return frozenset(names | {"--help", "--debug", "--version"})


def test_commands_of_the_pages_have_these_verbs_and_options() -> None:
    seen = 0
    for page, text in PAGES.items():
        blocks = [block.replace("\\\n", " ") for block in _CODE.findall(text)]
        lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(edge-aac [a-z][^`]*)`", text)
        for line in lines:
            call = re.search(r"(?<!-u )(?<![\w=-])(?<!=/var/lib/)edge-aac ([a-z][\w-]*)((?: [^|#;&]*)?)", line)
            if call is None:
                continue
            verb, rest = call.groups()
            assert verb in registered(GROUP), f"{page.name}: {line}"
            words = (verb, *re.findall(r"^ ([a-z]+)", rest)[:1]) if verb in {"service", "bridge"} else (verb,)
            known = _options(words)
            if known is None or words == ("service", "logs"):
                continue
            unknown = set(re.findall(r"(?<= )--[a-z][\w-]*", rest)) - known
            assert not unknown, f"{page.name}: {line}"
            seen += 1
    assert seen > 60, "or the test looks at nothing"
