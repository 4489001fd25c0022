"""Graphs as TensorRT plans."""

from __future__ import annotations
