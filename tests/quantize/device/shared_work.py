"""What builds of one process need again and again, computed once: sessions and captions of equal graphs, scenes.

Every build of the built-in bundle opens graphs some forty times and captions the check windows with them seven times;
most tests look at something else. Drawing the raindrops of a scene takes longer than to hear it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
import pytest

from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import TENSORRT, EngineOptions
from edge_aac.engines.processor import saturates
from edge_aac.engines.tensor_rt import engine as tensor_rt
from quantize.device import check_clips, check_windows, gate
from quantize.device.gate import CheckCaptions
from quantize.device.kinds import captioners
from tests.remembered_sessions import remember_sessions

_captions: dict[Hashable, CheckCaptions] = {}
_REAL_ENGINE = tensor_rt.TensorRtEngine
_caption = gate.caption_check_windows
_scene = lru_cache(maxsize=64)(check_windows.check_scene)


def remembered_captions(bundle: Bundle, windows: Sequence[np.ndarray], options: EngineOptions) -> CheckCaptions:
    """In place of ``caption_check_windows``: equal graphs caption equal windows alike."""
    of_plans = any(form.backend == TENSORRT for forms in bundle.manifest.graphs.values() for form in forms)
    if of_plans and tensor_rt.TensorRtEngine is _REAL_ENGINE:
        return _caption(bundle, windows, options)  # what its library does, a test may choose
    for forms in bundle.manifest.graphs.values():
        bundle.checked(forms[0])
    told = bundle.manifest.model_dump(mode="json", exclude={"graphs"})
    graphs = {
        role: [(form.sha256, form.backend, form.precision, form.parent_sha256, form.built_with) for form in forms]
        for role, forms in bundle.manifest.graphs.items()
    }
    heard = hashlib.sha256(b"".join(window.tobytes() for window in windows)).hexdigest()
    # A test may stand in for the processor or for TensorRT.
    here = (saturates(), tensor_rt.TensorRtEngine, tensor_rt.this_gpu() if of_plans else None)
    key = (json.dumps([told, graphs], sort_keys=True), heard, options, here)
    if key not in _captions:
        _captions[key] = _caption(bundle, windows, options)
    return _captions[key]


def remembered_scene(number: int, seed: int = 0) -> np.ndarray:
    """In place of ``check_scene``: a copy of what was made before."""
    return _scene(number, seed).copy()


def compute_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have builds of a test take what an earlier test in the same process computed."""
    remember_sessions(monkeypatch)
    monkeypatch.setattr(captioners, "caption_check_windows", remembered_captions)
    for module in (check_clips, check_windows):
        monkeypatch.setattr(module, "check_scene", remembered_scene)


@lru_cache
def few_windows(count: int) -> list[np.ndarray]:
    """The first check windows; nobody changes them."""
    return check_windows.check_windows(count)
