"""The floors: the runtime stands on nothing above it, and help costs nothing."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edge_aac

_PACKAGE = Path(edge_aac.__file__).parent
_UPPER_FLOORS = {"quantize", "firmware_bridge", "benchmarks"}
_BUILD_TIME = {"torch", "transformers", "optimum", "onnx"}

_IMPORT_ALL = """
import importlib, json, pkgutil, sys
import edge_aac

names = [module.name for module in pkgutil.walk_packages(edge_aac.__path__, "edge_aac.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""

_RUN_VERB = """
import json, runpy, sys

sys.argv = ["edge-aac", *json.loads(sys.argv[1])]
try:
    runpy.run_module("edge_aac.cli", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    code = ended.code
print(json.dumps({"code": code, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


# Rooms from the ground up; a room imports from floors below its own only, and from itself.
_FLOORS = (
    {
        "accounts",
        "errors",
        "json_files",
        "secret_variables",
        "signals",
        "state_folder",
        "terminal",
        "text_files",
        "timebase",
        "__init__",
    },
    {"plugins", "backoff", "board", "heartbeat", "log_lines", "standard_streams", "toml_files", "credentials"},
    {"records", "fluency", "bundle"},
    {"audio", "engines", "sinks"},
    {"models"},
    {"streaming"},
    {"settings"},
    {"service"},
    {"app"},
    {"doctor"},
    {"commands"},
    {"cli"},
)
_FLOOR_OF = {room: floor for floor, rooms in enumerate(_FLOORS) for room in rooms}


def _fresh(script: str, *arguments: str) -> dict[str, object]:
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True, timeout=120
    )
    table: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return table


def _modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages([str(_PACKAGE)], "edge_aac.")]


def test_the_whole_runtime_without_anything_of_the_build_time() -> None:
    report = _fresh(_IMPORT_ALL)
    assert len(_modules()) > 20
    assert report["imported"] == _modules()
    loaded = set(report["loaded"])  # type: ignore[call-overload]
    assert not loaded & (_BUILD_TIME | _UPPER_FLOORS)
    assert {"numpy", "onnxruntime"} <= loaded, "or the test looks at nothing"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["stream", "--help"],
        ["caption", "--help"],
        ["config", "--example"],
        ["doctor", "--help"],
        ["support-dump", "--help"],
    ],
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    report = _fresh(_RUN_VERB, json.dumps(words))
    assert report["code"] == 0
    heavy = {"numpy", "onnxruntime", "tokenizers", "soundfile", "soxr", "pyaudio"}
    assert not set(report["loaded"]) & (heavy | _BUILD_TIME)  # type: ignore[call-overload]


def test_help_reads_no_source() -> None:
    report = _fresh(_RUN_VERB, json.dumps(["--help"]))
    # From 3.12 on importlib.metadata itself imports inspect.
    heavy = {"typer", "pydantic", *({"inspect", "dis"} if sys.version_info < (3, 12) else ())}
    assert not set(report["loaded"]) & heavy  # type: ignore[call-overload]


_IMPORT_SERVICE = """
import json, sys
import edge_aac.app
from edge_aac.records import Caption, Clip, Labels
from edge_aac.streaming.settings import StreamSettings

built = [model.__name__ for model in (Caption, Clip, Labels, StreamSettings) if model.__pydantic_complete__]
print(json.dumps({"loaded": sorted(sys.modules), "built": built}))
"""


def test_a_stream_loads_and_builds_nothing_that_it_may_never_use() -> None:
    report = _fresh(_IMPORT_SERVICE)
    loaded = set(report["loaded"])  # type: ignore[call-overload]
    assert "edge_aac.models.seq2seq" in loaded, "or the test looks at nothing"
    others = {"edge_aac.models.ensemble", "edge_aac.service.http_server", "http.server", "statistics", "onnxruntime"}
    assert not loaded & others
    assert "StreamSettings" not in report["built"], "the schemas of settings are built when they are first used"
    assert {"Caption", "Clip", "Labels"} <= set(report["built"]), "several threads make records"  # type: ignore[call-overload]


@pytest.mark.parametrize("path", sorted(_PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_no_import_goes_up(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            imported.add((node.module or "").partition(".")[0])
    assert not imported & (_UPPER_FLOORS | _BUILD_TIME)


def test_importing_a_module_starts_no_thread_and_prints_nothing() -> None:
    script = (
        _IMPORT_ALL.replace("print(", "report = (")
        + "\nimport threading\nassert threading.active_count() == 1, threading.enumerate()\n"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr) == ("", "")


def _rooms_imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edge_aac."):
            rooms.add((node.module or "").split(".")[1])
    return rooms


@pytest.mark.parametrize("path", sorted(_PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_rooms_stand_on_the_floors_below(path: Path) -> None:
    room = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    above = {other for other in _rooms_imported(path) - {room} if _FLOOR_OF[other] >= _FLOOR_OF[room]}
    assert not above, f"{room} imports {sorted(above)}, which does not lie below it"


def test_sinks_see_records_only() -> None:
    for path in sorted((_PACKAGE / "sinks").rglob("*.py")):
        below = {"sinks", "records", "errors", "secret_variables", "terminal", "backoff", "credentials"}
        assert _rooms_imported(path) <= below, path
