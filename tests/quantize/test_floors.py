"""The floors of the build-time side: which room may import from which, and what runs without torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parents[2] / "quantize"
_BELOW = {
    "files": set[str](),
    "progress": set[str](),
    "captioning": set[str](),
    "models": {"progress"},
    "data": {"progress", "models"},
    "graphs": {"progress"},
    "training": {"progress", "models", "data", "graphs"},
    "bundles": {"files", "progress", "models", "data", "graphs", "training", "device"},
    "device": {"files", "progress", "captioning", "graphs"},
    "evaluation": {"files", "captioning", "models", "data", "graphs", "training", "bundles"},
    "hub": {"files", "progress", "models", "bundles"},
    "cli": {"files", "models", "data", "training", "bundles", "device", "evaluation", "hub"},
    "__init__": {"models"},
}
# It makes a form by optimum where that is installed, and imports it when it is called.
_BY_OPTIMUM = "device/cpu/optimum_form.py"
_PATHS = sorted(_PACKAGE.rglob("*.py"))


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", _PATHS, ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_rooms_import_from_the_rooms_below(path: Path) -> None:
    room = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    rooms = {name.split(".")[1] for name in _imported(path) if name.startswith("quantize.")}
    assert rooms - {room} <= _BELOW[room]


def test_no_two_rooms_import_each_other() -> None:
    order: list[str] = []
    while len(order) < len(_BELOW):
        ready = [room for room, below in _BELOW.items() if room not in order and below <= set(order)]
        assert ready, set(_BELOW) - set(order)
        order += ready


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in _PATHS
        if path.relative_to(_PACKAGE).parts[0] in {"device", "graphs", "files.py", "captioning.py", "progress.py"}
        and path.relative_to(_PACKAGE) != Path(_BY_OPTIMUM)
    ],
    ids=lambda path: str(path.relative_to(_PACKAGE)),
)
def test_what_runs_on_the_board_needs_no_torch(path: Path) -> None:
    assert not {name.partition(".")[0] for name in _imported(path)} & {"torch", "transformers", "optimum"}


def test_optimum_is_imported_only_when_it_is_asked_for() -> None:
    body = ast.parse((_PACKAGE / _BY_OPTIMUM).read_text(encoding="utf-8")).body
    outside = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in outside}
    assert not {name.partition(".")[0] for name in names} & {"torch", "transformers", "optimum"}
