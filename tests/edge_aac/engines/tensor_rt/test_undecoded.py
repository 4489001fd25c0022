"""Windows that are encoded on a device and not decoded: the others are decoded as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.contract import Engine
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.models.contract import Description, Undecoded
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.engines.tensor_rt.trt_cases import (
    ONE_THREAD,
    captioner_of,
    fbank,
    install,
    noise_described,
    plan_of,
    same,
)


def test_some_of_what_stayed_on_the_device_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    bundle = open_bundle(DEFAULT_BUNDLE)
    context = DeviceContext()
    roles: tuple[GraphRole, ...] = ("encoder", "decoder")
    engines: dict[GraphRole, Engine] = {
        role: TensorRtEngine(plan_of(bundle, role, tmp_path, windows=4), context) for role in roles
    }
    plain, here = Captioner(bundle, ONE_THREAD), captioner_of(bundle, engines, monkeypatch)
    windows = [Window(seed, WINDOW_SAMPLES, fbank(seed), -20.0, -3.0, -20.0) for seed in range(4)]
    found = here.describe_wanted(windows, [window_rng(seed, 0) for seed in range(4)], lambda number, _: number % 2 == 1)
    for seed, one in enumerate(found):
        if seed % 2:
            assert isinstance(one, Description)
            same(one, noise_described(plain, seed), 1e-5)
        else:
            assert isinstance(one, Undecoded)
