"""Sessions of ONNX Runtime that many tests of one process open on equal graphs, made once."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from edge_aac.bundle.onnx_file import references

KEPT_SESSIONS = 32
"""Each takes some MB; of more, the one that was not asked for longest goes."""

_sessions: OrderedDict[Hashable, Any] = OrderedDict()
_open = onnxruntime.InferenceSession


def remembered_session(model: str | bytes, sess_options: Any = None, **others: Any) -> Any:
    """In place of ``onnxruntime.InferenceSession``: a session has no state, so that equal ones can be one."""
    if sess_options is not None and (sess_options.enable_profiling or sess_options.optimized_model_filepath):
        return _open(model, sess_options, **others)
    key = (_content(model), _options(sess_options), json.dumps(others, sort_keys=True))
    if key not in _sessions:
        _sessions[key] = _open(model, sess_options, **others)
        if len(_sessions) > KEPT_SESSIONS:
            _sessions.popitem(last=False)
    _sessions.move_to_end(key)
    return _sessions[key]


def _content(model: str | bytes) -> str:
    if isinstance(model, bytes):
        return hashlib.sha256(model).hexdigest()
    path = Path(model)
    hashed = hashlib.sha256(path.read_bytes())
    for location in sorted(references(path)):
        hashed.update((path.parent / location).read_bytes())
    return hashed.hexdigest()


def _options(options: Any) -> Hashable:
    if options is None:
        return None
    return (
        options.intra_op_num_threads,
        options.inter_op_num_threads,
        options.enable_cpu_mem_arena,
        options.graph_optimization_level,
        options.log_severity_level,
    )


@pytest.fixture(autouse=True)
def sessions_of_equal_graphs_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a conftest.py of tests that open the same few bundles again and again."""
    remember_sessions(monkeypatch)


def remember_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test take the sessions that an earlier test in the same process opened on equal graphs."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", remembered_session)
