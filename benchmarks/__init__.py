"""Measurements. Each module is a command: ``python -m benchmarks.latency --help``. `edge-aac bench` is in
:mod:`benchmarks.commands`; the runtime imports none of them."""

from __future__ import annotations

import edge_aac  # noqa: F401 - before any module here imports onnxruntime: it keeps that from reporting
