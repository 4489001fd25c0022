"""No circle of imports, of files or of packages, and no file that is too long to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_TOPS = ("edge_aac", "quantize", "benchmarks", "firmware_bridge")
_MAX_LINES = 350


def _sources(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (_ROOT / top).rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads.

    An import under ``TYPE_CHECKING`` names a type in an annotation: it never runs, so it closes no circle.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (inner for other in node.orelse for inner in ast.walk(other))
            continue
        yield node
        yield from _nodes(node)


def _imported(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Modules of the tree that a file imports, also within its functions; of a package, the names taken from it."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            name = node.module or ""
            submodules = {f"{name}.{alias.name}" for alias in node.names} & modules.keys()
            found |= submodules or {name}
    return found & modules.keys()


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The names along one circle, the first of them again at the end; empty where there is none."""
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if circle := search(other, [*way, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := search(name, []))), [])


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module → the modules of the tree that it imports."""
    modules = {_module(path): path for path in _sources(*_TOPS)}
    assert len(modules) > 150
    return {name: _imported(path, modules) - {name} for name, path in modules.items()}


def test_no_circle_of_files(graph: dict[str, set[str]]) -> None:
    assert _circle(graph) == []


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_no_circle_of_packages(graph: dict[str, set[str]], depth: int) -> None:
    """At every depth of folders: ``edge_aac`` and ``quantize``, then their rooms, then what is in these."""
    packages: dict[str, set[str]] = {}
    for name, others in graph.items():
        package = ".".join(name.split(".")[:depth])
        above = {".".join(other.split(".")[:depth]) for other in others}
        packages.setdefault(package, set()).update(above - {package})
    assert _circle(packages) == []


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_found_within_functions_and_not_under_type_checking(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a.types\nelse:\n    import a.other\n"
        "def f():\n    from a import inner, NUMBER\n    from a.b import thing\n"
    )
    modules = dict.fromkeys(("a", "a.types", "a.other", "a.inner", "a.b"), path)
    assert _imported(path, modules) == {"a.other", "a.inner", "a.b"}


def test_no_file_is_too_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _sources(*_TOPS, "tests", "script")}
    assert {str(path.relative_to(_ROOT)): count for path, count in lines.items() if count > _MAX_LINES} == {}
