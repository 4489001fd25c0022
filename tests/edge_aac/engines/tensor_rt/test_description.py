"""What a plan declares is what its ONNX file declares; a bundle of plans is tried out as one of ONNX files is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.errors import DataError
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.engines.tensor_rt.trt_cases import (
    MAX_CANDIDATES,
    ONE_THREAD,
    captioner_of,
    encoder_inputs,
    engines_of,
    install,
    noise_described,
    roles_of,
    same,
)
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways

_ROLES = roles_of(open_bundle(DEFAULT_BUNDLE))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


@pytest.mark.parametrize("role", _ROLES)
def test_a_plan_declares_what_its_onnx_file_does(
    bundle: Bundle, role: GraphRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    plan = engines_of(bundle, tmp_path, (role,))[role].description  # type: ignore[attr-defined]
    onnx = load_engine(bundle, role, ONE_THREAD)[0].description
    for mine, theirs in ((plan.inputs, onnx.inputs), (plan.outputs, onnx.outputs)):
        assert mine.keys() == theirs.keys() and mine
        for name, tensor in mine.items():
            assert tensor.dtype == theirs[name].dtype
            fixed = [size if isinstance(size, int) else None for size in theirs[name].shape]
            assert list(tensor.shape) == fixed, name


def test_types_are_the_plans_own(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (heard, *_) = encoder_inputs(bundle, 0)
    ways = Ways(half=(heard, "cross_keys"))
    found = engines_of(bundle, tmp_path, ("encoder",), ways)["encoder"].description  # type: ignore[attr-defined]
    assert found.inputs[heard].dtype == found.outputs["cross_keys"].dtype == "float16"
    assert found.outputs["cross_values"].dtype == "float32"


def test_plans_are_tried_out(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows that come after the trial are described as without it."""
    install(monkeypatch)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, _ROLES), monkeypatch)
    here.try_out()
    plain = Captioner(bundle, ONE_THREAD)
    for seed in range(2):
        same(noise_described(here, seed), noise_described(plain, seed), 1e-5)


def test_more_candidates_than_a_plan_was_built_for(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    engines = engines_of(bundle, tmp_path, _ROLES)
    named = rf"was built for token_ids up to \[{MAX_CANDIDATES}, 1\].*--candidates {MAX_CANDIDATES + 1}"
    with pytest.raises(DataError, match=named) as caught:
        captioner_of(bundle, engines, monkeypatch, candidates=MAX_CANDIDATES + 1).try_out()
    assert "contradicts" not in str(caught.value), "the bundle is not at fault"


@pytest.mark.parametrize("role", _ROLES)
def test_a_plan_in_anothers_place(
    bundle: Bundle, role: GraphRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    other = _ROLES[_ROLES.index(role) - 1]
    engines = {role: engines_of(bundle, tmp_path, (other,))[other]}
    with pytest.raises(DataError, match=f"as its {role}, but that graph takes"):
        captioner_of(bundle, engines, monkeypatch)
