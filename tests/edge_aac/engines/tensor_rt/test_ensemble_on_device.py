"""An ensemble whose members keep memories and caches on one device, or only one of them does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import DecodingMethod, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.contract import Engine
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description, Undecoded
from edge_aac.models.ensemble import Ensemble
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.engines.tensor_rt.trt_cases import ONE_THREAD, captioner_of, fbank, install, plan_of, same
from tests.edge_aac.models.ensemble_bundles import descriptions, sister_of_built_in

ROLES: tuple[GraphRole, ...] = ("encoder", "decoder")
AT_ONCE = 2
"""Windows that a plan takes."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles") / "sister"
    return [open_bundle(DEFAULT_BUNDLE), open_bundle(sister_of_built_in(DEFAULT_BUNDLE, folder, 5))]


@pytest.mark.parametrize(("method", "on_device"), [("nucleus", 2), ("beam", 2), ("nucleus", 1)])
def test_it_says_what_it_says_on_the_host(
    method: DecodingMethod, on_device: int, bundles: list[Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    choices = Choices(method=method)
    hosted = [Captioner(bundle, ONE_THREAD, choices=choices) for bundle in bundles]
    context, members = DeviceContext(), []
    for number, bundle in enumerate(bundles):
        folder = tmp_path / str(number)
        folder.mkdir()
        engines: dict[GraphRole, Engine] = {}
        if number < on_device:
            engines = {role: TensorRtEngine(plan_of(bundle, role, folder, windows=AT_ONCE), context) for role in ROLES}
        members.append(captioner_of(bundle, engines, monkeypatch, choices))
    weights = [0.6, 0.4]
    plain, here = Ensemble(hosted, weights), Ensemble(members, weights)
    assert here.limits.resident and here.limits.encoded == AT_ONCE
    windows = [Window(160 * seed, WINDOW_SAMPLES, fbank(seed), -20.0, -3.0, -20.0) for seed in range(3)]
    expected = descriptions(plain, windows)
    for one, other in zip(descriptions(here, windows), expected, strict=True):
        same(one, other, 1e-5)
    rngs = [window_rng(0, window.start) for window in windows]
    found = here.describe_wanted(windows, rngs, lambda number, _: number > 0)
    assert isinstance(found[0], Undecoded)
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert isinstance(one, Description)
        same(one, other, 1e-5)
