"""INT8 forms run where they compute as they did when they were held against their parents, and nowhere else."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import pytest

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines import choice, processor
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from tests.edge_aac.bundle.bundle_folder import UncheckedBundle

ROLES: tuple[GraphRole, ...] = tuple(open_bundle(DEFAULT_BUNDLE).manifest.graphs)
HERE = platform.machine()
PLAIN, VNNI = "flags : fpu sse4_1 avx2", "flags : fpu sse4_1 avx2 avx512_vnni"
ARM = "Features : fp asimd asimddp"


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /proc/cpuinfo; there is none yet."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_CPU_FLAGS", path)
    return path


def _built(parents: bool = True, **built_with: str) -> Bundle:
    """The built-in bundle with an INT8 form of every graph in front (in truth its parent once more)."""
    bundle = open_bundle(DEFAULT_BUNDLE)
    graphs = {}
    for role, forms in bundle.manifest.graphs.items():
        (parent,) = (form for form in forms if not form.parent_sha256)
        int8 = parent.model_copy(
            update={"precision": "int8", "built_with": built_with, "parent_sha256": parent.sha256, "sha256": "a" * 64}
        )
        graphs[role] = [int8, *([parent] if parents else [])]
    return UncheckedBundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), "mine")


def _precisions(bundle: Bundle) -> set[str]:
    return {load_engine(bundle, role, EngineOptions(threads=1))[1].precision for role in ROLES}


@pytest.mark.parametrize(("cpuinfo", "largest"), [(PLAIN, 63), (VNNI, 127), (ARM, 127), (None, 63)])
def test_weights_are_as_large_as_the_processor_bears(cpuinfo: str | None, largest: int, flags: Path) -> None:
    if cpuinfo:
        flags.write_text(cpuinfo)
    assert processor.saturates() == (largest == 63)
    assert processor.largest_weight() == largest
    assert processor.built_here() == {"machine": HERE, "largest_weight": str(largest)}
    assert (processor.largest_weight(reduced=True), processor.largest_weight(reduced=False)) == (63, 127)


@pytest.mark.parametrize(("cpuinfo", "largest"), [(PLAIN, "63"), (VNNI, "63"), (VNNI, "127"), (ARM, "127")])
def test_a_form_of_this_kind_of_processor_runs(
    cpuinfo: str, largest: str, flags: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags.write_text(cpuinfo)
    monkeypatch.setattr(choice, "check_form", lambda *_: None)  # the forms are INT8 in name alone
    assert _precisions(_built(machine=HERE, largest_weight=largest)) == {"int8"}
    assert not caplog.records


@pytest.mark.parametrize(
    ("built_with", "named"),
    [
        ({"machine": "riscv64", "largest_weight": "63"}, "riscv64"),
        ({"machine": HERE, "largest_weight": "127"}, "VNNI"),
        ({"machine": HERE}, "does not say"),
        ({}, "does not say"),
    ],
)
def test_a_form_of_another_kind_is_left_aside_with_one_warning(
    built_with: dict[str, str], named: str, flags: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags.write_text(PLAIN)
    with caplog.at_level(logging.WARNING):
        assert _precisions(_built(**built_with)) == {"fp32"}
    (record,) = caplog.records
    assert named in record.getMessage() and "`edge-aac build-engine --bundle mine`" in record.getMessage()


def test_a_form_that_stands_alone_is_refused(flags: Path) -> None:
    with pytest.raises(DataError, match="riscv64.*edge-aac build-engine --bundle mine"):
        load_engine(_built(parents=False, machine="riscv64", largest_weight="63"), "encoder", EngineOptions())


def test_what_was_exported_runs_everywhere(flags: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags.write_text(PLAIN)
    assert _precisions(open_bundle(DEFAULT_BUNDLE)) == {"fp32"}
    assert not caplog.records
